"""The verdict on one arm, as a row of `verdict.json`."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.experiment import Experiment
from holdfast.judging.attacker import Attacker, attack_budget, frontier
from holdfast.judging.planting import Planted, planted
from holdfast.judging.reading import looks_of, measures_of, or_none, plain, trace_of
from holdfast.stats import (
    ArmVerdict,
    Suppression,
    clopper_pearson,
    gone_below,
    judge_arm,
    look_level,
    passing_time,
    suppression,
)
from holdfast.store import Measures, RunFolder
from holdfast.study import Study


def arm_row(study: Study, arm: Experiment, attacker: Attacker | None, folder: RunFolder) -> dict[str, Any]:
    planting = planted(study, arm, folder)
    row: dict[str, Any] = {
        "arm": study.arm_name(arm),
        "implant": arm.part.label,
        "measure": arm.measure,
        "pressure": getattr(arm.grid[0], "name", arm.grid[0].label),
        "setting": attacker.setting.label if attacker and attacker.setting else None,
        "host": arm.host.label,
        "task": arm.task.label,
        "budget": arm.budget,
        "looks": list(arm.looks),
        "attack_budget": attack_budget(arm, arm.budget),
        "grid": [] if attacker is None else frontier(study, arm, attacker, folder),
        "cells": {},
    }
    if attacker is None:
        return row | _unpressed("INVALID", planting.fault or "", planting, study.look)
    if attacker.setting is None:
        reason = "No usable attacker: every setting of the grid wrecks the host or diverges. Add gentler ones."
        return row | _unpressed("UNDECIDED", reason, planting, study.look)
    nets = study.pressing(arm, attacker.setting, planted=True)
    controls = study.pressing(arm, attacker.setting, planted=False) if arm.part.has_control else []
    looks, budget = looks_of(arm, [*nets, *controls], folder)
    measured, reference = ({c.planting.seed: measures_of(c, folder) for c in side} for side in (nets, controls))
    verdict = _judged(arm, measured, reference, looks, study.look)
    ends = (trace_of(m, arm.measure, looks).presence[-2] for m in measured.values())
    row["left"] = or_none(max((p for p in ends if math.isfinite(p)), default=math.nan))
    in_calls = any("in_calls" in line for m in measured.values() for line in m.lines)
    told = attack_budget(arm, budget, "calls" if in_calls else "steps")
    row |= {"budget": budget, "attack_budget": told, "looks": looks}
    row["cells"] = {
        "planted": {str(c.planting.seed): folder.key(c) for c in nets},
        "control": {str(c.planting.seed): folder.key(c) for c in controls},
    }
    return row | as_json(verdict)


def _judged(
    arm: Experiment, nets: Mapping[int, Measures], controls: Mapping[int, Measures], looks: Sequence[int], look: int
) -> ArmVerdict:
    traces = {seed: trace_of(m, arm.measure, looks) for seed, m in nets.items()}
    against = {seed: trace_of(m, arm.measure, looks) for seed, m in controls.items()} or None
    rules: dict[str, Any] = {
        "budget": looks[-2],
        "wreck_points": arm.wreck_points,
        "at_end": arm.at_end,
        "look": look,
    }
    try:
        verdict = judge_arm(traces, against, **rules)
        removed = [seed for seed, o in verdict.outcomes if o.kind == "removed"]
        tested = _suppressed(removed, nets, controls) if arm.reactivation and against else None
        return judge_arm(traces, against, **rules, suppression=tested) if tested else verdict
    except ValueError as error:
        raise HoldfastError(f"The arm {arm.implant.label} cannot be judged: {error}") from error


def _suppressed(
    seeds: Sequence[int], nets: Mapping[int, Measures], controls: Mapping[int, Measures]
) -> Suppression | None:
    """Whether nets that count as removed come back sooner than their controls acquire the same presence.

    A pair in which one is not finite is left out: a control that diverged would seem never to acquire it.
    """
    pairs = [
        seed
        for seed in seeds
        if all(math.isfinite(p) for m in (nets[seed], controls[seed]) for p in m.phase("reactivation")["presence"])
    ]
    if not pairs:
        return None
    times: dict[str, list[float]] = {"arm": [], "control": []}
    for seed in pairs:
        threshold = gone_below(nets[seed].phase("pressure")["presence"][0])
        for side, measures in (("arm", nets[seed]), ("control", controls[seed])):
            curve = measures.phase("reactivation")
            times[side].append(passing_time(curve["step"], curve["presence"], threshold))  # type: ignore[arg-type]
    return suppression(times["arm"], times["control"])


def _unpressed(verdict: str, reason: str, planting: Planted, look: int) -> dict[str, Any]:
    """The row of an arm that no judged net was pressed for."""
    level = look_level(look)
    unknown = list(clopper_pearson(0, 0, level))
    return {
        "verdict": verdict,
        "label": verdict,
        "reason": reason,
        "seeds": len(planting.seeds),
        "built": planting.built,
        "unplanted": list(planting.unplanted),
        **dict.fromkeys(("held", "removed", "wrecked", "diverged", "returned"), 0),
        "interval": unknown,
        "held_interval": unknown,
        "removed_interval": unknown,
        "level": level,
        "look": look,
        "suppressed": None,
        "curve": None,
        "outcomes": {},
    }


def as_json(verdict: ArmVerdict) -> dict[str, Any]:
    """A verdict as plain JSON. `interval` is that of the share that the verdict speaks of."""
    fields = {f.name: plain(getattr(verdict, f.name)) for f in dataclasses.fields(verdict)}
    fields["label"] = verdict.label
    fields["interval"] = fields["removed_interval" if verdict.verdict == "REMOVED" else "held_interval"]
    fields["half_life"] = verdict.half_life_text
    fields["outcomes"] = {str(seed): plain(o) for seed, o in verdict.outcomes}
    if verdict.suppressed is not None:
        fields["suppressed"]["significant"] = verdict.suppressed.significant
    return fields
