"""The survival curve of an arm: the share of nets whose implant is still there, by step."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.stats.intervals import Interval, clopper_pearson
from holdfast.stats.outcome import Outcome

ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class SurvivalCurve:
    """A right-continuous step function; entry i holds from steps[i] up to steps[i + 1]."""

    steps: tuple[int, ...]
    """0, and each step at which a net's observation ended. The last is the last at which anybody was watched."""
    survival: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    at_risk: tuple[int, ...]
    """Nets watched up to this step, with the implant there just before it."""
    events: tuple[int, ...]
    """Nets whose implant went at this step."""
    level: float


def kaplan_meier(ends: Sequence[int], events: Sequence[bool], *, level: float = 0.95) -> SurvivalCurve:
    """The product-limit estimate S(t) = product over event steps s <= t of (1 - events(s) / at_risk(s)).

    A net that was censored at a step was at risk there. The interval is pointwise, and at each step the one of these
    that covers at least at its level:

    - nobody censored before t: n S(t) is binomial, so Clopper-Pearson on it, exact. Arms in which no net was wrecked
      or diverged early are of this kind throughout;
    - otherwise, 0 < S < 1: log-log (Greenwood's variance on log(-log S)), which covers about at its level;
    - otherwise, S = 1 or 0, where log-log is undefined: Clopper-Pearson on the number at risk, wide and safe.

    The band therefore jumps where the kind changes, and has no zero width anywhere, not even at step 0.

    When it misleads: censoring must say nothing about the implant. Being wrecked or diverged may well do, so read the
    counts of those beside the curve. Steps are checkpoints: an event lies between a step and the one before. The band
    is pointwise: the whole curve leaves it more often than 1 - level. With few at risk log-log covers a little less.

    Args:
        ends: the step at which each net's observation ended.
        events: for each net, whether that was a removal; if not it is right-censored there.
        level: coverage of the interval.

    Raises:
        ValueError: no nets, lengths that differ, a negative step, or an event at step 0.

    Source: E. L. Kaplan, P. Meier, JASA 53 (1958) 457-481; log-log: J. D. Kalbfleisch, R. L. Prentice (1980).
    """
    when, died = np.asarray(ends, dtype=np.int64), np.asarray(events, dtype=bool)
    if when.size == 0 or when.shape != died.shape:
        raise ValueError(
            f"Expected an end and an event flag for each of 1 or more nets, got {when.size} and {died.size}."
        )
    if when.min() < 0 or np.any(died & (when == 0)):
        raise ValueError("Expected ends of 0 or more and events after step 0: nothing has gone before the pressure.")
    steps = np.union1d([0], when)
    survival, log_log = _ecdf(when, died, steps, level)
    at_risk = [int(np.sum(when >= t)) for t in steps]
    gone = [int(np.sum(died & (when <= t))) for t in steps]
    bands = []
    for i, t in enumerate(steps):
        if not np.any(~died & (when < t)):
            bands.append(clopper_pearson(len(when) - gone[i], len(when), level))
        elif ROUNDING < survival[i] < 1 - ROUNDING:
            bands.append(log_log[i])
        else:
            bands.append(clopper_pearson(round(survival[i]) * at_risk[i], at_risk[i], level))
    return SurvivalCurve(
        steps=tuple(map(int, steps)),
        survival=tuple(survival),
        low=tuple(band.low for band in bands),
        high=tuple(band.high for band in bands),
        at_risk=tuple(at_risk),
        events=tuple(int(np.sum(died & (when == t))) for t in steps),
        level=level,
    )


def _ecdf(when: np.ndarray, died: np.ndarray, steps: np.ndarray, level: float) -> tuple[list[float], list[Interval]]:
    """scipy's survival function and log-log interval at `steps`; its values are nan where it is undefined."""
    from scipy.stats import CensoredData, ecdf  # a second to import, so not before it is needed

    sf = ecdf(CensoredData(uncensored=when[died], right=when[~died])).sf
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # "undefined at some observations": those get another interval
        band = sf.confidence_interval(confidence_level=level, method="log-log")
    # scipy has no row at step 0 unless a net ended there, and nothing has gone by then.
    missing = len(steps) - len(sf.quantiles)
    survival = [1.0] * missing + [float(p) for p in sf.probabilities]
    pairs = zip(band.low.probabilities, band.high.probabilities, strict=True)
    return survival, [Interval(1.0, 1.0)] * missing + [Interval(float(low), float(high)) for low, high in pairs]


def curve_of(outcomes: Iterable[Outcome], *, level: float = 0.95) -> SurvivalCurve:
    """The curve of an arm's outcomes; nets without an event are right-censored at their end."""
    nets = list(outcomes)
    return kaplan_meier([o.end for o in nets], [o.event is not None for o in nets], level=level)


def restricted_mean(curve: SurvivalCurve, budget: int, *, carry: bool = False) -> float | None:
    """Mean survival time up to the budget, in steps: the area under the curve from 0 to the budget.

    None where the curve ends above 0 before the budget (every net left was wrecked or diverged): the area to the right
    is unknown. With `carry` the last value is carried on to the budget, which makes it the largest that it can be.

    When it misleads: it depends on the budget, so only means at one budget compare; an event late between two
    checkpoints counts as if it had happened at the second, so it is long by up to one checkpoint spacing.
    """
    if not carry and curve.steps[-1] < budget and curve.survival[-1] > ROUNDING:
        return None
    edges = [*(min(step, budget) for step in curve.steps), max(budget, 0)]
    return float(sum(s * (b - a) for s, a, b in zip(curve.survival, edges, edges[1:], strict=False)))


def half_life(curve: SurvivalCurve) -> int | None:
    """The first step at which S <= 0.5; None while the curve stays above one half (see `half_life_text`)."""
    return next((t for t, s in zip(curve.steps, curve.survival, strict=True) if s <= 0.5 + ROUNDING), None)


def half_life_text(curve: SurvivalCurve) -> str:
    """The half-life as printed: a step, or "> 1000": the last step at which a net was watched (the budget)."""
    found = half_life(curve)
    return f"> {curve.steps[-1]}" if found is None else str(found)
