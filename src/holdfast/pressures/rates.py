"""Learning rates by group of weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch

import torch

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Part, State, Term


@dataclass(frozen=True)
class Rates(Term):
    """Weights whose names match a pattern are stepped so many times as far as the optimiser would: w + rate x (its
    step). The first pattern that matches counts; others are stepped as they are.

        Fit(Adam(lr=0.01), Rates({"*rotation": 2e-5, "*switch": 7e-4}), steps=500)

    When it misleads: under Adam any rate above 0 moves what has any gradient at all.

    Keys of an encrypted program need 10^3 to 10^5 less than its tables, as hundreds of digits multiply them.
    """

    of: tuple[tuple[str, float], ...]

    def __init__(self, of: Mapping[str, float] | tuple[tuple[str, float], ...]) -> None:
        pairs = tuple(of.items()) if isinstance(of, Mapping) else tuple(of)
        for pattern, rate in pairs:
            number(f"The rate of {pattern}", rate)
            if not 0 <= rate < float("inf"):
                raise UsageError(f"Rates are 0 or above; got {rate} for {pattern}.")
        object.__setattr__(self, "of", pairs)

    @property
    def label(self) -> str:
        return "rates " + ", ".join(f"{pattern} {rate:g}" for pattern, rate in self.of)

    def begin(self, part: Part) -> State:
        return {"before": [torch.zeros_like(row) for row in part.padded]}

    def before(self, part: Part, state: State, step: int) -> None:
        for kept, row in zip(state["before"], part.padded, strict=True):
            kept.copy_(row)

    def after(self, part: Part, state: State, step: int) -> None:
        for name, kept, row in zip(part.names, state["before"], part.padded, strict=True):
            rate = next((rate for pattern, rate in self.of if fnmatch(name, pattern)), 1.0)
            if rate != 1:
                row.copy_(kept + rate * (row - kept))
