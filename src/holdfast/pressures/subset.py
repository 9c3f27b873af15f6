"""A part of the training data."""

from dataclasses import dataclass
from typing import ClassVar

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Term


@dataclass(frozen=True, kw_only=True)
class Subset(Term):
    """Only a share of the training data is drawn from, as by defences that have a small clean set (often 5 %).

    The round(share x examples) examples are chosen once a seed (stream `subset`), the same ones in every phase; a
    smaller share lies within a larger one. An epoch is one of the share.

    Misleads: the share is of the task's training data, which may be small already; 5 % of the digits are 54
    images, no batch of 64.
    """

    alike: ClassVar[bool] = True

    share: float

    def __post_init__(self) -> None:
        number("Subset's share", self.share)
        if not 0 < self.share <= 1:
            raise UsageError(f"Subset needs a share above 0, at most 1; got {self.share}.")

    @property
    def label(self) -> str:
        return f"{self.share:g} of the data"
