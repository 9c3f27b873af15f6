"""From measures to verdicts: `stats` applied to what a study's cells recorded. Imports no torch."""

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from holdfast.experiment import SCHEMA, Study
from holdfast.judging.arms import arm_row
from holdfast.judging.attacker import Attacker, strongest_attacker
from holdfast.judging.comparisons import comparison_row
from holdfast.judging.grade import grade
from holdfast.judging.planting import moved, planted, well_planted
from holdfast.judging.reading import measures_of
from holdfast.store import RunFolder
from holdfast.store.code import rules_digest

__all__ = ["Attacker", "judging", "moved", "planted", "strongest_attacker", "well_planted"]


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
    rows = [arm_row(study, arm, attackers.get(study.arm_name(arm)), folder) for arm in study.arms]
    verdicts = {row["arm"]: row["verdict"] for row in rows}
    together = [row for arm, row in zip(study.arms, rows, strict=True) if arm.implant == study.arms[0].implant]
    return {
        "schema": SCHEMA,
        "rules": rules_digest(),
        "study": study.name,
        "question": study.question,
        **({"grade": grade(together, _accuracy(study, attackers, folder))} if study.graded else {}),
        "arms": rows,
        "comparisons": [comparison_row(study, pair, attackers, verdicts, folder) for pair in study.compare],
    }


def _accuracy(study: Study, attackers: Mapping[str, Attacker], folder: RunFolder) -> tuple[float, float] | None:
    """Mean clean accuracy of a graded study's controls, before and after the training."""
    arm = study.arms[0]
    attacker = attackers.get(study.arm_name(arm))
    if attacker is None or attacker.setting is None:
        return None
    columns = [measures_of(c, folder).phase("pressure") for c in study.pressing(arm, attacker.setting, planted=False)]
    ends = [(c["accuracy"][0], c["accuracy"][-1]) for c in columns]
    finite = [pair for pair in ends if all(map(math.isfinite, pair))]
    return (fmean(a for a, _ in finite), fmean(b for _, b in finite)) if finite else None
