"""What a claim is: a sentence of the debate, a study that could sink it, and a rule that was fixed before the run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal, Protocol

from holdfast.experiment import Experiment, Pressing
from holdfast.judging.attacker import strongest_attacker
from holdfast.judging.censuses import measured_of
from holdfast.judging.comparisons import comparison
from holdfast.judging.planting import Planted, planted
from holdfast.judging.reading import measures_of, trace_of
from holdfast.parts import Pressure
from holdfast.stats import Comparison, Judged, Outcome, Part, outcome
from holdfast.store import Measures, RunFolder
from holdfast.study import Study

Size = Literal["quick", "full"]


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A published figure, reproduced in its source's own setting. It shows that the instrument works, and decides
    nothing."""

    name: str
    expected: str
    got: str
    status: Literal["reproduced", "direction only", "not reproduced"]


@dataclass(frozen=True, kw_only=True)
class Control:
    """A figure that stands beside the parts. Where `holds` is false, the claim is INVALID."""

    name: str
    got: str
    holds: bool = True


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A picture that stands beside the parts: lines of means over units, with their intervals."""

    name: str
    x: str
    """What runs along: its name and unit."""
    y: str
    lines: Mapping[str, Sequence[tuple[float, float, float, float]]]
    """By label: (x, mean, low, high) in the order of x."""
    ratio: bool = False
    """Whether equal ratios of x are equally far apart."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the rule of a claim makes of the measures."""

    parts: Sequence[Judged]
    controls: Sequence[Control] = ()
    invalid: Sequence[str] = ()
    """Why nothing can be said, as sentences."""
    anchors: Sequence[Anchor] = ()
    """Published figures that the run itself computes anew."""
    curves: Sequence[Curve] = ()

    @property
    def faults(self) -> list[str]:
        """All that makes the claim INVALID: what the rule says, and controls that do not hold."""
        failed = [f"{control.name}: {control.got}." for control in self.controls if not control.holds]
        return [*self.invalid, *failed]


class Claim(Protocol):
    """One claim. All of it is fixed, and committed, before anything is run."""

    name: str
    sentence: str
    """The claim, as the debate has it."""
    parts: tuple[Part, ...]

    def study(self, size: Size) -> Study:
        """What is run."""

    def judge(self, evidence: "Evidence") -> Findings:
        """What it says. Reads measures, and nothing else; asked only where every implant is there at step 0."""

    def anchors(self) -> Sequence[Anchor]:
        """Published figures, computed anew; seconds."""


@dataclass(frozen=True)
class Evidence:
    """The measures of a claim's study, by arm or census and seed."""

    study: Study
    folder: RunFolder
    level: float
    """Of each part's interval."""

    @cached_property
    def plantings(self) -> Mapping[str, Planted]:
        """How the planting of each arm came out."""
        return {name: planted(self.study, arm, self.folder) for name, arm in self.study.named.items()}

    @property
    def faults(self) -> list[str]:
        """Arms whose implant is not there, or has moved the host, as sentences."""
        found = {self.arm(name).part.label: planting.fault for name, planting in self.plantings.items()}
        return [f"{label}: {fault}" for label, fault in found.items() if fault]

    @cached_property
    def attackers(self) -> Mapping[str, Pressure | None]:
        """The setting that each arm was judged under; None where every one wrecks."""
        return {n: strongest_attacker(self.study, arm, self.folder).setting for n, arm in self.study.named.items()}

    def arm(self, name: str) -> Experiment:
        return self.study.arm(name)

    def seeds(self, name: str) -> tuple[int, ...]:
        """Judged seeds whose implant is there at step 0."""
        return self.plantings[name].seeds

    def measures(self, name: str, *, controls: bool = False) -> Mapping[int, Measures]:
        """What was measured of the planted seeds of an arm, or of their never-planted controls; nothing where every
        attacker wrecks."""
        arm, keep, setting = self.arm(name), self.seeds(name), self.attackers[name]
        if setting is None:
            return {}
        cells: list[Pressing] = self.study.pressing(arm, setting, planted=not controls)
        return {c.planting.seed: measures_of(c, self.folder) for c in cells if c.planting.seed in keep}

    def outcomes(self, name: str) -> Mapping[int, Outcome]:
        """What became of each planted net of an arm."""
        arm = self.arm(name)
        rules = {"budget": arm.budget, "wreck_points": arm.wreck_points, "at_end": arm.at_end}
        return {s: outcome(trace_of(m, arm.measure), **rules) for s, m in self.measures(name).items()}  # type: ignore[arg-type]

    def removed(self, name: str) -> Mapping[int, bool]:
        """Whether it is gone from each planted net at the budget, and the host intact."""
        return {seed: o.kind == "removed" for seed, o in self.outcomes(name).items()}

    def lost(self, name: str) -> float:
        """Share of the planted nets whose host was wrecked or diverged: they are neither held nor removed."""
        return share({seed: o.kind in ("wrecked", "diverged") for seed, o in self.outcomes(name).items()})

    def held(self, name: str) -> Mapping[int, bool]:
        """Whether each planted net still has it at the budget."""
        return {seed: o.kind == "held" for seed, o in self.outcomes(name).items()}

    def compared(self, reference: str, other: str) -> Comparison | None:
        """How much longer the implants of the other arm last, under the setting that was chosen for the first; None
        where every setting wrecks."""
        setting = self.attackers[reference]
        if setting is None:
            return None
        return comparison(self.study, (reference, other), setting, self.folder, level=self.level)

    def at_budget(self, name: str, measure: str, *, controls: bool = False) -> Mapping[int, float]:
        """A measure at the budget, by seed."""
        budget = self.arm(name).budget
        found = {}
        for seed, measures in self.measures(name, controls=controls).items():
            columns = measures.phase("pressure")
            found[seed] = columns[measure][columns["step"].index(budget)]
        return found

    def measured(self, name: str, measure: str) -> Mapping[int, float]:
        """What a census measured, by seed."""
        found = measured_of(self.study, self.study.census(name), self.folder)
        return {seed: measures[measure] for seed, measures in found.items()}

    def at_start(self, name: str, measure: str) -> Mapping[int, float]:
        """A measure at step 0, by seed."""
        return {seed: m.phase("pressure")[measure][0] for seed, m in self.measures(name).items()}


def share(hits: Mapping[int, bool]) -> float:
    """Share of the seeds that are true."""
    return fmean(hits.values()) if hits else float("nan")
