"""Training of what a mask keeps.

Shapes: k nets of a part.
"""

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from holdfast.pressures.terms import Part, State, Term
from holdfast.pruning.masks import Masks


@dataclass(frozen=True, eq=False)
class Masked(Term):
    """What the masks do not keep is zero, from the first step on and after every step.

    Equal only to itself: the masks are one a net of the batch, in its order, and no setting of a run.
    """

    masks: Masks = field(repr=False)

    @property
    def label(self) -> str:
        return "masked"

    @cached_property
    def _factors(self) -> dict[str, Tensor]:
        return {name: mask.float() for name, mask in self.masks.items()}

    def start(self, part: Part, state: State) -> None:
        self.masks.apply(part.nets)

    def after(self, part: Part, state: State, step: int) -> None:
        for name, factor in self._factors.items():
            if name in part.params:
                part.params[name].mul_(factor[part.rows])
