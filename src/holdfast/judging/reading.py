"""What cells recorded, as the statistics want it; and their answers as plain JSON."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.experiment import Experiment, Planting
from holdfast.stats import Trace
from holdfast.store import Measures, RunFolder
from holdfast.study import Cell


def measures_of(cell: Cell, folder: RunFolder) -> Measures:
    measures = folder.measures(folder.key(cell))
    if measures is None or not measures.complete:
        raise HoldfastError(f"{folder.path} is not complete. Run it again: it goes on from where it stopped.")
    return measures


def at_step_0(cell: Planting, folder: RunFolder) -> dict[str, float]:
    return {name: column[0] for name, column in measures_of(cell, folder).phase("planting").items()}


def looks_of(arm: Experiment, cells: Sequence[Cell], folder: RunFolder) -> tuple[list[int], int]:
    """The steps at which all of these nets can be read, and the budget among them, which one more step follows.

    Of a training that ends where it ends, what it left is what there is from there on, so the budget is the end of the
    longest, and a shorter one is read there as it was at its end. The step that confirms a fall at the budget reads
    the same net again: nothing follows a user's training.
    """
    if arm.budget:
        return list(arm.looks), arm.budget
    taken = [[int(s) for s in measures_of(cell, folder).phase("pressure")["step"]] for cell in cells]
    budget = max(steps[-1] for steps in taken)
    return sorted({*(s for steps in taken for s in steps[:-1]), budget, budget + 1}), budget


def trace_of(measures: Measures, measure: str, looks: Sequence[int] | None = None) -> Trace:
    """What was read of one net: where it was measured, or at these looks; after its end as at its end."""
    columns = measures.phase("pressure")
    steps = [int(s) for s in columns["step"]]
    looks = steps if looks is None else looks
    at = [steps.index(look) if look <= steps[-1] else len(steps) - 1 for look in looks]
    presence, accuracy = (tuple(columns[name][i] for i in at) for name in (measure, "accuracy"))
    return Trace(steps=tuple(looks), presence=presence, accuracy=accuracy)


def or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, float):
        return or_none(value)
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value
