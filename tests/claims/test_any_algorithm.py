"""Claim 9: its rule on made-up measures, and its study sabotaged."""

from dataclasses import replace

import numpy as np
import pytest

from holdfast.claims import AnyAlgorithm, judged
from holdfast.claims import any_algorithm as module
from holdfast.claims.any_algorithm import ENCRYPTED, RUNGS, _Plan
from holdfast.claims.base import Evidence
from holdfast.claims.weak_vote import PAIRS
from holdfast.pressures import SGD, Adam, Fit, Freeze
from holdfast.sessions import run_study
from holdfast.stats import Outcome, judge_claim, part_level
from holdfast.tasks import BinaryDigits

CLAIM, ADVANTAGE = AnyAlgorithm(), 0.69166667 - 184 / 360
HELD = Outcome(kind="held", event=None, end=300, returned=False)
GONE = Outcome(kind="removed", event=30, end=30, returned=False)
WRECKED = Outcome(kind="wrecked", event=None, end=300, returned=False)


class Made:
    """Evidence of 36 seeds: what became of the program, what ablation costs over its advantage, sizes, accuracy."""

    def __init__(self, outcome=HELD, cost=0.8, size=1.0, gain=1.0, absent=0.0, seeds=36, wrecked=0):
        self.study, self.level, self.seeds = CLAIM.study("quick"), part_level(1, len(CLAIM.parts)), range(seeds)
        self.attackers = {name: arm.grid[0] for name, arm in self.study.named.items()}
        self.outcome, self.cost, self.size, self.gain, self.absent = outcome, cost, size, gain, absent
        self.wrecked = wrecked
        self.spread = np.random.default_rng(0).uniform(0.9, 1.1, seeds)

    def arm(self, name):
        return self.study.arm(name)

    def outcomes(self, name):
        return {seed: WRECKED if seed < self.wrecked else self.outcome for seed in self.seeds}

    held, removed, lost = Evidence.held, Evidence.removed, Evidence.lost

    def at_start(self, name, measure):
        sizes = {"collapse_random": self.size, "collapse_gradient": float("nan"), "collapse_single": self.size / 2}
        if measure in sizes:
            return dict(enumerate(sizes[measure] * self.spread))
        return dict.fromkeys(self.seeds, {"accuracy": 0.69166667, "presence": 1.0}[measure])

    def at_budget(self, name, measure, *, controls=False):
        value = {
            "accuracy": 0.69166667 + self.gain * ADVANTAGE,
            "presence": self.absent if controls else 0.9,
            "heard": 0.9,
            "cost": self.cost * ADVANTAGE,
        }[measure]
        return dict(enumerate(value * (self.spread if measure == "cost" else np.ones(len(self.seeds)))))


def parts(**more):
    findings = CLAIM.judge(Made(**more))
    assert [found.part for found in findings.parts] == list(CLAIM.parts)
    return judge_claim(findings.parts, findings.faults), {found.part.name: found.verdict for found in findings.parts}


def test_supported_where_every_program_holds_is_used_and_collapses():
    whole, found = parts()
    assert (whole, set(found.values())) == ("SUPPORTED", {"SUPPORTED"})


def test_necessary_are_what_becomes_of_the_encrypted_program():
    necessary = [part.name for part in CLAIM.parts if part.necessary]
    assert necessary == [f"{ENCRYPTED}: unchanged", f"{ENCRYPTED}: used"]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"outcome": GONE}, {ENCRYPTED: "REFUTED", "none": "MIXED"}),
        ({"cost": 0.1}, {ENCRYPTED: "REFUTED", "none": "MIXED"}),
        ({"size": 20.0}, {ENCRYPTED: "MIXED", "none": "MIXED"}),
        ({"wrecked": 6}, {ENCRYPTED: "UNDECIDED", "none": "UNDECIDED"}),
    ],
)
def test_the_encrypted_program_decides(more, expected):
    """One rung at a time is unlike the others."""
    good, bad = (CLAIM.judge(Made(**how)).parts for how in ({}, more))
    for rung, verdict in expected.items():
        mixed = [b if b.part.name.startswith(f"{rung}:") else g for g, b in zip(good, bad, strict=True)]
        assert judge_claim(mixed, []) == verdict


def test_refuted_part_by_part():
    whole, found = parts(outcome=GONE)
    assert (whole, found["none: unchanged"], found["none: used"]) == ("REFUTED", "REFUTED", "REFUTED")
    assert found["none: collapse"] == "SUPPORTED"
    whole, found = parts(cost=0.1)
    assert (whole, found["locked: unchanged"], found["locked: used"]) == ("REFUTED", "SUPPORTED", "REFUTED")
    assert parts(size=20.0)[1]["masked: collapse"] == "REFUTED"


def test_undecided_part_by_part():
    assert parts(cost=0.5)[1]["none: used"] == "UNDECIDED"
    assert parts(size=2.0)[1]["none: collapse"] == "UNDECIDED"
    found = parts(wrecked=6)[1]
    assert (found["none: unchanged"], found["none: used"]) == ("UNDECIDED", "UNDECIDED"), "more than 1 in 8 wrecked"
    assert parts(seeds=30)[1]["none: unchanged"] == "UNDECIDED", "30 of 30 leave .78 open"


def test_invalid_where_training_does_not_improve_the_unprotected_one_or_makes_the_program_itself():
    assert parts(gain=0.3)[0] == "INVALID"
    assert parts(absent=0.9)[0] == "INVALID"


def test_a_kind_that_is_undefined_is_left_out_and_the_largest_of_the_others_counts():
    found = {f.part.name: f.effect for f in CLAIM.judge(Made(size=1.0)).parts}
    assert found["none: collapse"] == pytest.approx(1.0, abs=0.05)


@pytest.fixture
def small(monkeypatch):
    """Two rungs, both of them the unprotected program, which trains fast."""
    monkeypatch.setitem(module.PLANS, "quick", _Plan(36, 2, 150, 150, 12, False))
    monkeypatch.setattr(module, "attackers", lambda steps, **_: Fit(Adam(lr=1e-2), steps=steps))
    monkeypatch.setattr(module, "RUNGS", ("none", ENCRYPTED))
    programs = module.protected()
    monkeypatch.setattr(module, "protected", lambda: {"none": programs["none"]})
    monkeypatch.setattr(module, "encrypted", lambda trivial=False: programs["none"])
    claim = AnyAlgorithm()
    monkeypatch.setattr(claim, "parts", (*CLAIM.parts[:3], *CLAIM.parts[-3:]), raising=False)
    return claim


def came_out(claim, tmp_path, study=None):
    study = study or claim.study("quick")
    found = judged(claim, "quick", study, run_study(study, out=tmp_path, workers=1))
    return found["verdict"], {part["name"]: part["verdict"] for part in found["parts"]}, found


def test_on_real_nets_the_unprotected_program_is_removed(small, tmp_path):
    verdict, found, whole = came_out(small, tmp_path)
    assert verdict == "REFUTED", whole["invalid"]
    assert (found["none: unchanged"], found["none: used"]) == ("REFUTED", "REFUTED")


def test_sabotage_the_program_is_frozen_in_the_arm_itself(small, tmp_path):
    study = small.study("quick")
    first = study.arms[0]
    held = replace(first, pressure=Fit(Adam(lr=1e-2), Freeze(implant=first.implant), steps=150))
    verdict, found, _ = came_out(small, tmp_path, replace(study, arms=(held, *study.arms[1:])))
    assert (found["none: unchanged"], found[f"{ENCRYPTED}: unchanged"]) == ("SUPPORTED", "REFUTED")
    assert verdict == "REFUTED"


def test_sabotage_gradient_off(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "attackers", lambda steps, **_: Fit(SGD(lr=1e-12), steps=steps))
    verdict, _, found = came_out(small, tmp_path)
    assert verdict == "INVALID"
    assert any("unprotected is improved" in sentence for sentence in found["invalid"])


def test_sabotage_no_program(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module.Predictor, "plant", module.Predictor.control)
    verdict, _, found = came_out(small, tmp_path)
    assert verdict == "INVALID"
    assert any("there in only" in sentence for sentence in found["invalid"])


def test_the_anchor(monkeypatch):
    (anchor,) = CLAIM.anchors()
    assert anchor.status == "reproduced"


def test_attackers_are_twelve_over_five_decades():
    study = CLAIM.study("full")
    grid = study.arm("masked").grid
    assert len(grid) == 12
    assert all(study.arm(rung).grid == grid for rung in RUNGS if rung != ENCRYPTED)
    gentle = study.arm(ENCRYPTED).grid
    assert [fit.optimiser for fit in gentle] == [fit.optimiser for fit in grid if fit.optimiser.lr <= 0.01]
    assert all("rotation" in fit.label and "switch" in fit.label for fit in gentle)
    assert "rotation" not in study.arm(f"{ENCRYPTED}, keys at one rate").grid[0].label
    assert study.arm("none, deep").implant.chain.depth == study.arm("masked").implant.chain.depth


def test_the_pairs_are_what_the_rule_finds():
    """The best pair of neighbours in a row, then the best of other pixels, twice."""
    train = BinaryDigits().load().train
    pairs = [(p, p + 1) for p in range(63) if p % 8 < 7]
    alike = {(a, b): train.x[:, a] == train.x[:, b] for a, b in pairs}
    right = {pair: float((bits == train.y.bool()).double().mean()) for pair, bits in alike.items()}
    found: list[tuple[int, int]] = []
    for pair in sorted(pairs, key=right.__getitem__, reverse=True):
        if len(found) < 3 and not set(pair) & {pixel for other in found for pixel in other}:
            found.append(pair)
    assert tuple(found) == PAIRS
