"""Claim 2: its rule on made-up measures, and its study sabotaged."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast import SGD, Fit
from holdfast.census import Census
from holdfast.claims import LotteryTicket, judged
from holdfast.claims import lottery_ticket as module
from holdfast.notebook import Result
from holdfast.pruning import largest, prunable
from holdfast.report import write_report
from holdfast.samples import tickets
from holdfast.sessions import run_study
from holdfast.stats import judge_claim, part_level

CLAIM = LotteryTicket()
SAMPLE = module.SAMPLES["quick"]


class Made:
    """24 seeds in which a ticket is so much better, earlier, more useful from the start, and the rest makes way."""

    def __init__(self, gain=1.0, faster=0.6, useful=40.0, way=0.3, dense=0.96, seeds=24):
        self.study, self.level, self.seeds = CLAIM.study("quick"), part_level(1, len(CLAIM.parts)), seeds
        self.gain, self.faster, self.useful, self.way, self.dense = gain, faster, useful, way, dense

    def measured(self, census, name):
        arm, at, *rest = name.split("/")
        what = rest[0] if rest else arm
        if what == "kept":
            return dict.fromkeys(range(self.seeds), 0.8 ** int(at))
        value, width = {
            "accuracy": (self.dense, 0.001), "final": (self.dense, 0.001), "step": (1000.0, 1.0), "start": (0.1, 0.001),
            "end": (self.way, 0.001),
        }[what]  # fmt: skip
        if arm == "ticket":
            more = {"accuracy": self.gain / 100, "step": 1000 * (self.faster - 1), "start": self.useful / 100}
            value += more.get(what, 0.0)
        if name == f"moved/{at}/start":
            value = 1.0
        spread = np.random.default_rng(zlib.crc32(name.encode())).uniform(-1, 1, self.seeds)
        return dict(enumerate((value + width * spread).tolist()))


def verdict(**more):
    findings = CLAIM.judge(Made(**more))
    return judge_claim(findings.parts, findings.faults), [part.verdict for part in findings.parts]


S, R, U = "SUPPORTED", "REFUTED", "UNDECIDED"


@pytest.mark.parametrize(
    ("made", "whole", "parts"),
    [
        ({}, S, [S, S, S, S]),
        ({"gain": 0.0}, R, [R, S, S, S]),
        ({"gain": 0.3}, U, [U, S, S, S]),
        ({"faster": 1.2}, "MIXED", [S, R, S, S]),
        ({"faster": 0.9}, U, [S, U, S, S]),
        ({"useful": 0.0}, R, [S, S, R, S]),
        ({"useful": 5.0}, U, [S, S, U, S]),
        ({"way": 0.9}, R, [S, S, S, R]),
        ({"way": 0.5}, U, [S, S, S, U]),
        ({"dense": 0.5}, "INVALID", [S, S, S, S]),
    ],
)
def test_it_comes_out_each_way(made, whole, parts):
    assert verdict(**made) == (whole, parts)


def test_it_is_judged_at_a_fifth_and_draws_the_whole_curve():
    findings = CLAIM.judge(Made())
    assert any("21.0% left" in control.name for control in findings.controls), ".8^7, and not .8^8 = .168"
    assert findings.curves[0].name == "accuracy at early stopping"
    for curve in findings.curves:
        assert list(curve.lines) == list(tickets.ARMS)
        for points in curve.lines.values():
            assert [x for x, *_ in points] == pytest.approx([100 * 0.8**r for r in range(9, -1, -1)])
            assert all(low <= mean <= high for _, mean, low, high in points)
    assert [anchor.status for anchor in findings.anchors] == ["direction only"] * 2


SMALL = replace(SAMPLE, training=Fit(*SAMPLE.training.terms, steps=300, batch=60), rounds=7)


def came_out(monkeypatch, tmp_path, sample=SMALL, seeds=10):
    monkeypatch.setitem(module.SAMPLES, "quick", sample)
    monkeypatch.setitem(module.SEEDS, "quick", seeds)
    study = replace(CLAIM.study("quick"), root=777)
    folder = run_study(study, out=tmp_path, workers=1)
    return judged(CLAIM, "quick", study, folder), folder


def test_as_it_stands(monkeypatch, tmp_path):
    found, folder = came_out(monkeypatch, tmp_path)
    assert found["invalid"] == []
    by_name = {part["name"]: part for part in found["parts"]}
    assert by_name["useful"]["verdict"] == "SUPPORTED"
    assert len(found["curves"]) == 3
    folder.write_claim(found)
    page, text = write_report(folder).read_text(), repr(Result(folder))
    for words in ("out-of-the-way*", "dense nets have learned the task"):
        assert words in text
        assert words in page
    assert page.count("weights left, %") >= 3


def test_a_mask_drawn_at_random_is_no_use(monkeypatch, tmp_path):
    """Sabotage: the ticket is a random mask."""

    def drawn(self, nets, number):
        g = torch.Generator().manual_seed(number)
        scores = {name: torch.rand(nets.params[name].shape, generator=g) for name in prunable(nets)}
        self.masks = largest(scores, 0.8**number, self.masks)

    monkeypatch.setattr(tickets._Ladder, "_remove", drawn)
    found, _ = came_out(monkeypatch, tmp_path)
    assert found["verdict"] == "REFUTED"
    assert {p["name"]: p["verdict"] for p in found["parts"]}["useful"] == "REFUTED"


def test_nets_that_learn_nothing_turn_it_invalid(monkeypatch, tmp_path):
    still = replace(SMALL, training=Fit(SGD(lr=1e-9), steps=4, batch=60), every=2)
    found, _ = came_out(monkeypatch, tmp_path, still, seeds=3)
    assert found["verdict"] == "INVALID"
    assert "dense nets have learned the task" in found["invalid"][0]


def test_it_is_known_by_name():
    study = CLAIM.study("full")
    assert study.name == "lottery-ticket-full"
    assert isinstance(study.censuses[0], Census)
    assert study.censuses[0].sample.steps == 370_000
