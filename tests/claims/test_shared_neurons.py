"""Claim 6: its rule on made-up measures, its choice of attackers by hand, and its study sabotaged."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from holdfast import MLP, Overlap
from holdfast.claims import SharedNeurons, judged
from holdfast.claims.anchors.both_low import both_low
from holdfast.claims.shared_neurons import _path, share_of
from holdfast.pressures import SGD, Fit, Unlearn
from holdfast.sessions import run_study
from holdfast.stats import judge_claim, part_level

CLAIM = SharedNeurons()
STEPS = [0, 1, 2, 4, 8, 16, 32, 64, 200, 210]
S, R, U = "SUPPORTED", "REFUTED", "UNDECIDED"


@dataclass
class Found:
    """Measures of one net."""

    columns: dict

    def phase(self, name):
        assert name == "pressure"
        return self.columns


def columns(gone_at, cost, barrier, presence=1.0, accuracy=0.95):
    at = STEPS.index(gone_at) if gone_at else len(STEPS)
    left = [presence * (0.1 if i >= at else 1.0) for i in range(len(STEPS))]
    kept = [accuracy - (cost / 100 if i >= min(at, len(STEPS) - 2) else 0) for i in range(len(STEPS))]
    same = lambda value: [value] * len(STEPS)
    return {"step": STEPS, "presence": left, "accuracy": kept, "loss": same(0.2), "loss_barrier": same(0.2 * barrier),
            "distance": same(0.1)}  # fmt: skip


class Made:
    """Nets of which half is gone at a step, at a cost, over a wall: by share."""

    def __init__(self, full, disjoint=(4, 0.2, 0.0), presence=(1.0, 1.0), seeds=32):
        self.study, self.level = CLAIM.study("quick"), part_level(1, 3)
        self.made = {0.0: disjoint, 0.5: full, 1.0: full}
        self.presence, self.seeds = dict(zip((0.0, 1.0), presence, strict=True)) | {0.5: presence[0]}, seeds

    def measures(self, name):
        share = share_of(self.study.arm(name))
        gone_at, cost, barrier = self.made[share]
        rng = np.random.default_rng(round(10 * share))
        cheap = "rate 0.3, SGD lr 0.001" in name
        spread = rng.uniform(0.9, 1.1, self.seeds)
        return {
            seed: Found(columns(gone_at, cost * s + (0 if cheap else 3), barrier * s, self.presence[share]))
            for seed, s in enumerate(spread)
        }

    def at_start(self, name, measure):
        return {seed: found.phase("pressure")[measure][0] for seed, found in self.measures(name).items()}


def verdict(*made, **more):
    findings = CLAIM.judge(Made(*made, **more))
    return judge_claim(findings.parts, findings.faults), [part.verdict for part in findings.parts]


def test_it_comes_out_each_way():
    assert verdict((64, 3.0, 0.15), disjoint=(4, 0.2, 0.0))[1][::2] == [S, S]
    assert verdict((64, 0.3, 0.15))[0] == R, "it costs nothing more"
    assert verdict((64, 3.0, 0.0))[0] == R, "no wall: all seeds agree on 0, and 24 are enough to say so"
    assert verdict((64, 3.0, 0.15), seeds=24)[1][2] == S
    assert verdict((64, 3.0, 0.0), seeds=24)[1][2] == U, "16 seeds that agree are not"
    assert verdict((64, 1.2, 0.15))[1][0] == U


def test_time_is_compared_under_the_setting_that_was_chosen_on_the_disjoint_nets():
    found = CLAIM.judge(Made((64, 3.0, 0.15)))
    assert found.parts[1].effect == 16.0
    assert found.parts[1].verdict == U, "no spread and no bounds: nothing is decided"


def test_full_overlap_that_never_gets_there_costs_what_is_lost_at_the_budget():
    found = CLAIM.judge(Made((None, 6.0, 0.0)))
    assert found.parts[0].verdict == S
    assert found.parts[2].verdict == U, "nothing was repaired"


def test_invalid_where_disjoint_nets_never_get_there_or_shares_differ():
    assert verdict((64, 3.0, 0.15), disjoint=(None, 0.2, 0.0))[0] == "INVALID"
    assert verdict((64, 3.0, 0.15), presence=(1.0, 0.97))[0] == "INVALID"


def test_a_path_is_read_at_the_first_look_below_half():
    path = _path(columns(8, 2.0, 0.1))
    assert (path.time, path.is_half, path.repaired) == (8.0, True, (0.1, pytest.approx(0.1)))
    assert path.cost == pytest.approx(2.0)
    late = _path(columns(None, 1.0, 0.1))
    assert (late.time, late.is_half, late.repaired) == (200.0, False, None)
    lost = columns(8, 2.0, 0.1)
    lost["presence"][4:], lost["accuracy"][4:] = [float("nan")] * 6, [float("nan")] * 6
    assert _path(lost).cost == 95.0, "a net that is no longer finite has lost everything"


def came_out(monkeypatch, tmp_path):
    """The study at few seeds, with one optimiser."""
    settings = lambda steps: [Fit(SGD(lr=0.003, momentum=0.9), Unlearn(rate=rate), steps=steps) for rate in (0.3, 1.0)]
    monkeypatch.setattr(SharedNeurons, "_settings", staticmethod(settings))
    study = CLAIM.study("quick")
    study = replace(study, arms=tuple(replace(arm, seeds=14) for arm in study.arms if share_of(arm) != 0.5))
    folder = run_study(study, out=tmp_path, workers=1)
    return judged(CLAIM, "quick", study, folder)


def test_the_study_as_it_stands_and_sabotaged(monkeypatch, tmp_path):
    found = came_out(monkeypatch, tmp_path / "as it stands")
    effects = {part["name"]: part["effect"] for part in found["parts"]}
    assert all(effect is not None for effect in effects.values()), effects
    assert [control["name"] for control in found["controls"]] == ["share 0", "share 1"]
    monkeypatch.setattr(Overlap, "learns", lambda self, host: range(64, 128))
    sabotaged = came_out(monkeypatch, tmp_path / "disjoint everywhere")
    cost, longer, _ = sabotaged["parts"]
    assert cost["effect"] == 0, "nothing tells one share from the other"
    assert longer["effect"] == 1
    assert cost["effect"] < effects["cost"]


def test_overlap_gives_units_their_work(site_of, data):
    """Cutting the backdoor's units out of a disjoint net takes the backdoor and leaves the host."""
    host = MLP(widths=(64, 64, 10))
    for share, harmless in ((0.0, True), (1.0, False)):
        implant = Overlap(share=share, poison_ratio=0.2)
        nets = implant.plant(site_of(implant, host=host))
        whole = (nets.classes(data.test.x) == data.test.y).double().mean()
        for name, mask in implant.weights(nets, data.train).items():
            nets.params[name].masked_fill_(mask, 0)
        cut = (nets.classes(data.test.x) == data.test.y).double().mean()
        assert implant.presence(nets, data.test)["presence"].max() < 0.3
        assert (whole - cut < 0.02) == harmless


def test_the_anchor_is_reproduced_in_its_direction():
    clean, poisoned, _ = both_low()
    assert max(clean, poisoned) < 0.5
