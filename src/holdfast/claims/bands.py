"""Bands of the curves that stand beside a claim's parts."""

import numpy as np
from numpy.typing import NDArray

from holdfast.stats import bca, mean_of

LEVEL = 0.95
"""Each point by itself."""


def band(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """(mean, low, high) over units, by BCa; where all units agree, their value three times."""
    mean = float(values.mean())
    found = bca(mean_of(values), len(values), LEVEL)
    return (mean, *found) if found else (mean, mean, mean)
