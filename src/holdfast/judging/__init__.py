"""From measures to verdicts: `stats` applied to what a study's cells recorded. Imports no torch."""

import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from holdfast.judging.arms import arm_row
from holdfast.judging.attacker import Attacker, strongest_attacker
from holdfast.judging.censuses import census_row
from holdfast.judging.comparisons import comparison_row
from holdfast.judging.grade import Cost, grade
from holdfast.judging.planting import moved, planted, well_planted
from holdfast.judging.reading import at_step_0, measures_of
from holdfast.store import RunFolder
from holdfast.store.code import rules_digest
from holdfast.study import SCHEMA, Study

__all__ = ["Attacker", "judging", "moved", "planted", "strongest_attacker", "well_planted"]


def judge(study: Study, folder: RunFolder) -> dict[str, Any]:
    """Judge every arm and comparison of a study whose cells are complete, and say what its censuses measured.

    Returns:
        Plain JSON, the same for the same measures: `study`, `question`, `arms`, `comparisons`, `censuses`.
    """
    attackers = {
        study.arm_name(arm): strongest_attacker(study, arm, folder)
        for arm in study.arms
        if well_planted(study, arm, folder)
    }
    rows = [arm_row(study, arm, attackers.get(study.arm_name(arm)), folder) for arm in study.arms]
    verdicts = {row["arm"]: row["verdict"] for row in rows}
    together = [row for arm, row in zip(study.arms, rows, strict=True) if arm.implant == study.arms[0].implant]
    return {
        "schema": SCHEMA,
        "rules": rules_digest(),
        "study": study.name,
        "question": study.question,
        **({"grade": grade(together, _cost(study, attackers, folder))} if study.graded else {}),
        "arms": rows,
        "comparisons": [comparison_row(study, pair, attackers, verdicts, folder) for pair in study.compare],
        "censuses": [census_row(study, census, folder) for census in study.censuses],
    }


def _cost(study: Study, attackers: Mapping[str, Attacker], folder: RunFolder) -> Cost:
    """What planting and the training cost the host of a graded study, whose first arms share their trainings."""
    arm = study.arms[0]
    attacker = attackers.get(study.arm_name(arm))
    setting = attacker.setting if attacker else None
    pressed = [] if setting is None else study.pressing(arm, setting, planted=False)
    controls = [measures_of(cell, folder).phase("pressure")["accuracy"] for cell in pressed]
    planted = [at_step_0(cell, folder) for cell in study.planting(arm, tuning=False, planted=True)]
    both = [(c[0], c[-1]) for c in controls if math.isfinite(c[0]) and math.isfinite(c[-1])]
    return Cost(
        accuracy_host=_mean(net.get("host_accuracy", math.nan) for net in planted),
        accuracy_planted=_mean(net["accuracy"] for net in planted),
        accuracy_before=_mean(before for before, _ in both),
        accuracy_after=_mean(after for _, after in both),
        warmed_up=any(net.get("warmed_up") for net in planted),
    )


def _mean(shares: Iterable[float]) -> float | None:
    finite = [share for share in shares if math.isfinite(share)]
    return fmean(finite) if finite else None
