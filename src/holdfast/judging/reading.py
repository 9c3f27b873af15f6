"""What cells recorded, as the statistics want it; and their answers as plain JSON."""

import dataclasses
import math
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.experiment import Cell, Planting
from holdfast.stats import Trace
from holdfast.store import Measures, RunFolder


def measures_of(cell: Cell, folder: RunFolder) -> Measures:
    measures = folder.measures(folder.key(cell))
    if measures is None or not measures.complete:
        raise HoldfastError(f"{folder.path} is not complete. Run it again: it goes on from where it stopped.")
    return measures


def at_step_0(cell: Planting, folder: RunFolder) -> dict[str, float]:
    return {name: column[0] for name, column in measures_of(cell, folder).phase("planting").items()}


def trace_of(measures: Measures) -> Trace:
    columns = measures.phase("pressure")
    return Trace(
        steps=tuple(int(s) for s in columns["step"]),
        presence=tuple(columns["presence"]),
        accuracy=tuple(columns["accuracy"]),
    )


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
