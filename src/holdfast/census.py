"""Census: a sample at all its seeds, and its cells, one seed each. Imports no torch."""

from collections.abc import Hashable
from dataclasses import dataclass

from holdfast.errors import UsageError, whole
from holdfast.parts import Sample, TrainedSample, expect


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """One seed of a sample."""

    sample: Sample
    seed: int
    root: int

    def batch_key(self) -> Hashable:
        """Seeds that train together. What trains nothing is measured alone, so that a kill costs one seed at most."""
        several = self.seed // self.sample.together if isinstance(self.sample, TrainedSample) else self.seed
        return ("measuring", self.sample, self.root, several)

    @property
    def steps(self) -> int:
        """Optimiser steps; 1, for one measurement, where nothing is trained."""
        return self.sample.steps if isinstance(self.sample, TrainedSample) else 1

    @property
    def title(self) -> str:
        """What it is called while it runs."""
        return self.sample.label


@dataclass(frozen=True, kw_only=True)
class Census:
    """One sample at all its seeds: what is measured and not trained. It gets no verdict; a claim may judge it."""

    sample: Sample
    name: str = ""
    """Default: the sample's label."""
    seeds: int = 20

    def __post_init__(self) -> None:
        expect("sample", self.sample, Sample)
        whole("seeds", self.seeds)
        if self.seeds < 1:
            raise UsageError(f"A census needs a seed or more; got {self.seeds}.")

    @property
    def title(self) -> str:
        """What it is called in tables."""
        return self.name or self.sample.label

    def measurings(self, root: int) -> list[Measuring]:
        """Its cells, one a seed."""
        return [Measuring(sample=self.sample, seed=seed, root=root) for seed in range(self.seeds)]
