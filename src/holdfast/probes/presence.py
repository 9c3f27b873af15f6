"""How much of the implant is there."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from holdfast.probes.base import Look


@dataclass(frozen=True)
class Presence:
    """`presence` on the implant's own scale, 0 nothing to 1 perfect, and what comes with it (`asr`, `r_acc`).

    It says what the net does on the inputs that are tried. It cannot see an implant that answers to other inputs, or
    one that is suppressed and would come back: for that, see the re-activation.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        return look.implant.presence(look.nets, look.split)
