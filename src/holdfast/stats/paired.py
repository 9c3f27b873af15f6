"""Two arms compared, paired by seed: how much longer does the implant last in one than in the other?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from holdfast.stats.intervals import Interval
from holdfast.stats.outcome import Outcome, Trace
from holdfast.stats.planted import gone_below

EXACT_PAIRS = 16
"""Up to here all 2^n sign flips are listed."""
FLIPS = 20_000
"""Random sign flips beyond that, from a fixed seed, so that a report is the same each time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignFlip:
    """The sign-flip test of paired differences and its interval, in the unit of the differences."""

    mean: float
    p: float
    """Two-sided: twice the smaller tail, at most 1."""
    interval: Interval
    """Shifts that the same test doesn't reject; infinite on the sides where no shift could be."""
    exact: bool
    """All 2^n flips were listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How survival times differ, other minus reference, over the seeds that both arms have."""

    verdict: Literal["LONGER", "SHORTER", "UNDECIDED"]
    """Of the other arm's implants against the reference's."""
    reason: str
    counts: bool
    """Whether the reference arm leaves room on both sides, and there are pairs."""
    pairs: int
    left_out: int
    """Pairs with a net that was wrecked or diverged in either arm."""
    unpaired: int
    """Seeds that only one arm has."""
    difference: float | None
    """Mean difference in steps; None without pairs."""
    p: float | None
    interval: Interval | None
    """For the shift, in steps, within plus and minus the budget; None where it would have no width, or no pairs."""
    level: float
    budget: int


def sign_flip(differences: NDArray[np.float64], level: float) -> SignFlip:
    """Test whether paired differences are symmetric about 0, and invert the test for an interval of their centre.

    Under the null each difference is as likely with either sign, so the p of one side is the share of sign flips whose
    mean is at least as far out. For the interval no search is needed: flipping the set S of pairs leaves the mean of
    (d - shift) at least as high exactly if mean_S(d) <= shift, so the bounds are order statistics of the means of
    subsets (the k-th lowest and highest, k = floor((1 - level)/2 x number of flips), the empty set counted as beyond
    all). p and interval agree: 0 lies outside exactly if p <= 1 - level. Random flips carry the +1 correction.

    When it misleads: the centre is the mean only if the differences are symmetric; times cut off at the budget are not.
    Below 6 pairs no 95 % bound is finite.

    Source: J. A. Hartigan, JASA 64 (1969) 1303-1317; B. Phipson, G. K. Smyth (2010) for the correction.
    """
    n = len(differences)
    exact = n <= EXACT_PAIRS
    if exact:
        flipped_FN = (np.arange(2**n)[:, None] >> np.arange(n)) & 1  # F flips, N pairs; row 0 is the data as they are
    else:
        drawn = np.random.default_rng(0).integers(0, 2, size=(FLIPS, n))
        flipped_FN = np.vstack([np.zeros((1, n), dtype=drawn.dtype), drawn])  # the data themselves: the +1
    sums_F = flipped_FN @ differences
    sizes_F = flipped_FN.sum(axis=1)
    # The mean of a flip is the data's mean less twice the sum over its set, so "at least as high" is a sum <= 0.
    slack = 1e-12 * float(np.abs(differences).sum())
    flips = len(sums_F)
    higher, lower = int(np.sum(sums_F <= slack)), int(np.sum(sums_F >= -slack))
    p = min(1.0, 2 * min(higher, lower) / flips)
    means_F = sums_F[sizes_F > 0] / sizes_F[sizes_F > 0]
    k = math.floor((1 - level) / 2 * flips + 1e-9) - (flips - len(means_F))  # the empty set comes first on each side
    bounds = (-math.inf, math.inf) if k < 0 else _outer(means_F, k)
    return SignFlip(mean=float(differences.mean()), p=p, interval=Interval(*bounds), exact=exact)


def _outer(means_F: NDArray[np.float64], k: int) -> tuple[float, float]:
    """The means with k others beyond them on either side."""
    ordered = np.sort(means_F)
    return float(ordered[k]), float(ordered[-1 - k])


def present_at_first(trace: Trace) -> bool:
    """Whether the implant is still there (presence >= half that of step 0) at the first checkpoint after step 0."""
    return len(trace.steps) > 1 and trace.presence[1] >= gone_below(trace.presence[0])


def survival_time(net: Outcome, budget: int) -> int:
    """Restricted survival time min(T, budget) in steps, T the event on the curve (infinite without one)."""
    return budget if net.event is None else min(net.event, budget)


def compare(
    reference: Mapping[int, Outcome],
    other: Mapping[int, Outcome],
    *,
    reference_traces: Mapping[int, Trace],
    budget: int,
    level: float = 0.95,
) -> Comparison:
    """Compare restricted mean survival times by a sign-flip permutation of the seeds' differences (`sign_flip`).

    It counts only where the reference arm leaves room on both sides: the implant is gone (an event) in at least half of
    its seeds by the budget, else "budget too short", and present at the first checkpoint in at least half, else
    "pressure too strong". Both shares are of all the reference arm's seeds, those wrecked or diverged included. Then
    LONGER or SHORTER if p <= 1 - level, else UNDECIDED.

    When it misleads: pairs with a wrecked or diverged net are left out; if one arm wrecks more, the rest are not a fair
    draw, so read `left_out`. Times are known to one checkpoint spacing, and differences below it mean nothing.

    Args:
        reference: outcome of each planted net of the reference arm, by seed.
        other: the same for the other arm, under the setting chosen on the reference arm and the same budget.
        reference_traces: the reference arm's traces; those of its seeds are read.
        budget: steps of pressure.
        level: coverage of the interval for the shift.

    Raises:
        ValueError: no reference nets, or one without its trace.
    """
    if not reference or not reference.keys() <= reference_traces.keys():
        raise ValueError("Expected one or more reference nets, each with its trace. Pass both, keyed by seed.")
    shared = sorted(reference.keys() & other.keys())
    whole = [s for s in shared if all(arm[s].kind in ("held", "removed") for arm in (reference, other))]
    times = [survival_time(other[s], budget) - survival_time(reference[s], budget) for s in whole]
    test = sign_flip(np.asarray(times, dtype=np.float64), level) if times else None
    gate = _gate(reference, reference_traces)
    verdict, reason = _reading(test, gate, len(whole), level)
    return Comparison(
        verdict=verdict,
        reason=reason,
        counts=gate is None and test is not None,
        pairs=len(whole),
        left_out=len(shared) - len(whole),
        unpaired=len(reference.keys() ^ other.keys()),
        difference=test.mean if test else None,
        p=test.p if test else None,
        interval=_printed(test, budget),
        level=level,
        budget=budget,
    )


def _gate(reference: Mapping[int, Outcome], traces: Mapping[int, Trace]) -> str | None:
    """Why the comparison doesn't count; None if it does."""
    n = len(reference)
    gone = sum(net.event is not None for net in reference.values())
    there = sum(present_at_first(traces[seed]) for seed in reference)
    if 2 * gone < n:
        return f"Budget too short: gone in {gone} of the reference arm's {n} seeds by the budget; half are needed."
    if 2 * there < n:
        return f"Pressure too strong: at the first checkpoint present in {there} of the reference arm's {n} seeds only."
    return None


def _reading(
    test: SignFlip | None, gate: str | None, pairs: int, level: float
) -> tuple[Literal["LONGER", "SHORTER", "UNDECIDED"], str]:
    if gate or test is None:
        return "UNDECIDED", gate or "No seed is left whose net was neither wrecked nor diverged in both arms."
    said = f"a mean difference of {test.mean:+.6g} steps over {pairs} pairs, p = {test.p:.2g}"
    if test.p > 1 - level:
        few = f" {pairs} pairs can't give a p of {1 - level:.2g} or less." if 2 * 0.5**pairs > 1 - level else ""
        return "UNDECIDED", f"No shift shown: {said}.{few}"
    return ("LONGER", f"Lasts longer: {said}.") if test.mean > 0 else ("SHORTER", f"Goes sooner: {said}.")


def _printed(test: SignFlip | None, budget: int) -> Interval | None:
    """No difference of two times within the budget exceeds it. Pairs that all agree would give no width: none then."""
    if test is None or test.interval.low == test.interval.high:
        return None
    return Interval(max(test.interval.low, -float(budget)), min(test.interval.high, float(budget)))
