"""Weights that training leaves as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from holdfast.pressures.kept import Kept
from holdfast.pressures.terms import Part
from holdfast.training.nets import Nets


class Inside(Protocol):
    """An implant that can say which weights its units read."""

    @property
    def label(self) -> str: ...

    def inside(self, nets: Nets) -> Mapping[str, Tensor]:
        """Boolean masks in the nets' shapes."""


@dataclass(frozen=True, kw_only=True)
class Freeze(Kept):
    """All that an implant's units read, and their biases, are put back after every step; what reads them is trained.

    So the rest of the net learns as it would round a computation that nothing can change.
    """

    implant: Inside

    @property
    def label(self) -> str:
        return f"{self.implant.label} frozen"

    def fixed(self, part: Part) -> Mapping[str, Tensor]:
        return {name: mask[part.rows] for name, mask in self.implant.inside(part.nets).items()}
