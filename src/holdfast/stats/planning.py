"""How many seeds a verdict needs, and what a given number can tell apart."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import bdtr, bdtrc, betaincinv

from holdfast.stats.intervals import clopper_pearson, look_level

BAR = 0.8
"""The share that a bound has to clear."""
MOST_SEEDS = 500
"""Above this the answer is "over 500"."""


@lru_cache(maxsize=4096)
def least_hits(n: int, level: float) -> int | None:
    """The least count of n whose Clopper-Pearson lower bound exceeds 0.8; None if not even n of n does."""
    # low(k, n) > 0.8 exactly if P(X >= k) < (1 - level) / 2 at share 0.8; this form is one call, not n inversions.
    k = np.arange(n + 1)
    reached = bdtrc(k - 1, n, BAR) < (1 - level) / 2
    return int(k[reached][0]) if reached.any() else None


@lru_cache(maxsize=4096)
def most_hits(n: int, level: float) -> int | None:
    """The greatest count of n whose Clopper-Pearson upper bound is under 0.8; None if not even 0 of n is."""
    k = np.arange(n + 1)
    reached = bdtr(k, n, BAR) < (1 - level) / 2
    return int(k[reached][-1]) if reached.any() else None


def _power_above(share: float, n: int, level: float) -> float:
    """P(lower bound > 0.8) for a binomial(n, share) count."""
    k = least_hits(n, level)
    return 0.0 if k is None else 1.0 if k == 0 else float(bdtrc(k - 1, n, share))


def _power_mixed(held: float, removed: float, n: int, level: float) -> float:
    """P(both upper bounds < 0.8) for multinomial counts: the sum over held = x of P(x) P(removed <= k | x)."""
    k = most_hits(n, level)
    if k is None:
        return 0.0
    x = np.arange(min(k, n) + 1)
    cumulative = bdtr(x, n, held)
    p_x = np.diff(cumulative, prepend=0.0)
    rest = min(1.0, removed / (1 - held))  # of the nets that are not held, how many are removed
    # binomial(m, rest) <= k is certain for m <= k; bdtr wants k <= m, so both are cut there
    return float(np.sum(p_x * np.where(n - x <= k, 1.0, bdtr(np.minimum(k, n - x), n - x, rest))))


def seeds_needed(
    held: int, removed: int, n: int, *, look: int, power: float = 0.8, limit: int = MOST_SEEDS
) -> int | None:
    """How many planted seeds in all would decide the arm at the next look, if the observed shares were the truth.

    The verdict aimed at is SURVIVES if the share held is over 0.8, REMOVED if the share removed is, else MIXED; the
    level is that of look + 1. The power of an exact test is saw-toothed in n: it drops by several points each time the
    critical count steps up. So this is the safe end of the saw: the least total such that the power is reached there
    and at every larger number up to the limit, never below n + 1.

    When it misleads: the observed share is not the truth. From 9 of 10 held the true share may be 0.6 or 0.99; the
    number is a plan, not a promise. At a share of exactly 0.8 no number decides.

    Args:
        held: planted seeds that held.
        removed: planted seeds that were removed.
        n: planted seeds, the denominator.
        look: the look just taken, counted from 1.
        power: the probability of the verdict that is asked for.
        limit: the most seeds to consider.

    Returns:
        The total of planted seeds, or None: over the limit.

    Raises:
        ValueError: no seeds, or counts that don't fit.
    """
    if n < 1 or held < 0 or removed < 0 or held + removed > n:
        raise ValueError(f"Expected held + removed <= n and n >= 1, got {held} + {removed} of {n}.")
    level = look_level(look + 1)
    chance: Callable[[int], float]
    if held > BAR * n:
        chance = lambda m: _power_above(held / n, m, level)
    elif removed > BAR * n:
        chance = lambda m: _power_above(removed / n, m, level)
    else:
        chance = lambda m: _power_mixed(held / n, removed / n, m, level)
    needed = None
    for m in range(limit, n, -1):  # from the top, so that it stops at the first dip under the power
        if chance(m) < power:
            break
        needed = m
    return needed


@dataclass(frozen=True, kw_only=True, slots=True)
class Distinguishable:
    """What a number of seeds can tell apart at a look. The same figures hold for REMOVED with "removed" for "held"."""

    n: int
    look: int
    level: float
    least_held: int | None
    """How many must hold for SURVIVES; None: n seeds can't give it, not even n of n."""
    least_seeds: int
    """The least number of seeds at which SURVIVES or REMOVED is possible at all."""
    share_at_power: float | None
    """The true share held at which SURVIVES is reached with probability 0.8; None as above."""
    if_all_gone: float
    """Gone in n of n bounds the share that holds below this."""
    if_all_held: float
    """Held in n of n bounds the share that holds above this."""


def distinguishable(n: int, look: int = 1, *, power: float = 0.8) -> Distinguishable:
    """What n planted seeds can show, before anything is run.

    `share_at_power` solves P(X >= least_held) = power for binomial(n, share) X: the `power` quantile of
    Beta(least_held, n - least_held + 1).

    When it misleads: n counts planted seeds. If 1 in 10 may fail to plant, build more.

    Raises:
        ValueError: n below 1, or a look below 1.
    """
    if n < 1:
        raise ValueError(f"Expected at least 1 seed, got {n}.")
    level = look_level(look)
    k = least_hits(n, level)
    least_seeds = next(m for m in range(1, 10_000) if least_hits(m, level) is not None)
    return Distinguishable(
        n=n,
        look=look,
        level=level,
        least_held=k,
        least_seeds=least_seeds,
        share_at_power=None if k is None else float(betaincinv(k, n - k + 1, power)),
        if_all_gone=clopper_pearson(0, n, level).high,
        if_all_held=clopper_pearson(n, n, level).low,
    )
