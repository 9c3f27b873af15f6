"""A run folder, as the page wants it. Settings are read as plain JSON; no part is rebuilt."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.store import Measures, RunFolder


@dataclass(frozen=True)
class Band:
    """A measure over the looks: median and range over the nets that have it, by step."""

    steps: list[int]
    low: list[float]
    middle: list[float]
    high: list[float]


@dataclass(frozen=True)
class Arm:
    """One arm: its row of `verdict.json`, and the measures of its judged nets and their controls."""

    row: Mapping[str, Any]
    folder: RunFolder

    @cached_property
    def planted(self) -> list[dict[str, list[float]]]:
        """Columns of each net, by seed."""
        return [self._columns(m) for m in self._measures("planted")]

    @cached_property
    def controls(self) -> list[dict[str, list[float]]]:
        """Columns of each never-planted control."""
        return [self._columns(m) for m in self._measures("control")]

    def _columns(self, measures: Measures) -> dict[str, list[float]]:
        """What was measured of the net and of this arm's part of its implant, without the part's name."""
        ending = str(self.row.get("measure", "presence")).removeprefix("presence")
        columns = measures.phase("pressure")
        return {k.removesuffix(ending): v for k, v in columns.items() if "/" not in k or k.endswith(ending)}

    @property
    def pressed(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.row["cells"])

    @cached_property
    def threshold(self) -> float | None:
        """Median presence below which a net counts as gone."""
        start = [net["presence"][0] for net in self.planted]
        return median(start) / 2 if start else None

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        """How each planted net ended."""
        return list(self.row["outcomes"].values())

    def seeds(self, kind: str) -> list[str]:
        """Seeds whose outcome is of a kind, or that `returned`."""
        outcomes = self.row["outcomes"].items()
        return [seed for seed, o in outcomes if (o["returned"] if kind == "returned" else o["kind"] == kind)]

    def band(self, measure: str, *, controls: bool = False) -> Band | None:
        """A measure over steps; None where no net has it."""
        nets = self.controls if controls else self.planted
        rows: dict[int, list[float]] = {}
        for net in nets:
            for step, value in zip(net["step"], net.get(measure, []), strict=False):
                if math.isfinite(value):
                    rows.setdefault(int(step), []).append(value)
        if not rows:
            return None
        steps = sorted(rows)
        low, middle, high = ([f(rows[s]) for s in steps] for f in (min, median, max))
        return Band(steps, low, middle, high)

    def at(self, measure: str, step: int) -> float | None:
        """Median of a measure at one look."""
        band = self.band(measure)
        return band.middle[band.steps.index(step)] if band and step in band.steps else None

    def _measures(self, side: str) -> Iterator[Measures]:
        for key in self.row["cells"].get(side, {}).values():
            measures = self.folder.measures(key)
            if measures is None:
                raise HoldfastError(
                    f"{self.folder.measures_path(key)} is missing, but the verdict rests on it. "
                    f"Move verdict.json away and run again: what is missing is measured anew."
                )
            yield measures


@dataclass(frozen=True)
class Run:
    """All that a report is made of."""

    folder: RunFolder
    study: Mapping[str, Any]
    environment: Mapping[str, Any]
    verdict: Mapping[str, Any]
    claim: Mapping[str, Any] | None = None
    """What came out of a claim, where the run is of one."""

    @classmethod
    def of(cls, folder: RunFolder) -> "Run":
        """Read a run.

        Raises:
            HoldfastError: it is not complete, damaged, or made by a newer version.
        """
        study, verdict = folder.study(), folder.verdict()
        if verdict is None:
            raise HoldfastError(
                f"{folder.path} is not complete, so there is nothing to report. "
                f"The command that started it goes on where it stopped."
            )
        return cls(folder, study, folder.environment(), verdict, folder.claim())

    @cached_property
    def arms(self) -> list[Arm]:
        return [Arm(row, self.folder) for row in self.verdict["arms"]]

    def told_apart(self, arms: Sequence[Arm], key: str) -> list[str]:
        """A name for each arm: its implant or pressure, or where that is another's too, the arm's own."""
        labels = [str(arm.row[key]) for arm in arms]
        return [
            label if labels.count(label) == 1 else str(arm.row["arm"]) for arm, label in zip(arms, labels, strict=True)
        ]

    def grouped(self, key: str) -> dict[str, list[Arm]]:
        """Arms by implant or by pressure, in declared order."""
        groups: dict[str, list[Arm]] = {}
        for arm in self.arms:
            groups.setdefault(str(arm.row[key]), []).append(arm)
        return groups

    @cached_property
    def kinds(self) -> set[str]:
        """Every kind of part that the settings name."""
        return set(_kinds(self.study["study"]))


def _kinds(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("kind"), str):
            yield value["kind"]
        for inner in value.values():
            yield from _kinds(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _kinds(inner)
