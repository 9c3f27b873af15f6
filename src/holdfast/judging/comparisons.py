"""Two arms compared seed by seed, as a row of `verdict.json`."""

import dataclasses
from collections.abc import Mapping
from statistics import median
from typing import Any

from holdfast.experiment import Experiment
from holdfast.judging.attacker import Attacker
from holdfast.judging.planting import planted
from holdfast.judging.reading import measures_of, plain, trace_of
from holdfast.parts import Pressure
from holdfast.stats import Comparison, Trace, check_controls, compare, gone_below, outcome
from holdfast.store import RunFolder
from holdfast.study import Study


def comparison_row(
    study: Study,
    pair: tuple[str, str],
    attackers: Mapping[str, Attacker],
    verdicts: Mapping[str, str],
    folder: RunFolder,
) -> dict[str, Any]:
    """How much longer the other arm's implant lasts under the setting that was chosen on the reference arm."""
    invalid = [name for name in pair if verdicts[name] == "INVALID"]
    row: dict[str, Any] = {"reference": pair[0], "other": pair[1], "setting": None}
    setting = attackers[pair[0]].setting if pair[0] in attackers else None
    if setting is None or pair[1] not in attackers:
        return row | {"verdict": "UNDECIDED", "reason": "One of the arms was not pressed, so there are no pairs."}
    labels = dict.fromkeys((setting.label, study.counterpart(pair, setting).label))
    row |= {"setting": " against ".join(labels)}
    if invalid:
        return row | {"verdict": "UNDECIDED", "reason": f"Not compared: {' and '.join(invalid)} INVALID."}
    result = comparison(study, pair, setting, folder)
    return row | {f.name: plain(getattr(result, f.name)) for f in dataclasses.fields(result)}


def comparison(
    study: Study, pair: tuple[str, str], setting: Pressure, folder: RunFolder, *, level: float = 0.95
) -> Comparison:
    """The second arm against the first, which is under this setting."""
    reference, other = (study.arm(name) for name in pair)
    its = study.counterpart(pair, setting)
    sides = []
    for arm, under in ((reference, setting), (other, its)):
        keep = planted(study, arm, folder).seeds
        cells = [c for c in study.pressing(arm, under, planted=True) if c.planting.seed in keep]
        sides.append({c.planting.seed: trace_of(measures_of(c, folder), arm.measure) for c in cells})
    outcomes = [
        {
            seed: outcome(t, budget=arm.budget, wreck_points=arm.wreck_points, at_end=arm.at_end)
            for seed, t in side.items()
        }
        for arm, side in zip((reference, other), sides, strict=True)
    ]
    found = compare(*outcomes, reference_traces=sides[0], budget=reference.budget, level=level)
    risen = _risen(study, other, its, sides[1], folder)
    return found if risen is None else dataclasses.replace(found, verdict="UNDECIDED", reason=risen, counts=False)


def _risen(
    study: Study, arm: Experiment, setting: Pressure, nets: Mapping[int, Trace], folder: RunFolder
) -> str | None:
    """A sentence, where the arm's controls come to show its implant by themselves under the other's setting."""
    cells = study.pressing(arm, setting, planted=False)
    if not cells or not nets:
        return None
    controls = {c.planting.seed: trace_of(measures_of(c, folder), arm.measure) for c in cells}
    check = check_controls(controls, arm.looks, median(gone_below(net.presence[0]) for net in nets.values()))
    if check.risen_at is None:
        return None
    return (
        f"Not compared: at step {check.risen_at} the limit of the never-planted controls of {study.arm_name(arm)} "
        f"exceeds its median threshold for gone, so under this setting the pressure itself makes what is measured."
    )
