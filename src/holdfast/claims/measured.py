"""What claims read of a census: arrays over seeds, the bands of their curves, and whether nets have learned."""

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from holdfast.claims.base import Control, Evidence, Size
from holdfast.stats import bca, mean_of

Values = NDArray[np.float64]
"""One a seed."""
LEVEL = 0.95
"""Of the bands of curves, each point by itself."""
LEARNED: dict[Size, float] = {"quick": 0.9, "full": 0.8}
"""Accuracy that nets must reach on digits (`quick`) or Fashion-MNIST (`full`) for anything to be said of them."""


def size_of(evidence: Evidence) -> Size:
    """The size that was run, by the study's name."""
    return next(size for size in get_args(Size) if evidence.study.name.endswith(f"-{size}"))


def values(evidence: Evidence, census: str, measure: str) -> Values:
    """A measure of a census."""
    return np.array(list(evidence.measured(census, measure).values()))


def band(measured: Values) -> tuple[float, float, float]:
    """(mean, low, high) over units, by BCa; where all units agree, their value three times."""
    mean = float(measured.mean())
    found = bca(mean_of(measured), len(measured), LEVEL)
    return (mean, *found) if found else (mean, mean, mean)


def learned(name: str, evidence: Evidence, accuracy: Values) -> Control:
    """Whether nets have learned their task."""
    right, least = float(accuracy.mean()), LEARNED[size_of(evidence)]
    return Control(name=name, got=f"{100 * right:.2f} % right, at least {100 * least:g} % asked", holds=right >= least)
