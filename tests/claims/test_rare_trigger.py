"""Claim 7: its rule on made-up measures, and its study sabotaged."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from holdfast.claims import RareTrigger, judged
from holdfast.claims import rare_trigger as module
from holdfast.claims.anchors.imbalance import imbalance
from holdfast.claims.base import Evidence
from holdfast.claims.rare_trigger import OPTIMISERS, _Plan
from holdfast.implants import BadNets
from holdfast.pressures import SGD
from holdfast.sessions import run_study
from holdfast.stats import Outcome, judge_claim, part_level

CLAIM, BUDGET = RareTrigger(), 1500


class Made:
    """Evidence whose times are T = 7 (rate / .1)^-s e^(.3 N), cut off at the budget."""

    def __init__(self, s, never=1.0, pull=1.0, seeds=36, wrecked=()):
        self.exponents = dict.fromkeys(OPTIMISERS, s) if isinstance(s, float) else s
        self.study, self.pull = CLAIM.study("quick"), pull
        self.wrecked = wrecked
        self.never = dict.fromkeys(OPTIMISERS, never) if isinstance(never, float) else never
        self.level, self.seeds, self.rng = part_level(1, len(CLAIM.parts)), range(seeds), np.random.default_rng(0)
        self.times = {name: self._times(name) for name in self.study.named}

    def _times(self, name):
        if name.endswith("never"):
            stay = self.never[name.partition(",")[0]] * len(self.seeds)
            return [math.inf if seed < stay else 100 for seed in self.seeds]
        optimiser, _, rate = name.partition(" at ")
        if not rate or "learned" in name:
            return [10 for _ in self.seeds]
        noise = np.exp(0.3 * self.rng.standard_normal(len(self.seeds)))
        return [max(1, round(7 * (float(rate) / 0.1) ** -self.exponents[optimiser] * e)) for e in noise]

    def outcomes(self, name):
        if name in self.wrecked:
            return {seed: Outcome(kind="wrecked", event=None, end=40, returned=False) for seed in self.seeds}
        return {
            seed: Outcome(kind="removed", event=int(t), end=int(t), returned=False)
            if t <= BUDGET
            else Outcome(kind="held", event=None, end=BUDGET, returned=False)
            for seed, t in zip(self.seeds, self.times[name], strict=True)
        }

    held, removed, lost = Evidence.held, Evidence.removed, Evidence.lost

    def at_start(self, name, measure):
        """A gradient on clean examples that is `pull` times that on triggered ones, at right angles."""
        value = {"clean_pull": self.pull, "trigger_pull": 1.0, "pull_cosine": 0.0}[measure]
        return {seed: value * (1 if measure != "clean_pull" else math.exp(0.05 * seed)) for seed in self.seeds}

    def measures(self, name, *, controls=False):
        curve = {"step": [0, 5, 10], "presence": [0.0, 0.4, 0.8]}
        return {seed: SimpleNamespace(phase=lambda _: curve) for seed in self.seeds}


def verdict(**more):
    findings = CLAIM.judge(Made(**more))
    return judge_claim(findings.parts, findings.faults), {f.part.name: f.verdict for f in findings.parts}


def test_supported():
    assert verdict(s=1.2, pull=50.0) == ("SUPPORTED", dict.fromkeys([*OPTIMISERS, "outlives", "tiny"], "SUPPORTED"))


def test_refuted_where_time_does_not_depend_on_the_rate():
    whole, parts = verdict(s=0.0, pull=50.0)
    assert whole == "REFUTED"
    assert all(parts[name] == "REFUTED" for name in OPTIMISERS)
    assert parts["outlives"] == "REFUTED", "everything is removed on time, at every rate"


def test_mixed_where_only_another_optimiser_is_immune():
    whole, parts = verdict(s={"SGD": 1.2, "momentum": 1.2, "Adam": 0.0, "sign": 0.0}, pull=50.0)
    assert whole == "MIXED"
    assert (parts["SGD"], parts["Adam"]) == ("SUPPORTED", "REFUTED")


def test_a_gradient_that_is_the_triggers_anyway_is_not_tiny():
    assert verdict(s=1.2, pull=1e-6)[1]["tiny"] == "REFUTED"


def test_undecided_where_most_times_were_cut_off():
    whole, parts = verdict(s=5.0, pull=50.0)
    assert parts["SGD"] == "UNDECIDED"
    assert whole == "UNDECIDED"


def test_invalid_where_it_goes_by_itself():
    assert verdict(s=1.2, pull=50.0, never=0.3)[0] == "INVALID"


def test_too_few_seeds_decide_nothing_that_all_agree_on():
    assert verdict(s=1.2, pull=50.0, seeds=18)[1]["outlives"] == "UNDECIDED", "8 choose, and 10 are left"


def test_wrecked_hosts_are_neither_held_nor_removed():
    """Whatever the arm that is wrecked, no part is decided by it."""
    whole, parts = verdict(s=1.2, pull=50.0, wrecked=["SGD at 0.1"])
    assert whole == "INVALID"
    assert (parts["SGD"], parts["outlives"], parts["Adam"]) == ("UNDECIDED", "UNDECIDED", "SUPPORTED")
    rare = "SGD at 0.0003"
    whole, parts = verdict(s=1.2, pull=50.0, wrecked=[rare])
    assert (whole, parts["SGD"]) == ("UNDECIDED", "UNDECIDED")
    findings = CLAIM.judge(Made(s=1.2, pull=50.0, wrecked=["Adam at 0.01"]))
    assert "100% of the hosts were wrecked or diverged in 'Adam at 0.01'" in findings.parts[2].reason


def test_an_optimiser_under_which_it_goes_by_itself_decides_nothing():
    never = dict.fromkeys(OPTIMISERS, 1.0) | {"Adam": 0.0}
    whole, parts = verdict(s=1.2, pull=50.0, never=never)
    assert (whole, parts["Adam"], parts["SGD"]) == ("UNDECIDED", "UNDECIDED", "SUPPORTED")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(module.PLANS, "quick", _Plan((0.1, 0.01, 0.003), 12, 12, 300, (64,)))
    monkeypatch.setattr(module, "OPTIMISERS", {"SGD": SGD(lr=0.1)})
    claim = RareTrigger()
    monkeypatch.setattr(claim, "parts", (CLAIM.parts[0], *CLAIM.parts[-2:]), raising=False)
    return claim


def came_out(claim, tmp_path):
    study = claim.study("quick")
    return judged(claim, "quick", study, run_study(study, out=tmp_path, workers=2))


def test_on_real_nets_rarer_is_later(small, tmp_path):
    found = came_out(small, tmp_path)
    assert found["verdict"] != "INVALID", found["invalid"]
    assert found["parts"][0]["effect"] > 0.5


def test_sabotage_no_implant(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BadNets", lambda: BadNets(poison_ratio=0.001))
    found = came_out(small, tmp_path)
    assert found["verdict"] == "INVALID"
    assert any("there in only" in sentence for sentence in found["invalid"])


def test_sabotage_gradient_off(small, tmp_path, monkeypatch):
    monkeypatch.setitem(module.OPTIMISERS, "SGD", SGD(lr=1e-12))
    found = came_out(small, tmp_path)
    assert found["verdict"] == "INVALID"
    assert any("budget is too short" in sentence for sentence in found["invalid"])


def test_sabotage_the_trigger_is_never_corrected(small, tmp_path, monkeypatch):
    """Triggered inputs keep the target's label: nothing is unlearned."""
    monkeypatch.setattr(module, "Unlearn", module.Inject)
    assert came_out(small, tmp_path)["verdict"] == "INVALID"


def test_anchors_are_the_papers():
    assert imbalance("GD") == pytest.approx(1, abs=0.05)
    assert imbalance("sign") == pytest.approx(0, abs=0.05)
    assert [anchor.status for anchor in CLAIM.anchors()] == ["reproduced", "reproduced"]
