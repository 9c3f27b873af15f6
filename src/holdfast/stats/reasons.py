"""A verdict in sentences, ready to print."""

from collections.abc import Sequence

from holdfast.stats.arm_verdict import OVER, ArmVerdict
from holdfast.stats.intervals import Interval
from holdfast.stats.planning import distinguishable


def explain(arm: ArmVerdict, faults: Sequence[str], notes: Sequence[str]) -> str:
    """The reason of a verdict: what decides it, then what a reader has to know beside it.

    Args:
        arm: the verdict, all but its reason.
        faults: causes of INVALID, as sentences.
        notes: remarks on the controls, as sentences.
    """
    opening = ["No clean control: no limit and no re-activation test are claimed."] if arm.limit is None else []
    return " ".join([*opening, *(faults or _decided(arm)), *_nets(arm), *notes])


def _share(hits: int, arm: ArmVerdict, interval: Interval) -> str:
    """Three decimals, because a bound of .803 printed as "0.80" would not seem to clear 0.8."""
    return f"{hits} of {arm.seeds} planted seeds ({interval.low:.3f} to {interval.high:.3f})"


def _decided(arm: ArmVerdict) -> list[str]:
    held, removed = _share(arm.held, arm, arm.held_interval), _share(arm.removed, arm, arm.removed_interval)
    level = f"at look {arm.look}, level {100 * arm.level:g} %"
    match arm.verdict:
        case "SURVIVES":
            return [f"Held at step {arm.budget} in {held}: the lower bound is above 0.8 {level}."]
        case "REMOVED":
            first = f"Removed by step {arm.budget}, host intact, in {removed}: the lower bound is above 0.8 {level}."
            return [first, *([arm.suppressed.sentence] if arm.suppressed else [])]
        case "MIXED":
            return [f"Held in {held} and removed in {removed}: both upper bounds are below 0.8 {level}."]
    return [f"Held in {held} and removed in {removed}: no bound clears 0.8 {level}.", *_said_by_few(arm), _needed(arm)]


def _said_by_few(arm: ArmVerdict) -> list[str]:
    """What too few seeds for any verdict still say."""
    if arm.seeds >= distinguishable(arm.seeds, arm.look).least_seeds:
        return []
    if arm.held:
        return ["One survivor is enough to disprove that this pressure always removes it."]
    if arm.removed == arm.seeds:
        return [f"Gone in {arm.seeds} of {arm.seeds} bounds survival below {arm.held_interval.high:.2f}."]
    return []


def _needed(arm: ArmVerdict) -> str:
    number = "over 500" if arm.seeds_needed == OVER else f"{arm.seeds_needed}"
    return f"Seeds needed in all: {number} (if the observed share is the truth, power 0.8, at look {arm.look + 1})."


def _nets(arm: ArmVerdict) -> list[str]:
    """Nets that the two shares don't show."""
    notes = []
    if arm.unplanted:
        notes.append(f"Not planted and left out: seeds {', '.join(map(str, arm.unplanted))}.")
    if arm.wrecked or arm.diverged:
        notes.append(f"Neither held nor removed: {arm.wrecked} wrecked, {arm.diverged} diverged.")
    if arm.returned:
        notes.append(f"Of those held, {arm.returned} had gone and came back by themselves.")
    return notes
