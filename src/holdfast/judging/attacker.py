"""The strongest attacker of an arm: which setting of the grid it is judged under."""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from holdfast.experiment import Experiment
from holdfast.judging.planting import seeds_there
from holdfast.judging.reading import measures_of, or_none, trace_of
from holdfast.parts import Pressure
from holdfast.stats import Choice, Outcome, Trace, outcome, strongest
from holdfast.store import RunFolder
from holdfast.study import Study


@dataclass(frozen=True)
class Attacker:
    """The strongest setting of an arm's grid, and how it was chosen."""

    setting: Pressure | None
    """None: every setting wrecks."""
    choice: Choice | None
    """None also where there was nothing to choose."""


def strongest_attacker(study: Study, arm: Experiment, folder: RunFolder) -> Attacker:
    """The setting that an arm is judged under: the only one, or the strongest on the tuning seeds."""
    if not arm.tuned:
        return Attacker(arm.grid[0], None)
    table = {setting.label: tuning_of(study, arm, setting, folder) for setting in arm.grid}
    choice = strongest({label: [(o, lost) for _, o, lost in nets] for label, nets in table.items()}, arm.budget)
    if choice is None:
        return Attacker(None, None)
    return Attacker(next(s for s in arm.grid if s.label == choice.setting), choice)


def tuning_of(
    study: Study, arm: Experiment, setting: Pressure, folder: RunFolder
) -> list[tuple[Trace, Outcome, float]]:
    nets, there = [], seeds_there(study, arm, folder, tuning=True)[0]
    for cell in study.tuning(arm, setting):
        if cell.planting.seed not in there:
            continue
        trace = trace_of(measures_of(cell, folder), arm.measure)
        lost = trace.accuracy[0] - trace.accuracy[trace.steps.index(arm.budget)]
        rules = {"budget": arm.budget, "wreck_points": arm.wreck_points, "at_end": arm.at_end}
        nets.append((trace, outcome(trace, **rules), lost))  # type: ignore[arg-type]
    return nets


def frontier(study: Study, arm: Experiment, attacker: Attacker, folder: RunFolder) -> list[dict[str, Any]]:
    """One row a setting of the grid, means over the tuning seeds at the budget (diverged nets left out of means)."""
    rows = []
    for setting in arm.grid if arm.tuned else ():
        nets = tuning_of(study, arm, setting, folder)
        kinds = [o.kind for _, o, _ in nets]
        sound = [(t, lost) for t, o, lost in nets if o.kind != "diverged"]
        at = arm.looks.index(arm.budget)
        rows.append(
            {
                "setting": setting.label,
                "chosen": setting == attacker.setting,
                "seeds": len(nets),
                **{kind: kinds.count(kind) for kind in ("held", "removed", "wrecked", "diverged")},
                "presence": or_none(fmean(t.presence[at] for t, _ in sound) if sound else math.nan),
                "accuracy_lost": or_none(fmean(lost for _, lost in sound) if sound else math.nan),
            }
        )
    return rows


def attack_budget(arm: Experiment, budget: int, unit: str = "steps") -> str:
    """What the verdict is against, in a sentence. `budget`: 0 where nothing was pressed."""
    if not arm.budget:
        dose = f"{budget:,} {unit} at most" if budget else "not run"
        return f"Your own training as it is, {dose}; no stronger attacker was looked for."
    examples = len(arm.task.load().train)
    batches = sorted({getattr(setting, "batch", 0) for setting in arm.grid})
    dose = f"{arm.budget:,} steps"
    if all(batches):
        sizes, epochs = (
            " to ".join(dict.fromkeys(f"{value:.0f}" for value in (values[0], values[-1])))
            for values in (batches, [arm.budget * batch / examples for batch in batches])
        )
        dose += f" of {sizes} on {examples:,} training examples ({epochs} epochs)"
    if not arm.tuned:
        return f"One setting, {arm.grid[0].label}, {dose}; no stronger one was looked for."
    return f"The strongest of {len(arm.grid)} settings on {arm.tuning_seeds} tuning seeds, {dose}."
