"""Two arms compared seed by seed, as a row of `verdict.json`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from holdfast.experiment import Study
from holdfast.judging.attacker import Attacker
from holdfast.judging.planting import planted
from holdfast.judging.reading import measures_of, plain, trace_of
from holdfast.stats import compare, outcome
from holdfast.store import RunFolder


def comparison_row(
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
        sides.append({c.planting.seed: trace_of(measures_of(c, folder), arm.measure) for c in cells})
    outcomes = [
        {seed: outcome(t, budget=arm.budget, wreck_points=arm.wreck_points) for seed, t in side.items()}
        for arm, side in zip((reference, other), sides, strict=True)
    ]
    result = compare(*outcomes, reference_traces=sides[0], budget=reference.budget)
    return (
        row | {"setting": setting.label} | {f.name: plain(getattr(result, f.name)) for f in dataclasses.fields(result)}
    )
