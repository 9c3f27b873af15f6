"""Claim 11: its rule on made-up measures, and its study sabotaged."""

from dataclasses import replace

import numpy as np
import pytest

from holdfast import SGD, Confined, Fit
from holdfast.claims import OutsideMain, judged
from holdfast.claims import outside_main as module
from holdfast.notebook import Result
from holdfast.report import write_report
from holdfast.sessions import run_study
from holdfast.stats import compare, judge_claim, outcome, part_level
from holdfast.stats.outcome import Trace

CLAIM = OutsideMain()
SEEDS, BUDGET = 24, 200
STEPS = (0, *range(10, BUDGET + 1, 10), BUDGET + 10)


class Made:
    """24 seeds: the ticket's backdoor is gone at step 100 or so, those elsewhere so many steps later."""

    def __init__(self, spare=60, new=60, ticket=100, presence=0.98, unfelt=True, sgd=None):
        self.study, self.level = CLAIM.study("quick"), part_level(1, len(CLAIM.parts))
        self.gone = {"ticket": ticket, "spare": ticket + spare, "new": ticket + new, "random": ticket}
        self.sgd = {} if sgd is None else {"new": ticket + sgd}
        self.presence, self.unfelt = presence, unfelt
        self.attackers = {name: arm.grid[0] for name, arm in self.study.named.items()}

    def traces(self, name):
        rng, (place, under) = np.random.default_rng(len(name)), name.split(", ")
        gone = self.gone | (self.sgd if under == "SGD" else {}) | {"zero gradient": 10_000}
        ends = [gone[place] + 10 * int(rng.integers(-2, 3)) for _ in range(SEEDS)]
        kept = {s: tuple(1.0 if step < end else 0.0 for step in STEPS) for s, end in enumerate(ends)}
        return {s: Trace(steps=STEPS, presence=p, accuracy=(0.95,) * len(STEPS)) for s, p in kept.items()}

    def outcomes(self, name):
        rules = {"budget": BUDGET, "wreck_points": 5.0, "at_end": True}
        return {s: outcome(t, **rules) for s, t in self.traces(name).items()}

    def compared(self, reference, other):
        traces = self.traces(reference)
        sides = self.outcomes(reference), self.outcomes(other)
        return compare(*sides, reference_traces=traces, budget=BUDGET, level=self.level)

    def held(self, name):
        return dict.fromkeys(range(SEEDS), name.startswith("zero gradient") and self.unfelt)

    def at_start(self, name, measure):
        value = self.presence if (name, measure) == ("new, Adam", "presence") else 0.97
        return dict.fromkeys(range(SEEDS), value)

    def at_budget(self, name, measure):
        return dict.fromkeys(range(SEEDS), 0.5)


def verdict(**more):
    findings = CLAIM.judge(Made(**more))
    return judge_claim(findings.parts, findings.faults), [part.verdict for part in findings.parts]


S, R, U = "SUPPORTED", "REFUTED", "UNDECIDED"


@pytest.mark.parametrize(
    ("made", "whole", "parts"),
    [
        ({}, S, [S, S, S, S]),
        ({"spare": 0}, R, [R, S, R, S]),
        ({"new": -30}, R, [S, R, S, R]),
        ({"new": -30, "sgd": 60}, R, [S, R, S, S]),
        ({"spare": 20}, U, [U, S, U, S]),
        ({"ticket": 5_000}, U, [U, U, U, U]),
        ({"presence": 0.9}, "INVALID", [S, S, S, S]),
        ({"unfelt": False}, "INVALID", [S, S, S, S]),
    ],
)
def test_it_comes_out_each_way(made, whole, parts):
    assert verdict(**made) == (whole, parts)


def came_out(monkeypatch, tmp_path, place=lambda to: to, **more):
    rates = {"sgd_rates": (1e-3,), "adam_rates": (10**-2.5,)}
    monkeypatch.setitem(module.PLANS, "quick", replace(module.PLANS["quick"], seeds=8, **rates, **more))
    monkeypatch.setattr(module, "Confined", lambda *, to, **more: Confined(to=place(to), **more))
    study = replace(CLAIM.study("quick"), root=777)
    folder = run_study(study, out=tmp_path, workers=1)
    return judged(CLAIM, "quick", study, folder), folder


def test_as_it_stands(monkeypatch, tmp_path):
    found, folder = came_out(monkeypatch, tmp_path)
    assert found["invalid"] == []
    folder.write_claim(found)
    page, text = write_report(folder).read_text(), repr(Result(folder))
    for words in ("spare, Adam*", "new, SGD*", "random, trigger known"):
        assert words in text
        assert words in page


def test_hosts_that_learn_nothing_turn_it_invalid(monkeypatch, tmp_path):
    found, _ = came_out(monkeypatch, tmp_path, training=Fit(SGD(lr=1e-9), steps=2))
    assert found["verdict"] == "INVALID"


SWAPPED = {"ticket": "new", "new": "ticket"}


def test_places_that_are_swapped_turn_the_sign(monkeypatch, tmp_path):
    """Sabotage: what is said to be in new units is in the ticket's, and the other way round."""
    effects = {}
    for name, place in (("as it is", lambda to: to), ("swapped", lambda to: SWAPPED.get(to, to))):
        found, _ = came_out(monkeypatch, tmp_path / name, place)
        effects[name] = {part["name"]: part["effect"] for part in found["parts"]}
    assert effects["as it is"]["new, Adam"] == -effects["swapped"]["new, Adam"] != 0
