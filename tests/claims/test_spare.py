"""Claim 1: its rule on made-up measures, and its study sabotaged."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from holdfast import SGD, Fit
from holdfast.claims import Spare, judged
from holdfast.claims import spare as module
from holdfast.notebook import Result
from holdfast.report import write_report
from holdfast.sessions import run_study
from holdfast.stats import judge_claim, part_level

CLAIM = Spare()
WIDTHS = [host.label for host in module.HOSTS["quick"]]


class Made:
    """20 seeds: so much is spare in the widest net, so much more with each doubling; tickets stay within half a point
    down to so many rounds."""

    def __init__(self, blank=0.4, grows=0.05, rounds=8, at_random=0.1, accuracy=0.96, seeds=20):
        self.study, self.level, self.seeds = CLAIM.study("quick"), part_level(1, len(CLAIM.parts)), seeds
        self.blank, self.grows, self.rounds, self.at_random, self.accuracy = blank, grows, rounds, at_random, accuracy

    def measured(self, census, name):
        spread = np.random.default_rng(zlib.crc32(f"{census}{name}".encode())).uniform(-1, 1, self.seeds)
        if census == "weights":
            arm, at = name.split("/")[:2]
            value = 0.8 ** int(at) if arm == "kept" else 0.96
            if arm == "ticket" and int(at) > self.rounds:
                value -= 0.02
            return dict(enumerate((value + (0 if arm == "kept" else 1e-4) * spread).tolist()))
        if name == "units":
            return dict.fromkeys(range(self.seeds), 2.0 ** (5 + WIDTHS.index(census)))
        below = (len(WIDTHS) - 1 - WIDTHS.index(census)) * self.grows if census in WIDTHS else 0.0
        value = {"share": self.blank - below, "share_random": self.at_random, "accuracy": self.accuracy}[name]
        return dict(enumerate((value + 0.01 * spread).tolist()))


def verdict(**more):
    findings = CLAIM.judge(Made(**more))
    return judge_claim(findings.parts, findings.faults), [part.verdict for part in findings.parts]


S, R, U = "SUPPORTED", "REFUTED", "UNDECIDED"


@pytest.mark.parametrize(
    ("made", "whole", "parts"),
    [
        ({}, S, [S, S, S]),
        ({"blank": 0.15}, R, [R, S, S]),
        ({"blank": 0.25}, U, [U, S, S]),
        ({"grows": 0.0}, "MIXED", [S, R, S]),
        ({"grows": 0.02}, U, [S, U, S]),
        ({"rounds": 1}, "MIXED", [S, S, R]),
        ({"at_random": 0.5}, "INVALID", [S, S, S]),
        ({"accuracy": 0.5}, "INVALID", [S, S, S]),
    ],
)
def test_it_comes_out_each_way(made, whole, parts):
    assert verdict(**made) == (whole, parts)


def test_its_figures_are_those_of_the_measures():
    findings = CLAIM.judge(Made(blank=0.4, grows=0.05, rounds=8))
    assert [round(part.effect, 2) for part in findings.parts] == [0.4, 0.05, round(1 - 0.8**8, 2)]
    widths, tickets = findings.curves
    assert [x for x, *_ in widths.lines["by effect"]] == [32, 64, 128, 256]
    assert len(tickets.lines["ticket"]) == 12


def came_out(monkeypatch, tmp_path, steps=200, **more):
    fit = Fit(*module.TRAININGS["quick"].terms, steps=steps, batch=60)
    monkeypatch.setitem(module.TRAININGS, "quick", more.pop("training", fit))
    monkeypatch.setitem(module.TICKETS, "quick", replace(module.TICKETS["quick"], training=fit, rounds=5, **more))
    monkeypatch.setitem(module.SEEDS, "quick", 8)
    study = replace(CLAIM.study("quick"), root=777)
    folder = run_study(study, out=tmp_path, workers=1)
    return judged(CLAIM, "quick", study, folder), folder


def test_as_it_stands(monkeypatch, tmp_path):
    found, folder = came_out(monkeypatch, tmp_path)
    assert found["invalid"] == []
    folder.write_claim(found)
    page, text = write_report(folder).read_text(), repr(Result(folder))
    for words in ("blank*", "units in random order"):
        assert words in text
        assert words in page


def test_nets_that_learn_nothing_turn_it_invalid(monkeypatch, tmp_path):
    found, _ = came_out(monkeypatch, tmp_path, training=Fit(SGD(lr=1e-9), steps=2, batch=60))
    assert found["verdict"] == "INVALID"
    assert "the nets have learned the task" in found["invalid"][0]


def test_pruning_that_takes_most_at_once_refutes_weights(monkeypatch, tmp_path):
    """Sabotage: 97 % of the weights in the first round, so hardly a seed has a round that loses little."""
    found, _ = came_out(monkeypatch, tmp_path, rate=0.97, last_rate=0.97)
    (weights,) = (p for p in found["parts"] if p["name"] == "weights")
    assert weights["effect"] < 0.3
    assert weights["verdict"] == "REFUTED"


def test_a_round_behind_one_that_lost_more_does_not_count():
    made = Made(rounds=3)
    late, before = dict.fromkeys(range(20), 0.97), made.measured
    made.measured = lambda census, name: late if name == "ticket/9/accuracy" else before(census, name)
    assert round(CLAIM.judge(made).parts[2].effect, 3) == round(1 - 0.8**3, 3)


def test_units_that_no_order_spares_turn_it_invalid():
    assert verdict(at_random=0.6)[0] == "INVALID"
    assert verdict(at_random=0.39)[0] == "SUPPORTED"


def test_one_diverging_net_decides_nothing(tmp_path):
    """A seed without measures leaves the parts that it is in undecided."""
    made = Made()
    before = made.measured
    made.measured = lambda census, name: before(census, name) | {3: float("nan")}
    findings = CLAIM.judge(made)
    assert {part.verdict for part in findings.parts} == {U}
