"""What a verdict on an arm holds."""

from dataclasses import dataclass
from typing import Literal

from holdfast.stats.intervals import Interval
from holdfast.stats.outcome import Outcome
from holdfast.stats.suppressed import Suppression
from holdfast.stats.survival import SurvivalCurve, half_life_text

Verdict = Literal["SURVIVES", "REMOVED", "MIXED", "UNDECIDED", "INVALID"]
OVER: Literal["over 500"] = "over 500"
"""Stands in `seeds_needed` where no number up to 500 would do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmVerdict:
    """What is said about an arm, and all that it rests on. Counts are of planted seeds unless named otherwise."""

    verdict: Verdict
    reason: str
    """Full sentences, ready to print."""
    seeds: int
    """Planted seeds, the denominator of both shares."""
    built: int
    """Seeds in all."""
    unplanted: tuple[int, ...]
    """Seeds left out, because their implant was not above the controls at step 0."""
    held: int
    removed: int
    wrecked: int
    diverged: int
    returned: int
    """Of those held: gone for a while, and back by themselves."""
    held_interval: Interval
    """Exact interval of the share held, at `level`."""
    removed_interval: Interval
    level: float
    look: int
    budget: int
    limit: float | None
    """Control limit at step 0; None without a clean control."""
    seeds_needed: int | Literal["over 500"] | None
    """Planted seeds in all that would decide; None where it doesn't apply (decided, or INVALID)."""
    suppressed: Suppression | None
    curve: SurvivalCurve | None
    """None if nothing was planted."""
    half_life: int | None
    """First step with S <= 0.5; None: not reached. `half_life_text` prints both."""
    restricted_mean: float | None
    """Steps. None: nothing planted, or the last nets watched were lost before the budget."""
    outcomes: tuple[tuple[int, Outcome], ...]
    """(seed, outcome) of each planted net, by seed."""

    @property
    def label(self) -> str:
        """The verdict as printed: REMOVED with significant suppression is "REMOVED (suppressed)"."""
        hidden = self.verdict == "REMOVED" and self.suppressed is not None and self.suppressed.significant
        return "REMOVED (suppressed)" if hidden else self.verdict

    @property
    def half_life_text(self) -> str:
        """ "300", "> 1000", or "not known" if nothing was planted."""
        return "not known" if self.curve is None else half_life_text(self.curve)
