"""Weights that training leaves as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from holdfast.pressures.terms import Part, State, Term
from holdfast.training.nets import Nets


class Inside(Protocol):
    """An implant that can say which weights its units read."""

    @property
    def label(self) -> str: ...

    def inside(self, nets: Nets) -> Mapping[str, Tensor]:
        """Boolean masks in the nets' shapes."""


@dataclass(frozen=True, kw_only=True)
class Freeze(Term):
    """All that an implant's units read, and their biases, are put back after every step; what reads them is trained.

    So the rest of the net learns as it would round a computation that nothing can change.
    """

    implant: Inside

    @property
    def label(self) -> str:
        return f"{self.implant.label} frozen"

    def begin(self, part: Part) -> State:
        return {"held": [value.clone() for value in part.params.values()]}

    def after(self, part: Part, state: State, step: int) -> None:
        masks = self.implant.inside(part.nets)
        for (name, value), held in zip(part.params.items(), state["held"], strict=True):
            value.copy_(torch.where(masks[name][part.rows], held, value))
