"""Weights kept within bounds."""

from dataclasses import dataclass

import torch

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Part, State, Term


@dataclass(frozen=True, kw_only=True)
class Clip(Term):
    """After every step each trained weight is put back into [-limit, limit].

    When it misleads: a limit that no weight reaches does nothing, so look at `distance` beside it.
    """

    limit: float

    def __post_init__(self) -> None:
        number("Clip's limit", self.limit)
        if not 0 < self.limit < float("inf"):
            raise UsageError(f"Clip needs a limit above 0; got {self.limit}.")

    @property
    def label(self) -> str:
        return f"clipping to {self.limit:g}"

    def after(self, part: Part, state: State, step: int) -> None:
        torch._foreach_clamp_min_(part.padded, -self.limit)
        torch._foreach_clamp_max_(part.padded, self.limit)
