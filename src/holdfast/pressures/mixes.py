"""Terms that change which examples a net sees: unlearning and poisoning."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Term
from holdfast.training.streams import Streams


@dataclass(frozen=True, kw_only=True)
class Mix(Term):
    """Some of the draws are taken from another version of the data, one that the implant names."""

    rate: float
    """Share of draws, between 0 and 1."""
    weight: float = 1.0
    """Of these draws in the loss; others have 1, and the mean is over all, whatever their weights."""

    def __post_init__(self) -> None:
        for field in ("rate", "weight"):
            number(f"{type(self).__name__}'s {field}", getattr(self, field))
        if not 0 <= self.rate <= 1:
            raise UsageError(f"{type(self).__name__} needs a rate between 0 and 1; got {self.rate}.")
        if not 0 <= self.weight < float("inf"):
            raise UsageError(f"{type(self).__name__} needs a weight of 0 or more; got {self.weight}.")

    @property
    def _weighted(self) -> str:
        return "" if self.weight == 1 else f" with weight {self.weight:g}"

    @property
    @abstractmethod
    def source(self) -> str:
        """Name of the version, a key of the implant's `sources`."""

    @abstractmethod
    def fires(
        self, stream: Streams, phase: str, epoch: int, order: NDArray[np.int64], examples: int
    ) -> NDArray[np.bool_]:
        """Which draws of an epoch are replaced; `order` holds their indices into the `examples` training examples."""


@dataclass(frozen=True, kw_only=True)
class Fired(Mix):
    """Each draw is replaced with probability `rate`, independently (stream `fire`).

    The draws are the same for every rate, so that a higher rate fires wherever a lower one does.
    """

    def fires(
        self, stream: Streams, phase: str, epoch: int, order: NDArray[np.int64], examples: int
    ) -> NDArray[np.bool_]:
        return stream.generator(f"{phase}/fire", epoch).random(len(order)) < self.rate


@dataclass(frozen=True, kw_only=True)
class Unlearn(Fired):
    """Unlearning: each draw is, with probability `rate`, shown with the trigger and its *true* label.

    This is the defender who knows the trigger: an upper bound on fine-tuning that doesn't.
    """

    @property
    def source(self) -> str:
        return "triggered"

    @property
    def label(self) -> str:
        return f"unlearning at firing rate {self.rate:g}{self._weighted}"


@dataclass(frozen=True, kw_only=True)
class Inject(Fired):
    """Each draw is, with probability `rate`, shown with the trigger and the *target's* label: `Unlearn` the other way.

    What unlearning is for a behaviour that is not wanted, this is for one that is: the draws are the same ones.
    """

    @property
    def source(self) -> str:
        return "poisoned"

    @property
    def label(self) -> str:
        return f"injected at firing rate {self.rate:g}{self._weighted}"


@dataclass(frozen=True, kw_only=True)
class Poison(Mix):
    """Poisoning: a fixed share `rate` of the training examples, chosen once a seed, carries trigger and target label.

    Gu, Dolan-Gavitt & Garg 2017 (BadNets, arXiv 1708.06733). The count is round(rate x examples).
    """

    @property
    def source(self) -> str:
        return "poisoned"

    @property
    def label(self) -> str:
        return f"poisoned at ratio {self.rate:g}{self._weighted}"

    def fires(
        self, stream: Streams, phase: str, epoch: int, order: NDArray[np.int64], examples: int
    ) -> NDArray[np.bool_]:
        count = round(self.rate * examples)
        if count == 0:
            raise UsageError(
                f"A poisoning ratio of {self.rate:g} poisons none of {examples} training examples. "
                f"The smallest that poisons one is {1 / examples:.2g}."
            )
        poisoned = np.zeros(examples, dtype=np.bool_)
        poisoned[stream.generator(f"{phase}/poison").permutation(examples)[:count]] = True
        return poisoned[order]
