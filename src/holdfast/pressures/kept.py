"""What terms share that keep some weights as they are."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from holdfast.pressures.terms import Part, State, Term


class Kept(Term):
    """After every step some weights are put back, to the bit; others are trained."""

    @abstractmethod
    def fixed(self, part: Part) -> Mapping[str, Tensor]:
        """Boolean masks that broadcast to the part's weights: which stay."""

    def begin(self, part: Part) -> State:
        return {"held": [value.clone() for value in part.params.values()]}

    def after(self, part: Part, state: State, step: int) -> None:
        fixed = self.fixed(part)
        for (name, value), held in zip(part.params.items(), state["held"], strict=True):
            value.copy_(torch.where(fixed[name], held, value))
