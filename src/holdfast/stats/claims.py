"""From the effects of a claim's parts to its verdict."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from holdfast.stats.bootstrap import Floats, Statistic, bca, mean_of
from holdfast.stats.intervals import Interval, clopper_pearson, look_error
from holdfast.stats.paired import Comparison

PartVerdict = Literal["SUPPORTED", "REFUTED", "UNDECIDED"]
ClaimVerdict = Literal["SUPPORTED", "REFUTED", "MIXED", "UNDECIDED", "INVALID"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One named part of a claim: an effect, and the smallest that matters, fixed before the run."""

    name: str
    effect: str
    """What is measured, in words."""
    d: float
    more: bool = False
    """Whether the claim says that the effect is above d (or below it)."""
    about: float | None = None
    """Of an effect that is claimed to be this value: it lies within d of it, on either side."""
    necessary: bool = False
    bounds: tuple[float, float] | None = None
    """The least and the most that the effect of one unit can be; None: no bounds."""

    def __post_init__(self) -> None:
        if self.about is not None and self.more:
            raise ValueError(f"{self.name}: an effect that is `about` a value lies within d of it, and not beyond.")

    @property
    def claimed(self) -> Interval:
        """The effects that the claim says there are."""
        if self.about is not None:
            return Interval(self.about - self.d, self.about + self.d)
        return Interval(self.d, math.inf) if self.more else Interval(-math.inf, self.d)

    @property
    def says(self) -> str:
        """`> 0.5`, or `0.9 to 1.1`, as the claim has it."""
        if self.about is not None:
            return f"{self.claimed.low:g} to {self.claimed.high:g}"
        return f"{'>' if self.more else '<'} {self.d:g}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What came out of a part."""

    part: Part
    effect: float | None
    interval: Interval | None
    """None where nothing could be estimated."""
    units: int
    verdict: PartVerdict
    reason: str


def part_level(look: int, parts: int) -> float:
    """The level of each part's interval: 1 - 0.05 x 2^-look / parts, so that all looks and parts together err in at
    most 5 % of runs."""
    return 1 - look_error(look) / parts


def judge_mean(part: Part, values: Sequence[float], level: float) -> Judged:
    """A part whose effect is the mean over units, by `judge_part`. Units without a value (NaN) are refused."""
    found = np.asarray(values, dtype=np.float64)
    return judge_part(part, mean_of(found), len(found), level, agreed=float(found[0]) if _agree(found) else None)


def judge_share(part: Part, hits: Sequence[bool], level: float) -> Judged:
    """A part whose effect is the share of units that are true, by the exact interval of Clopper and Pearson."""
    n = len(hits)
    if not n:
        return judge_mean(part, [], level)
    interval = clopper_pearson(sum(hits), n, level)
    verdict, why = _side(part, interval), _why(part, interval)
    return Judged(part=part, effect=sum(hits) / n, interval=interval, units=n, verdict=verdict, reason=why)


def judge_survival(part: Part, found: Comparison) -> Judged:
    """A part whose effect is how much longer one arm's implants last than another's, as a share of the budget, by the
    sign-flip interval of the pairs.

    UNDECIDED where the comparison does not count, or more than 1 pair in 8 has a net that was wrecked or diverged.
    """
    pairs, left_out = found.pairs, found.left_out
    effect = None if found.difference is None else found.difference / found.budget
    if effect is None or not found.counts or left_out > (pairs + left_out) / 8:
        reason = f"{left_out} of {pairs + left_out} pairs were wrecked or diverged." if found.counts else found.reason
        return Judged(part=part, effect=effect, interval=None, units=pairs, verdict="UNDECIDED", reason=reason)
    if found.interval is None:
        interval = agreement(effect, pairs, found.level, (-1.0, 1.0))
    else:
        interval = Interval(*(bound / found.budget for bound in found.interval))
    verdict, why = _side(part, interval), _why(part, interval)
    return Judged(part=part, effect=effect, interval=interval, units=pairs, verdict=verdict, reason=why)


def judge_part(part: Part, statistic: Statistic, n: int, level: float, *, agreed: float | None = None) -> Judged:
    """SUPPORTED if the whole interval lies among the effects that are claimed, REFUTED if outside, else UNDECIDED.

    The interval is BCa over units. Where all n units agree on a value v, no bootstrap can say what else there is: the
    bounds of a unit's effect can. At this level at most a share q = 1 - ((1 - level) / 2)^(1/n) of all units is
    otherwise (Clopper-Pearson), so the mean lies within v - q (v - least) and v + q (most - v). Without bounds nothing
    is decided. (Where units all but agree BCa is trusted, and a rare unit that is far off is not seen.)

    Args:
        part: what is claimed.
        statistic: the effect, of weighted units.
        n: units.
        level: coverage of the interval.
        agreed: the value, where all units have the same.
    """
    effect = float(statistic(np.ones((1, n)))[0]) if n else float("nan")
    if not np.isfinite(effect):
        return Judged(part=part, effect=None, interval=None, units=n, verdict="UNDECIDED", reason="No effect to judge.")
    if agreed is not None:
        if part.bounds is None:
            reason = f"All {n} units agree, and what others might be has no bounds."
            return Judged(part=part, effect=effect, interval=None, units=n, verdict="UNDECIDED", reason=reason)
        interval: Interval | None = agreement(agreed, n, level, part.bounds)
    else:
        interval = bca(statistic, n, level)
    if interval is None:
        reason = f"No interval could be found over {n} units."
        return Judged(part=part, effect=effect, interval=None, units=n, verdict="UNDECIDED", reason=reason)
    verdict = _side(part, interval)
    why = _why(part, interval)
    why = why if agreed is None else f"All {n} units agree. {why}"
    return Judged(part=part, effect=effect, interval=interval, units=n, verdict=verdict, reason=why)


def agreement(value: float, n: int, level: float, bounds: tuple[float, float]) -> Interval:
    """Where the mean of a bounded effect lies, at this level, if all of n units have this value."""
    others = 1 - ((1 - level) / 2) ** (1 / n)
    least, most = bounds
    return Interval(value - others * (value - least), value + others * (most - value))


def judge_claim(parts: Sequence[Judged], invalid: Sequence[str]) -> ClaimVerdict:
    """SUPPORTED if all parts are; REFUTED if a necessary one is; MIXED if all necessary ones are supported and another
    is refuted; else UNDECIDED. INVALID whenever a check failed (`invalid` says which).

    Raises:
        ValueError: no necessary part.
    """
    necessary = [judged for judged in parts if judged.part.necessary]
    if not necessary:
        raise ValueError("A claim needs one necessary part or more.")
    if invalid:
        return "INVALID"
    if all(judged.verdict == "SUPPORTED" for judged in parts):
        return "SUPPORTED"
    if any(judged.verdict == "REFUTED" for judged in necessary):
        return "REFUTED"
    if all(judged.verdict == "SUPPORTED" for judged in necessary) and any(p.verdict == "REFUTED" for p in parts):
        return "MIXED"
    return "UNDECIDED"


def _agree(values: Floats) -> bool:
    return len(values) > 0 and bool((values == values[0]).all())


def _side(part: Part, interval: Interval) -> PartVerdict:
    low, high = part.claimed
    if interval.low > low and interval.high < high:
        return "SUPPORTED"
    return "REFUTED" if interval.high < low or interval.low > high else "UNDECIDED"


def _why(part: Part, interval: Interval) -> str:
    """Where the interval lies, seen from the edges of what is claimed."""
    edges = [edge for edge in part.claimed if math.isfinite(edge)]
    held = [f"{edge:g}" for edge in edges if interval.low <= edge <= interval.high]
    if held:
        return f"The interval holds {' and '.join(held)}."
    under = [edge for edge in edges if edge < interval.low]
    if 0 < len(under) < len(edges):
        return f"The whole interval lies between {edges[0]:g} and {edges[1]:g}."
    return f"The whole interval lies {f'above {under[-1]:g}' if under else f'below {edges[0]:g}'}."
