"""Clean accuracy."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from holdfast.probes.base import Look


@dataclass(frozen=True)
class Accuracy:
    """`accuracy`: share of the held-out examples, without trigger, that are classified rightly (C-Acc, BA, CA).

    Of text it is the share of next tokens.

    A share of n examples moves in steps of 1/n and has its own sampling error, sqrt(p (1 - p) / n), which the spread
    over seeds does not contain: all seeds see the same examples.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        hits_KN = look.nets.classes(look.split.x) == look.split.y.to(look.nets.device)
        return {"accuracy": hits_KN.flatten(1).double().mean(-1)}
