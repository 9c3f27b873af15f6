"""The verdict on an arm: one setting at all its seeds."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from statistics import median

from holdfast.stats.arm_verdict import OVER, ArmVerdict, Verdict
from holdfast.stats.controls import ControlCheck, check_controls
from holdfast.stats.intervals import Interval, clopper_pearson, look_level
from holdfast.stats.outcome import Outcome, Trace, outcome
from holdfast.stats.planning import BAR, seeds_needed
from holdfast.stats.planted import control_limit, gone_below, is_planted
from holdfast.stats.reasons import explain
from holdfast.stats.suppressed import Suppression
from holdfast.stats.survival import curve_of, half_life, restricted_mean


def judge_arm(
    planted: Mapping[int, Trace],
    controls: Mapping[int, Trace] | None,
    *,
    budget: int,
    look: int = 1,
    wreck_points: float = 5.0,
    at_end: bool = False,
    moved: str | None = None,
    suppression: Suppression | None = None,
) -> ArmVerdict:
    """Judge an arm.

    INVALID: fewer than 9 in 10 seeds planted, a clean output moved, or the controls' limit exceeds the arm's median
    gone_below at a checkpoint. Otherwise, by exact intervals over all planted seeds at the level of the look: SURVIVES
    if the lower bound of the share held is over 0.8; REMOVED if that of the share removed is; MIXED if both upper
    bounds are under 0.8; else UNDECIDED. Wrecked and diverged nets count in the denominator and are neither.

    When it misleads: SURVIVES is against this pressure, and no stronger than it. A look that is not counted makes
    every interval too narrow. MIXED with many wrecked nets speaks of the pressure more than of the implant.

    Args:
        planted: every net of the arm by seed, those that failed to plant included.
        controls: never-planted nets under the same pressure by seed; None: no clean control exists.
        budget: steps of pressure.
        look: how many times this arm was judged, this time included.
        wreck_points: percentage points of clean accuracy that make a wreck.
        at_end: whether host and controls are held to their limits at the budget only; see `outcome`.
        moved: a sentence, if a clean output moved at planting that should not have.
        suppression: the re-activation test, if it was run.

    Raises:
        ValueError: no nets; fewer than 2 finite controls; a re-activation test without controls; an incomplete trace.
    """
    if not planted:
        raise ValueError("Expected at least one net to judge, got none. Run the arm first.")
    if controls is None and suppression is not None:
        raise ValueError("A re-activation test needs controls to compare with. Pass suppression=None, or the controls.")
    limit = None if controls is None else _limit_at_0(controls)
    seeds = [s for s in sorted(planted) if _planted(planted[s], limit)]
    outcomes = tuple((s, outcome(planted[s], budget=budget, wreck_points=wreck_points, at_end=at_end)) for s in seeds)
    check = _control_check([planted[s] for s in seeds], controls, budget, at_end)
    faults = _faults(len(seeds), len(planted), moved, check, len(controls or ()))
    unplanted = tuple(sorted(planted.keys() - set(seeds)))
    arm = _measured(outcomes, unplanted, bool(faults), budget=budget, look=look)
    arm = replace(arm, limit=limit, suppressed=suppression)
    return replace(arm, reason=explain(arm, faults, check.notes if check else ()))


def _limit_at_0(controls: Mapping[int, Trace]) -> float:
    return control_limit([c.presence[0] for _, c in sorted(controls.items()) if math.isfinite(c.presence[0])])


def _planted(trace: Trace, limit: float | None) -> bool:
    return is_planted(trace.presence[0], limit) and math.isfinite(trace.accuracy[0])


def _control_check(
    nets: list[Trace], controls: Mapping[int, Trace] | None, budget: int, at_end: bool
) -> ControlCheck | None:
    """The controls against the arm's median threshold, up to the extra checkpoint, or from the budget on."""
    if controls is None or not nets:
        return None
    extra = min((step for net in nets for step in net.steps if step > budget), default=budget)
    steps = {
        step for net in [*nets, *controls.values()] for step in net.steps if (budget if at_end else 0) <= step <= extra
    }
    return check_controls(controls, steps, median(gone_below(net.presence[0]) for net in nets))


def _faults(seeds: int, built: int, moved: str | None, check: ControlCheck | None, controls: int) -> list[str]:
    """Each cause of INVALID as a sentence."""
    faults = []
    if 10 * seeds < 9 * built:
        faults.append(f"Only {seeds} of {built} seeds are planted; 9 in 10 are needed. Plant longer, or stronger.")
    if moved:
        faults.append(moved if moved.endswith(".") else f"{moved}.")
    if check is not None and check.risen_at is not None:
        faults.append(
            f"At step {check.risen_at} the limit of the never-planted controls, {check.limit:.3f}, exceeds the arm's "
            "median threshold for gone: the pressure itself makes what is measured"
            + (f", or {controls} controls are too few (8 or more make a usable limit)." if controls < 8 else ".")
        )
    return faults


def _by_intervals(held: Interval, removed: Interval) -> Verdict:
    if held.low > BAR:
        return "SURVIVES"
    if removed.low > BAR:
        return "REMOVED"
    return "MIXED" if held.high < BAR and removed.high < BAR else "UNDECIDED"


def _measured(
    outcomes: tuple[tuple[int, Outcome], ...], unplanted: tuple[int, ...], invalid: bool, *, budget: int, look: int
) -> ArmVerdict:
    """The counts, intervals and curve, and the verdict by them. Reason, limit and suppression are still to come."""
    nets, level = [o for _, o in outcomes], look_level(look)
    n, count = len(nets), Counter(o.kind for o in nets)
    held, removed = (clopper_pearson(hits, n, level) for hits in (count["held"], count["removed"]))
    verdict: Verdict = "INVALID" if invalid else _by_intervals(held, removed)
    open_ = verdict == "UNDECIDED"
    curve = curve_of(nets, level=level) if nets else None
    return ArmVerdict(
        verdict=verdict,
        reason="",
        seeds=n,
        built=n + len(unplanted),
        unplanted=unplanted,
        held=count["held"],
        removed=count["removed"],
        wrecked=count["wrecked"],
        diverged=count["diverged"],
        returned=sum(o.returned for o in nets),
        held_interval=held,
        removed_interval=removed,
        level=level,
        look=look,
        budget=budget,
        limit=None,
        seeds_needed=(seeds_needed(count["held"], count["removed"], n, look=look) or OVER) if open_ else None,
        suppressed=None,
        curve=curve,
        half_life=None if curve is None else half_life(curve),
        restricted_mean=None if curve is None else restricted_mean(curve, budget),
        outcomes=outcomes,
    )
