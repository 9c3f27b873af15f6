"""Measures of one cell: an append-only file of JSON lines.

    {"cell": {...settings...}}                                   first
    {"phase": "pressure", "step": 50, "presence": 0.98, ...}     one a look
    {"end": "complete", "sha256": "..."}                         last, over all lines before it

A torn last line (a kill in the middle of a write) is dropped and written again; nothing else is ever changed.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from holdfast.errors import DamagedRun

LONGEST_END = 200
"""Bytes in which the last line of a complete file stands."""


@dataclass(frozen=True)
class Measures:
    """What was measured of one cell, read from its file."""

    cell: dict[str, Any]
    lines: tuple[dict[str, Any], ...]
    complete: bool

    def phase(self, name: str) -> dict[str, list[float]]:
        """One column a measure over the looks of a phase, `step` among them; null becomes NaN."""
        rows = [line for line in self.lines if line["phase"] == name]
        keys = [key for key in (rows[0] if rows else {}) if key != "phase"]
        return {key: [math.nan if row.get(key) is None else row[key] for row in rows] for key in keys}


def read(path: Path) -> Measures:
    """The measures in one file.

    Raises:
        DamagedRun: a line other than a torn last one is not what this program writes.
    """
    cell: dict[str, Any] = {}
    lines, complete, before = [], False, hashlib.sha256()
    for number, raw in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            line = json.loads(raw)
            if "cell" in line:
                cell = line["cell"]
            elif "end" in line:
                complete = line["sha256"] == before.hexdigest()
                if not complete:
                    raise ValueError
            else:
                lines.append({"phase": line["phase"], "step": line["step"], **line})
        except (ValueError, KeyError, TypeError):
            raise DamagedRun(
                f"{path} line {number} is damaged, or one before it. Move this file out of the run folder and run "
                f"again: that one net is measured anew, the others are kept."
            ) from None
        before.update(raw + b"\n")
    return Measures(cell, tuple(lines), complete)


def ended(path: Path) -> bool:
    """Whether the measures in a file are complete, by its last line alone."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST_END))
        tail = file.read()
    return tail.endswith(b"\n") and b'\n{"end":"complete"' in tail


class Recorder:
    """Appends to the measures of one cell. What is there already is left as it is."""

    def __init__(self, path: Path, cell: Mapping[str, Any]) -> None:
        self.path, self.cell = path, cell

    @cached_property
    def _written(self) -> set[tuple[str, int]]:
        if not self.path.exists():
            self._append({"cell": self.cell})
            return set()
        text = self.path.read_bytes()
        if not text.endswith(b"\n"):
            with self.path.open("r+b") as file:
                file.truncate(text.rfind(b"\n") + 1)
            if b"\n" not in text:
                self._append({"cell": self.cell})
        return {(line["phase"], line["step"]) for line in read(self.path).lines}

    def has(self, phase: str, step: int) -> bool:
        """Whether a look is written."""
        return (phase, step) in self._written

    def add(self, phase: str, step: int, measures: Mapping[str, float | None]) -> None:
        """Write one look, unless it is there. Numbers that are not finite are stored as null."""
        if (phase, step) not in self._written:
            self._written.add((phase, step))
            finite = {k: v if v is not None and math.isfinite(v) else None for k, v in measures.items()}
            self._append({"phase": phase, "step": step, **finite})

    def end(self) -> None:
        """Say that nothing more will come."""
        if self._written is not None and not read(self.path).complete:
            self._append({"end": "complete", "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest()})

    def _append(self, line: Mapping[str, Any]) -> None:
        with self.path.open("ab") as file:
            file.write(json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n")
