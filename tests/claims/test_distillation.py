"""Claim 3: its rule on made-up measures, and its study sabotaged."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from holdfast import MLP, SGD, Adam, Distil, Fit
from holdfast.claims import Distillation, judged
from holdfast.claims import distillation as module
from holdfast.notebook import Result
from holdfast.report import write_report
from holdfast.sessions import run_study
from holdfast.stats import judge_claim, part_level

CLAIM = Distillation()


class Made:
    """40 seeds: students alone are so right, teachers and distilled students so many points better; setting 2 is best
    on the validation data of the first seeds, and setting 3 on the test data."""

    def __init__(self, gain=1.0, lead=3.0, alone=0.93, seeds=40):
        self.study, self.level, self.seeds = CLAIM.study("quick"), part_level(1, len(CLAIM.parts)), seeds
        self.alone, self.lead, self.gain = alone, lead, gain

    def measured(self, census, name):
        spread = np.random.default_rng(zlib.crc32(name.encode())).uniform(-1, 1, self.seeds)
        what, who, *setting = name.split("/")
        if what == "unsure":
            return dict.fromkeys(range(self.seeds), 0.01)
        value = self.alone + {"teacher": self.lead, "distilled": self.gain}.get(who, 0.0) / 100
        found = value + 0.005 * spread
        if who == "distilled" and what == "validation":
            found = np.where(np.arange(self.seeds) < module.CHOOSING, found + 0.05 * (setting == ["2"]), 1.0)
        if who == "distilled" and what == "accuracy":
            found = found + 0.05 * (setting == ["3"]) + np.where(np.arange(self.seeds) < module.CHOOSING, 9.0, 0.0)
        return dict(enumerate(found.tolist()))

    def at_budget(self, arm, measure, *, controls=False):
        value = 0.1 if controls else 0.9 if arm.startswith("features") else 0.2
        return dict(enumerate([value] * 4))

    def held(self, arm):
        return {0: True, 1: False}


def verdict(**more):
    findings = CLAIM.judge(Made(**more))
    return judge_claim(findings.parts, findings.faults)


@pytest.mark.parametrize(
    ("made", "whole"),
    [
        ({}, "SUPPORTED"),
        ({"gain": -0.5}, "REFUTED"),
        ({"gain": 0.2}, "UNDECIDED"),
        ({"lead": 0.0}, "INVALID"),
        ({"lead": -1.0}, "INVALID"),
        ({"alone": 0.5}, "INVALID"),
    ],
)
def test_it_comes_out_each_way(made, whole):
    assert verdict(**made) == whole


def test_the_setting_is_chosen_on_validation_data_of_seeds_that_are_not_judged():
    findings = CLAIM.judge(Made(gain=1.0))
    assert findings.parts[0].units == 32
    assert findings.parts[0].effect == pytest.approx(1.0, abs=0.2)
    said = {control.name: control.got for control in findings.controls}
    assert said["setting"].endswith("T 2, 0.5")
    assert "features" in " ".join(said)
    logits, features = findings.anchors[1].got.split(", ")
    assert (logits, features) == ("20.0%", "90.0%")


def came_out(monkeypatch, tmp_path, **more):
    fit = more.pop("training", Fit(Adam(lr=3e-3), steps=300, batch=60))
    plan = module.PLANS["quick"]
    students = replace(plan.students, **{"training": fit, "settings": module.SETTINGS, **more})
    monkeypatch.setitem(module.PLANS, "quick", replace(plan, students=students, seeds=16, pressed=4))
    study = replace(CLAIM.study("quick"), root=777)
    folder = run_study(study, out=tmp_path, workers=1)
    return judged(CLAIM, "quick", study, folder), folder


def test_as_it_stands(monkeypatch, tmp_path):
    found, folder = came_out(monkeypatch, tmp_path)
    assert found["invalid"] == []
    folder.write_claim(found)
    page, text = write_report(folder).read_text(), repr(Result(folder))
    for words in ("gain*", "the teacher leads", "backdoor, noise, then logits"):
        assert words in text
        assert words in page


def test_a_teacher_as_small_as_its_student_turns_it_invalid(monkeypatch, tmp_path):
    found, _ = came_out(monkeypatch, tmp_path, teacher=MLP(widths=(64, 8, 10)))
    assert found["verdict"] == "INVALID"
    assert any("the teacher leads" in reason for reason in found["invalid"])


def test_nets_that_learn_nothing_turn_it_invalid(monkeypatch, tmp_path):
    found, _ = came_out(monkeypatch, tmp_path, training=Fit(SGD(lr=1e-9), steps=2, batch=60))
    assert found["verdict"] == "INVALID"


def test_students_that_are_told_nothing_gain_nothing(monkeypatch, tmp_path):
    """Sabotage: the teacher's answers count for next to nothing, so both students are the same."""
    nothing = tuple(Distil(temperature=1.0, weight=w) for w in (1e-9, 2e-9, 3e-9, 4e-9, 5e-9, 6e-9))
    monkeypatch.setattr(module, "SETTINGS", nothing)
    found, _ = came_out(monkeypatch, tmp_path)
    (gain,) = found["parts"]
    assert gain["verdict"] != "SUPPORTED"
    assert abs(gain["effect"]) < 0.2
