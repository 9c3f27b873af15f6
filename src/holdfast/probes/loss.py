"""Clean loss."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from holdfast.probes.base import Look
from holdfast.training.evaluate import evaluate


@dataclass(frozen=True)
class Loss:
    """`loss`: mean cross-entropy on the held-out examples, without trigger, in nats.

    It goes on rising where a net is sure of what it gets wrong, while accuracy stays: read it beside that.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        return {"loss": evaluate(look.nets, look.split)[0]}
