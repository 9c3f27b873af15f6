"""Claim 8: its rule on made-up measures, and its study sabotaged."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from holdfast.claims import OneBitNeurons, judged
from holdfast.claims import one_bit_neurons as module
from holdfast.claims import one_bit_program as program
from holdfast.claims.base import Evidence
from holdfast.claims.one_bit_neurons import SEEDS, _Plan
from holdfast.notebook import Result
from holdfast.report import write_report
from holdfast.samples import Memory
from holdfast.sessions import run_study
from holdfast.stats import Outcome, Trace, compare, judge_claim, part_level
from holdfast.study import Study

CLAIM = OneBitNeurons()
CONTROLS = {"no noise": 3.0, "no clipping": 3.0, "no restoring step": 0.0}


def outcome_at(step):
    gone = step <= 300
    return Outcome(
        kind="removed" if gone else "held", event=int(step) if gone else None, end=int(min(step, 300)), returned=False
    )


class Made:
    """Bits that all seeds agree on, and changes that differ from seed to seed."""

    def __init__(self, bits=1.0, two=0.001, three=0.001, raised=1.0, seeds=SEEDS, longer=0.5, late=0, **controls):
        self.level = part_level(1, len(CLAIM.parts))
        self.bits, self.smallest, self.raised, self.seeds = bits, {"two": two, "three": three}, raised, seeds
        self.study, self.longer, self.late = SimpleNamespace(arms=()), longer, late
        self.controls = {**CONTROLS, **{name.replace("_", " "): value for name, value in controls.items()}}

    def compared(self, reference, other):
        """36 seeds: gone at 10 to 45 without; so many steps of 300 later with noise and clipping."""
        first = {seed: outcome_at(10 + seed + self.late) for seed in range(36)}
        second = {seed: outcome_at(10 + seed + self.late + 300 * self.longer + seed % 3) for seed in range(36)}
        traces = {seed: Trace(steps=(0, 1), presence=(1.0, 1.0), accuracy=(0.7, 0.7)) for seed in first}
        return compare(first, second, reference_traces=traces, budget=300, level=self.level)

    def measured(self, census, measure):
        spread = np.random.default_rng(1).uniform(0.9, 1.1, self.seeds)
        if measure == "bits":
            value = self.controls.get(census.removeprefix("capacity, "), self.bits)
            return dict.fromkeys(range(self.seeds), value)
        if measure == "smallest":
            return dict(enumerate(spread * self.smallest[census.split()[1]]))
        return dict.fromkeys(range(self.seeds), self.raised if measure == "raised" else 0.0)


def verdict(**more):
    findings = CLAIM.judge(Made(**more))
    return judge_claim(findings.parts, findings.faults), [part.verdict for part in findings.parts]


S, R, U = "SUPPORTED", "REFUTED", "UNDECIDED"


@pytest.mark.parametrize(
    ("made", "whole", "parts"),
    [
        ({}, S, [S, S, S, S, S]),
        ({"bits": np.log2(3)}, R, [R, S, S, S, S]),
        ({"bits": 0.0, "no_restoring_step": -1.0}, R, [R, S, S, S, S]),
        ({"two": 0.5}, R, [S, R, S, S, S]),
        ({"three": 0.5}, R, [S, S, R, S, S]),
        ({"two": 0.1}, U, [S, U, S, S, S]),
        ({"raised": 0.25}, "MIXED", [S, S, S, R, S]),
        ({"raised": 0.91}, U, [S, S, S, U, S]),
        ({"seeds": 116}, U, [U, S, S, S, S]),
        ({"seeds": 117}, S, [S, S, S, S, S]),
        ({"seeds": 56}, U, [U, S, S, U, S]),
        ({"longer": 0.0}, "MIXED", [S, S, S, S, R]),
        ({"longer": 0.0967}, U, [S, S, S, S, U]),
        ({"longer": 0.5, "late": 300}, U, [S, S, S, S, U]),
    ],
)
def test_it_comes_out_each_way(made, whole, parts):
    assert verdict(**made) == (whole, parts)


@pytest.mark.parametrize("control", [{"no_noise": 1.0}, {"no_clipping": 1.0}, {"no_restoring_step": 1.0}])
def test_invalid_where_noise_clipping_or_restoring_do_nothing(control):
    assert verdict(**control)[0] == "INVALID"


def came_out(monkeypatch, tmp_path, memory):
    monkeypatch.setattr(module, "SEEDS", 40)
    few = {"messages": 50, "changed": 600, "weights": 4, "beside": 3, "trained": 2, "steps": 8, "way_round": 2}
    monkeypatch.setitem(module.PLANS, "quick", _Plan(memory, **few))
    monkeypatch.setattr(program, "RATES", (1e-3,))
    study = CLAIM.study("quick")
    folder = run_study(study, out=tmp_path, workers=1)
    return judged(CLAIM, "quick", study, folder), folder


def test_as_it_stands(monkeypatch, tmp_path):
    """Three levels, and half a noise width left over at two."""
    found, folder = came_out(monkeypatch, tmp_path, Memory(neurons=16, layers=3))
    assert found["verdict"] == "REFUTED"
    assert [part["verdict"] for part in found["parts"]] == ["REFUTED", "REFUTED", "SUPPORTED", "REFUTED", "UNDECIDED"]
    assert found["parts"][0]["effect"] == pytest.approx(np.log2(3))
    assert [anchor["status"] for anchor in found["anchors"]] == ["reproduced"]
    folder.write_claim(found)
    page, text = write_report(folder).read_text(), repr(Result(folder))
    for words in ("REFUTED", "capacity*", "0.9 to 1.1", "no noise: must hold more"):
        assert words in text
        assert words in page
    assert "claimed 0.9 to 1.1" in page


@pytest.mark.parametrize("memory", [Memory(neurons=16, layers=3, inside=True), Memory(neurons=16, layers=3, width=2.0)])
def test_one_bit_where_nothing_is_left_over(monkeypatch, tmp_path, memory):
    """The noise counted in the value, or twice as wide: 40 seeds are too few to support a capacity of 1."""
    found, _ = came_out(monkeypatch, tmp_path, memory)
    assert found["parts"][0]["effect"] == 1
    assert [part["verdict"] for part in found["parts"][:2]] == ["UNDECIDED", "SUPPORTED"]
    assert found["parts"][3]["effect"] > 0.7


@pytest.mark.parametrize("change", [{"width": 0.0}, {"clipped": False}, {"restored": False}], ids=repr)
def test_sabotage_turns_it_invalid(monkeypatch, tmp_path, change):
    found, _ = came_out(monkeypatch, tmp_path, Memory(neurons=16, layers=3, **change))
    assert found["verdict"] == "INVALID"
    assert any("must hold" in sentence for sentence in found["invalid"])


def test_the_program_holds_by_clipping_and_not_where_both_are_taken_away(tmp_path):
    """Eight seeds of another root than the one that is judged; with plain units on both sides too few to refute it."""
    part = CLAIM.parts[-1]
    whole = program.arms(seeds=8, steps=60, way_round=8)[:2]
    for arms, effect in ((whole, 0.9), ((whole[0], replace(whole[0], name=program.WITH)), 0.0)):
        study = Study(name="holds", arms=arms, compare=program.pairs(arms), root=777)
        evidence = Evidence(study, run_study(study, out=tmp_path, workers=1), 0.9)
        found = program.judged(part, evidence)
        assert found.effect == pytest.approx(effect, abs=0.1)
        assert found.verdict == ("SUPPORTED" if effect else "UNDECIDED")
