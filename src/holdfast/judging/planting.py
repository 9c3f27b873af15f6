"""Whether the implant is there at step 0, and the host is what it was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from holdfast.experiment import Experiment, Study
from holdfast.judging.reading import at_step_0
from holdfast.stats import LEAST_SEEDS, control_limit, is_planted
from holdfast.store import RunFolder


@dataclass(frozen=True)
class Planted:
    """How the planting of one arm came out, on its judged seeds at step 0."""

    seeds: tuple[int, ...]
    """Judged seeds whose implant is there."""
    tuning: tuple[int, ...]
    """Tuning seeds whose implant is there."""
    built: int
    tuned: bool
    moved: str | None
    """A sentence, where planting cost the host more than the implant promises."""
    controls: int | None
    """Never-planted controls that are finite at step 0; None where there are none at all."""

    @property
    def fault(self) -> str | None:
        """Why the arm need not be pressed at all, or None."""
        if self.controls is not None and self.controls < 2:
            return (
                f"Of the never-planted controls only {self.controls} are finite at step 0, and 2 are needed for a "
                f"limit: nothing was pressed. Train the host more gently."
            )
        if self.moved:
            return self.moved
        if 10 * len(self.seeds) < 9 * self.built:
            return (
                f"The implant is there in only {len(self.seeds)} of {self.built} seeds at step 0, and 9 in 10 are "
                f"needed: nothing was pressed. Train the host longer, poison more, or choose a clearer trigger."
            )
        if self.tuned and len(self.tuning) < LEAST_SEEDS:
            return (
                f"The implant is there in only {len(self.tuning)} tuning seeds, and {LEAST_SEEDS} are needed to choose "
                f"an attacker: nothing was pressed. Raise `tuning_seeds`."
            )
        return None


def planted(study: Study, arm: Experiment, folder: RunFolder) -> Planted:
    """Check the planting of an arm against its never-planted controls, before any pressure."""
    seeds, nets, controls = seeds_there(study, arm, folder, tuning=False)
    finite = sum(map(math.isfinite, (c[arm.measure] for c in controls))) if controls else None
    tuning = seeds_there(study, arm, folder, tuning=True)[0] if arm.tuned else ()
    accuracy, reference = ([net["accuracy"] for net in side] for side in (nets, controls))
    return Planted(seeds, tuning, len(nets), arm.tuned, moved(arm, accuracy, reference), finite)


def seeds_there(
    study: Study, arm: Experiment, folder: RunFolder, *, tuning: bool
) -> tuple[tuple[int, ...], list[dict[str, float]], list[dict[str, float]]]:
    """The seeds that are planted, and what was measured at step 0 of all nets and controls."""
    cells = study.planting(arm, tuning=tuning, planted=True)
    nets = [at_step_0(cell, folder) for cell in cells]
    alike = study.planting(arm, tuning=tuning, planted=False) if arm.part.has_control else []
    controls = [at_step_0(cell, folder) for cell in alike]
    found = [c[arm.measure] for c in controls if math.isfinite(c[arm.measure])]
    limit = math.inf if controls else None
    if len(found) > 1:
        limit = control_limit(found)
    there = (c.seed for c, net in zip(cells, nets, strict=True) if is_planted(net[arm.measure], limit))
    return tuple(there), nets, controls


def moved(arm: Experiment, accuracy: Sequence[float], control: Sequence[float]) -> str | None:
    """A sentence, where planting cost more clean accuracy than the implant promises; None where it did not.

    Compared is the mean over seeds of the paired difference: one net's accuracy moves in steps of one test example.
    """
    allowed = arm.implant.costs_at_most
    if allowed is None or not control:
        return None
    lost = 100 * fmean(c - a for a, c in zip(accuracy, control, strict=True))
    if not math.isfinite(lost):
        return (
            "Nets are not finite before any pressure, so what planting cost is not known. Train the host more gently."
        )
    if lost <= allowed:
        return None
    return f"Planting cost {lost:.2f} points of clean accuracy on average; this implant may cost {allowed:g} at most."


def well_planted(study: Study, arm: Experiment, folder: RunFolder) -> bool:
    """Whether the arm is worth pressing."""
    return planted(study, arm, folder).fault is None
