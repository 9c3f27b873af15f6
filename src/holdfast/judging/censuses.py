"""What a census measured, as a row of `verdict.json`. A census has no verdict: it says what was measured."""

import math
from statistics import fmean
from typing import Any

from holdfast.census import Census
from holdfast.judging.reading import measures_of
from holdfast.store import RunFolder
from holdfast.study import Study


def census_row(study: Study, census: Census, folder: RunFolder) -> dict[str, Any]:
    measured = measured_of(study, census, folder)
    names = dict.fromkeys(name for found in measured.values() for name in found)
    return {
        "census": census.title,
        "sample": census.sample.label,
        "seeds": census.seeds,
        "cells": {"measured": {str(c.seed): folder.key(c) for c in census.measurings(study.root)}},
        "measures": {name: _summary([found.get(name, math.nan) for found in measured.values()]) for name in names},
    }


def measured_of(study: Study, census: Census, folder: RunFolder) -> dict[int, dict[str, float]]:
    """What was measured, by seed and name."""
    found = {}
    for cell in census.measurings(study.root):
        columns = measures_of(cell, folder).phase("census")
        found[cell.seed] = {name: column[0] for name, column in columns.items() if name != "step"}
    return found


def _summary(values: list[float]) -> dict[str, float | int | None]:
    """Mean and range over the seeds that are finite, and how many those are."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return {"seeds": 0, "mean": None, "least": None, "most": None}
    return {"seeds": len(finite), "mean": fmean(finite), "least": min(finite), "most": max(finite)}
