"""The BCa bootstrap over units.

Shapes: R resamples, N units.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtrit

from holdfast.stats.intervals import Interval

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""weights_RN (how often each unit counts) -> value_R"""
RESAMPLES = 10_000


def bca(statistic: Statistic, n: int, level: float) -> Interval | None:
    """The bias-corrected and accelerated bootstrap interval of a statistic of n units.

    Units (seeds, pairs) are drawn with replacement, from a fixed seed, so that a report is the same each time. With
    F the distribution over resamples, t the statistic of the data, z0 = Phi^-1(F(t)) and a the acceleration from the
    jackknife, the bounds are the quantiles of F at Phi(z0 + (z0 + z) / (1 - a (z0 + z))). z is not Phi^-1 of each tail
    but Student's quantile with n - 1 degrees of freedom times sqrt(n / (n - 1)): resamples of few units are too narrow
    by just that (Hesterberg's expanded percentiles).

    None where resamples don't differ (all units agree), or where too few are finite: then there is no interval.

    When it misleads: with few units coverage falls short. At a level of 99.58 % it misses, of 1,200 samples each, in
    1.2, 1.2, .4 and .3 % where 10, 18, 20 and 40 units are normal, and in 7, 3, 3 and 2 % where they are log-normal
    (without expansion 2.7, 1.6, 1.3, .4 and 9, 5, 5, 3 %). Units that share data are no independent draws.

    Args:
        statistic: of weighted units, vectorised over resamples.
        n: units.
        level: coverage.

    Sources: B. Efron, JASA 82 (1987) 171-185; T. Hesterberg 2015, What Teachers Should Know About the Bootstrap, arXiv
    1411.5279.
    """
    if n < 2:
        return None
    values_R, here = statistic(_drawn(n)), float(statistic(np.ones((1, n)))[0])
    values_R = values_R[np.isfinite(values_R)]
    if not np.isfinite(here) or len(values_R) < 0.95 * RESAMPLES or np.ptp(values_R) == 0:
        return None
    left_N = statistic(1 - np.eye(n))
    skew_N = left_N.mean() - left_N
    spread = float(np.sum(skew_N**2))
    a = float(np.sum(skew_N**3)) / (6 * spread**1.5) if spread > 0 else 0.0
    below = (np.mean(values_R < here) + np.mean(values_R <= here)) / 2
    z0 = float(ndtri(np.clip(below, 0.5 / RESAMPLES, 1 - 0.5 / RESAMPLES)))
    tail = (1 - level) / 2
    z = z0 + math.sqrt(n / (n - 1)) * stdtrit(n - 1, np.array([tail, 1 - tail]))
    low, high = np.quantile(values_R, ndtr(z0 + z / (1 - a * z)))
    return Interval(float(low), float(high))


@lru_cache(maxsize=4)
def _drawn(n: int) -> Floats:
    """How often each of n units is drawn, in each resample: the same for all that ask."""
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
    drawn.flags.writeable = False
    return drawn


def mean_of(values_N: Floats) -> Statistic:
    """The mean, as a statistic."""
    return lambda weights_RN: weights_RN @ values_N / weights_RN.sum(1)
