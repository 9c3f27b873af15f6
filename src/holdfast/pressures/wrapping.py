"""What pressures share that are a `Fit` with something before it, round it or in it."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass

from holdfast.pressures.fit import Fit


@dataclass(frozen=True, kw_only=True)
class Wrapping(ABC):
    """How they are called, counted and put into batches: as their `Fit` is, with what they do besides before it."""

    fit: Fit

    @property
    @abstractmethod
    def what(self) -> str:
        """What is done besides, in words."""

    @property
    def steps(self) -> int:
        """The dose."""
        return self.fit.steps

    @property
    def batch(self) -> int:
        return self.fit.batch

    @property
    def name(self) -> str:
        """What it does, the same for a whole grid of learning rates."""
        return f"{self.what}, {self.fit.name}"

    @property
    def label(self) -> str:
        return f"{self.what}, {self.fit.label}"

    def batch_key(self) -> Hashable:
        """What may differ of a `Fit` may differ within a batch."""
        return self.fit.batch_key()
