"""From measures to verdicts: `stats` applied to what a study's cells recorded. Imports no torch."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.experiment import SCHEMA, Cell, Experiment, Planting, Pressing, Study
from holdfast.parts import Pressure
from holdfast.stats import (
    ArmVerdict,
    Choice,
    Suppression,
    Trace,
    clopper_pearson,
    compare,
    control_limit,
    gone_below,
    is_planted,
    judge_arm,
    look_level,
    outcome,
    passing_time,
    strongest,
    suppression,
)
from holdfast.stats.attacker import LEAST_SEEDS
from holdfast.store import Measures, RunFolder


@dataclass(frozen=True)
class Attacker:
    """The strongest setting of an arm's grid, and how it was chosen."""

    setting: Pressure | None
    """None: every setting wrecks."""
    choice: Choice | None
    """None also where there was nothing to choose."""


# ------------------------------------------------------------------------------------------------------- at step 0


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

    @property
    def fault(self) -> str | None:
        """Why the arm need not be pressed at all, or None."""
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
    seeds, nets, controls = _there(study, arm, folder, tuning=False)
    tuning = _there(study, arm, folder, tuning=True)[0] if arm.tuned else ()
    accuracy, reference = ([net["accuracy"] for net in side] for side in (nets, controls))
    return Planted(seeds, tuning, len(nets), arm.tuned, moved(arm, accuracy, reference))


def _there(
    study: Study, arm: Experiment, folder: RunFolder, *, tuning: bool
) -> tuple[tuple[int, ...], list[dict[str, float]], list[dict[str, float]]]:
    """The seeds that are planted, and what was measured at step 0 of all nets and controls."""
    cells = study.planting(arm, tuning=tuning, planted=True)
    nets = [_at_0(cell, folder) for cell in cells]
    controls = [_at_0(cell, folder) for cell in study.planting(arm, tuning=tuning, planted=False)]
    limit = control_limit([c["presence"] for c in controls]) if controls else None
    there = (c.seed for c, net in zip(cells, nets, strict=True) if is_planted(net["presence"], limit))
    return tuple(there), nets, controls


def moved(arm: Experiment, accuracy: Sequence[float], control: Sequence[float]) -> str | None:
    """A sentence, where planting cost more clean accuracy than the implant promises; None where it did not.

    Compared is the mean over seeds of the paired difference: one net's accuracy moves in steps of one test example.
    """
    allowed = arm.implant.costs_at_most
    if allowed is None or not control:
        return None
    lost = 100 * fmean(c - a for a, c in zip(accuracy, control, strict=True))
    if lost <= allowed:
        return None
    return f"Planting cost {lost:.2f} points of clean accuracy on average; this implant may cost {allowed:g} at most."


def well_planted(study: Study, arm: Experiment, folder: RunFolder) -> bool:
    """Whether the arm is worth pressing."""
    return planted(study, arm, folder).fault is None


# ---------------------------------------------------------------------------------------------------- the attacker


def strongest_attacker(study: Study, arm: Experiment, folder: RunFolder) -> Attacker:
    """The setting that an arm is judged under: the only one, or the strongest on the tuning seeds."""
    if not arm.tuned:
        return Attacker(arm.grid[0], None)
    table = {setting.label: _tuning(study, arm, setting, folder) for setting in arm.grid}
    choice = strongest({label: [(o, lost) for _, o, lost in nets] for label, nets in table.items()}, arm.budget)
    if choice is None:
        return Attacker(None, None)
    return Attacker(next(s for s in arm.grid if s.label == choice.setting), choice)


def _tuning(study: Study, arm: Experiment, setting: Pressure, folder: RunFolder) -> list[tuple[Trace, Any, float]]:
    nets, there = [], _there(study, arm, folder, tuning=True)[0]
    for cell in study.tuning(arm, setting):
        if cell.planting.seed not in there:
            continue
        trace = _trace(_measures(cell, folder))
        lost = trace.accuracy[0] - trace.accuracy[trace.steps.index(arm.budget)]
        nets.append((trace, outcome(trace, budget=arm.budget, wreck_points=arm.wreck_points), lost))
    return nets


def _frontier(study: Study, arm: Experiment, attacker: Attacker, folder: RunFolder) -> list[dict[str, Any]]:
    """One row a setting of the grid, means over the tuning seeds at the budget (diverged nets left out of means)."""
    rows = []
    for setting in arm.grid if arm.tuned else ():
        nets = _tuning(study, arm, setting, folder)
        kinds = [o.kind for _, o, _ in nets]
        sound = [(t, lost) for t, o, lost in nets if o.kind != "diverged"]
        at = arm.looks.index(arm.budget)
        rows.append(
            {
                "setting": setting.label,
                "chosen": setting == attacker.setting,
                "seeds": len(nets),
                **{kind: kinds.count(kind) for kind in ("held", "removed", "wrecked", "diverged")},
                "presence": _or_none(fmean(t.presence[at] for t, _ in sound) if sound else math.nan),
                "accuracy_lost": _or_none(fmean(lost for _, lost in sound) if sound else math.nan),
            }
        )
    return rows


# ----------------------------------------------------------------------------------------------------- the verdicts


def judge(study: Study, folder: RunFolder) -> dict[str, Any]:
    """Judge every arm and comparison of a study whose cells are complete.

    Returns:
        Plain JSON, the same for the same measures: `study`, `question`, `arms`, `comparisons`.
    """
    attackers = {
        study.arm_name(arm): strongest_attacker(study, arm, folder)
        for arm in study.arms
        if well_planted(study, arm, folder)
    }
    return {
        "schema": SCHEMA,
        "study": study.name,
        "question": study.question,
        "arms": [_arm(study, arm, attackers.get(study.arm_name(arm)), folder) for arm in study.arms],
        "comparisons": [_comparison(study, pair, attackers, folder) for pair in study.compare],
    }


def _arm(study: Study, arm: Experiment, attacker: Attacker | None, folder: RunFolder) -> dict[str, Any]:
    planting = planted(study, arm, folder)
    row: dict[str, Any] = {
        "arm": study.arm_name(arm),
        "implant": arm.implant.label,
        "pressure": getattr(arm.grid[0], "name", arm.grid[0].label),
        "setting": attacker.setting.label if attacker and attacker.setting else None,
        "host": arm.host.label,
        "task": arm.task.label,
        "budget": arm.budget,
        "looks": list(arm.looks),
        "attack_budget": _attack_budget(arm, attacker),
        "grid": [] if attacker is None else _frontier(study, arm, attacker, folder),
        "cells": {},
    }
    if attacker is None:
        return row | _unpressed("INVALID", planting.fault or "", planting)
    if attacker.setting is None:
        reason = "No usable attacker: every setting of the grid wrecks the host or diverges. Add gentler ones."
        return row | _unpressed("UNDECIDED", reason, planting)
    nets = study.pressing(arm, attacker.setting, planted=True)
    controls = study.pressing(arm, attacker.setting, planted=False)
    verdict = _judged(arm, nets, controls, folder)
    row["cells"] = {
        "planted": {str(c.planting.seed): folder.key(c) for c in nets},
        "control": {str(c.planting.seed): folder.key(c) for c in controls},
    }
    return row | as_json(verdict)


def _judged(arm: Experiment, nets: Sequence[Pressing], controls: Sequence[Pressing], folder: RunFolder) -> ArmVerdict:
    measured = {cell.planting.seed: _measures(cell, folder) for cell in nets}
    reference = {cell.planting.seed: _measures(cell, folder) for cell in controls}
    traces = {seed: _trace(m) for seed, m in measured.items()}
    against = {seed: _trace(m) for seed, m in reference.items()} or None
    rules: dict[str, Any] = {"budget": arm.budget, "wreck_points": arm.wreck_points}
    try:
        verdict = judge_arm(traces, against, **rules)
        removed = [seed for seed, o in verdict.outcomes if o.kind == "removed"]
        tested = _suppressed(removed, measured, reference) if arm.reactivation and against else None
        return judge_arm(traces, against, **rules, suppression=tested) if tested else verdict
    except ValueError as error:
        raise HoldfastError(f"The arm {arm.implant.label} cannot be judged: {error}") from error


def _suppressed(
    seeds: Sequence[int], nets: Mapping[int, Measures], controls: Mapping[int, Measures]
) -> Suppression | None:
    """Whether nets that count as removed come back sooner than their controls acquire the same presence."""
    if not seeds:
        return None
    times: dict[str, list[float]] = {"arm": [], "control": []}
    for seed in seeds:
        threshold = gone_below(nets[seed].phase("pressure")["presence"][0])
        for side, measures in (("arm", nets[seed]), ("control", controls[seed])):
            curve = measures.phase("reactivation")
            times[side].append(passing_time(curve["step"], curve["presence"], threshold))  # type: ignore[arg-type]
    return suppression(times["arm"], times["control"])


def _unpressed(verdict: str, reason: str, planting: Planted) -> dict[str, Any]:
    """The row of an arm that no judged net was pressed for."""
    level = look_level(1)
    unknown = list(clopper_pearson(0, 0, level))
    return {
        "verdict": verdict,
        "label": verdict,
        "reason": reason,
        "seeds": len(planting.seeds),
        "built": planting.built,
        **dict.fromkeys(("held", "removed", "wrecked", "diverged", "returned"), 0),
        "interval": unknown,
        "held_interval": unknown,
        "removed_interval": unknown,
        "level": level,
        "look": 1,
        "suppressed": None,
        "curve": None,
        "outcomes": {},
    }


def as_json(verdict: ArmVerdict) -> dict[str, Any]:
    """A verdict as plain JSON. `interval` is that of the share that the verdict speaks of."""
    fields = {f.name: _plain(getattr(verdict, f.name)) for f in dataclasses.fields(verdict)}
    fields["label"] = verdict.label
    fields["interval"] = fields["removed_interval" if verdict.verdict == "REMOVED" else "held_interval"]
    fields["half_life"] = verdict.half_life_text
    fields["outcomes"] = {str(seed): _plain(o) for seed, o in verdict.outcomes}
    if verdict.suppressed is not None:
        fields["suppressed"]["significant"] = verdict.suppressed.significant
    return fields


def _attack_budget(arm: Experiment, attacker: Attacker | None) -> str:
    examples = len(arm.task.load().train)
    batch = getattr(arm.grid[0], "batch", None)
    dose = f"{arm.budget:,} steps"
    if batch is not None:
        dose += f" of {batch} on {examples:,} training examples ({arm.budget * batch / examples:.0f} epochs)"
    if not arm.tuned:
        return f"One setting, {arm.grid[0].label}, {dose}; no stronger one was looked for."
    found = f"; the strongest was {attacker.setting.label}" if attacker and attacker.setting else ""
    return f"The strongest of {len(arm.grid)} settings on {arm.tuning_seeds} tuning seeds, {dose}{found}."


def _comparison(
    study: Study, pair: tuple[str, str], attackers: Mapping[str, Attacker], folder: RunFolder
) -> dict[str, Any]:
    reference, other = (study.arm(name) for name in pair)
    row: dict[str, Any] = {"reference": pair[0], "other": pair[1], "setting": None}
    setting = attackers[pair[0]].setting if pair[0] in attackers else None
    if setting is None or pair[1] not in attackers:
        return row | {"verdict": "UNDECIDED", "reason": "One of the arms was not pressed, so there are no pairs."}
    sides = []
    for arm in (reference, other):
        keep = planted(study, arm, folder).seeds
        cells = [c for c in study.pressing(arm, setting, planted=True) if c.planting.seed in keep]
        sides.append({c.planting.seed: _trace(_measures(c, folder)) for c in cells})
    outcomes = [
        {seed: outcome(t, budget=arm.budget, wreck_points=arm.wreck_points) for seed, t in side.items()}
        for arm, side in zip((reference, other), sides, strict=True)
    ]
    result = compare(*outcomes, reference_traces=sides[0], budget=reference.budget)
    return (
        row | {"setting": setting.label} | {f.name: _plain(getattr(result, f.name)) for f in dataclasses.fields(result)}
    )


# --------------------------------------------------------------------------------------------------------- reading


def _measures(cell: Cell, folder: RunFolder) -> Measures:
    measures = folder.measures(folder.key(cell))
    if measures is None or not measures.complete:
        raise HoldfastError(f"{folder.path} is not complete. Run it again: it goes on from where it stopped.")
    return measures


def _at_0(cell: Planting, folder: RunFolder) -> dict[str, float]:
    return {name: column[0] for name, column in _measures(cell, folder).phase("planting").items()}


def _trace(measures: Measures) -> Trace:
    columns = measures.phase("pressure")
    return Trace(
        steps=tuple(int(s) for s in columns["step"]),
        presence=tuple(columns["presence"]),
        accuracy=tuple(columns["accuracy"]),
    )


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, float):
        return _or_none(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
