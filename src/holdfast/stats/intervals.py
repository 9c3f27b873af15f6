"""Exact intervals for a share of seeds, and the level that each look at the data uses."""

from typing import NamedTuple

from scipy.special import betaincinv


class Interval(NamedTuple):
    """A closed interval. Unpacks as `low, high`."""

    low: float
    high: float


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> Interval:
    """The exact two-sided interval for a share, by Clopper and Pearson.

    With a = 1 - level: `low` is the a/2 quantile of Beta(hits, n - hits + 1) and `high` the 1 - a/2 quantile of
    Beta(hits + 1, n - hits); equivalently, the shares at which the binomial test of each side has p = a/2. At the edges
    low is 0 for no hit and high is 1 for n hits, so 0 of n gives (0, 1 - (a/2)^(1/n)): never an interval of zero width.
    No unit at all gives (0, 1), which says that nothing is known.

    When it misleads: it treats units as independent draws at one share. Nets that share a seed's data, or seeds that
    were added because of what the first ones showed, are not; for the latter use `look_level`. It covers at least at
    its level, often more (98 % for a nominal 95 % at n = 20), so a width is no estimate of the spread.

    Args:
        hits: how many of the units show it.
        n: how many units there are.
        level: the coverage, between 0 and 1.

    Raises:
        ValueError: hits outside 0..n, or a level outside (0, 1).

    Source: C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404-413.
    """
    if not 0 <= hits <= n:
        raise ValueError(f"Expected 0 <= hits <= n, got {hits} hits of {n}. Count each unit once.")
    if not 0 < level < 1:
        raise ValueError(f"Expected a level between 0 and 1, got {level}. Write 95 % as 0.95.")
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return Interval(low, high)


def look_error(look: int) -> float:
    """The error that a look may use up: 0.05 x 2^-look, which sums to 0.05 over all looks.

    Raises:
        ValueError: a look before the first, which is 1.
    """
    if look < 1:
        raise ValueError(f"Expected a look counted from 1, got {look}. The first look at an arm is look 1.")
    return 0.05 * 2.0**-look


def look_level(look: int) -> float:
    """The level of the intervals at a look: 1 - 0.05 x 2^-look, so 0.975 at the first.

    Adding seeds after a look is allowed; the errors 0.025, 0.0125, ... of all looks together stay under 0.05.

    When it misleads: a look that was taken and not counted. The sum holds only if every look is.

    Raises:
        ValueError: a look before the first, which is 1.
    """
    return 1 - look_error(look)
