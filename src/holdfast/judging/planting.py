"""Whether the implant is there at step 0, and the host is what it was."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from holdfast.experiment import Experiment
from holdfast.judging.reading import at_step_0
from holdfast.stats import LEAST_SEEDS, control_limit, gone_below, is_planted
from holdfast.store import RunFolder
from holdfast.study import Study


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
    presence: float
    """Mean presence of the planted nets at step 0."""
    limit: float | None
    """What a never-planted net may show by chance."""

    @property
    def unplanted(self) -> tuple[int, ...]:
        """Judged seeds whose implant is not there."""
        return tuple(seed for seed in range(self.built) if seed not in self.seeds)

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
            if self.presence > 0.5 and self.limit is not None and gone_below(self.presence) <= self.limit:
                return (
                    f"It shows a presence of {self.presence:.2f} on average at step 0, half of which counts as gone; "
                    f"but {self.controls} never-planted controls put the limit of what is there by itself at "
                    f"{self.limit:.2f}. Only {len(self.seeds)} of {self.built} seeds can be told from nothing, and 9 "
                    f"in 10 are needed: nothing was pressed. Use more seeds (the limit of few controls is high), "
                    f"another answer, or a trigger that clean nets don't answer to."
                )
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
    presence = [net[arm.measure] for net in nets if math.isfinite(net[arm.measure])]
    return Planted(
        seeds=seeds,
        tuning=tuning,
        built=len(nets),
        tuned=arm.tuned,
        moved=moved(arm, accuracy, reference),
        controls=finite,
        presence=fmean(presence) if presence else 0.0,
        limit=_limit(controls, arm.measure),
    )


def _limit(controls: Sequence[dict[str, float]], measure: str) -> float | None:
    """The controls' limit; infinite with fewer than two that are finite, None without any."""
    found = [c[measure] for c in controls if math.isfinite(c[measure])]
    if len(found) > 1:
        return control_limit(found)
    return math.inf if controls else None


def seeds_there(
    study: Study, arm: Experiment, folder: RunFolder, *, tuning: bool
) -> tuple[tuple[int, ...], list[dict[str, float]], list[dict[str, float]]]:
    """The seeds that are planted, and what was measured at step 0 of all nets and controls."""
    cells = study.planting(arm, tuning=tuning, planted=True)
    nets = [at_step_0(cell, folder) for cell in cells]
    alike = study.planting(arm, tuning=tuning, planted=False) if arm.part.has_control else []
    controls = [at_step_0(cell, folder) for cell in alike]
    limit = _limit(controls, arm.measure)
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
