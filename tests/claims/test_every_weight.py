"""Claim 4: its rule on made-up measures, its count on a net made by hand, and its study sabotaged."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast import MLP, BadNets
from holdfast.claims import EveryWeight, judged
from holdfast.claims.anchors.resister import resister
from holdfast.pressures import SGD, Checkpoint, Fit
from holdfast.probes import Look, Unmoved
from holdfast.probes.unmoved import within_reach
from holdfast.sessions import run_study
from holdfast.stats import judge_claim, part_level
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets

CLAIM = EveryWeight()


class Made:
    """Shares of unmoved weights: of the host, and of each implant."""

    def __init__(self, host, implants, decay=0.0):
        self.study, self.level = CLAIM.study("quick"), part_level(1, 4)
        self.host, self.implants, self.decay = host, implants, decay

    def at_budget(self, name, measure, *, controls=False):
        share = self.decay if name.endswith("decay") else self.host if controls else self.implants[name.split(" / ")[0]]
        spread = np.random.default_rng(1).uniform(0.9, 1.1, 20)
        return dict(enumerate(np.clip(share * spread, 0, 1)))

    def at_start(self, name, measure):
        return dict.fromkeys(range(20), 0.5)


def verdict(host, **implants):
    findings = CLAIM.judge(Made(host, {"BadNets": 1e-4, "handcrafted": 1e-4, "bits": 1e-4, **implants}))
    return judge_claim(findings.parts, findings.faults)


def test_it_comes_out_each_way():
    assert verdict(1e-4) == "SUPPORTED"
    assert verdict(0.0) == "UNDECIDED", "20 seeds that agree on 0 say nothing about one in a hundred"
    assert verdict(0.5) == "REFUTED"
    assert verdict(0.001, handcrafted=1.0) == "MIXED"
    assert verdict(0.01) == "UNDECIDED"
    still = CLAIM.judge(Made(0.0, dict.fromkeys(("BadNets", "handcrafted", "bits"), 1e-4), decay=1.0))
    assert judge_claim(still.parts, still.faults) == "INVALID", "decay must move what it acts on"


def look_at(net, x, change=None):
    """A look at one perceptron after a change."""
    start = Nets.of(MLP(widths=(3, 3, 2)), [net])
    now = start.copy()
    if change:
        change(now.params)
    masks = {"": {name: torch.ones_like(p, dtype=torch.bool) for name, p in start.params.items()}}
    split = Split(x, torch.zeros(len(x), dtype=torch.long))
    return Look(
        checkpoint=Checkpoint(1, now, start, dict),
        start=start,
        implant=BadNets(),
        split=split,
        train=split,
        masks=masks,
    )


def test_what_is_within_reach():
    """Input 2 is always 0; unit 1 is always off; unit 2 is heard by nobody."""
    net = MLP(widths=(3, 3, 2)).build()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.copy_(torch.tensor([0.0, -100.0, 0.0]))
        net[2].weight.copy_(torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]))
    x = torch.rand(20, 3) * torch.tensor([1.0, 1.0, 0.0])
    reach = within_reach(look_at(net, x))
    assert reach["0.weight"][0].tolist() == [[True, True, False], [True, True, False], [False, False, False]]
    assert reach["2.weight"][0].tolist() == [[True, False, True], [True, False, True]]
    assert Unmoved()(look_at(net, x))["unmoved"].item() == 1.0

    def one(params):
        params["0.weight"][0, 0, 0] += 1e-3
        params["0.weight"][0, 2, 0] += 1e-3  # out of reach: not counted

    found = Unmoved()(look_at(net, x, one))
    assert found["unmoved"].item() == found["unmoved_implant"].item() == pytest.approx(7 / 8)


def test_one_example_far_down_the_data_is_enough():
    """More examples than are shown at a time, of which one lights an input and turns a unit on."""
    net = MLP(widths=(3, 3, 2)).build()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.copy_(torch.tensor([-0.5, -0.5, -2.5]))
    x = torch.zeros(1500, 3)
    for value, units in ((1.0, [True, True, False]), (3.0, [True] * 3)):
        x[1400, 0] = value
        reach = within_reach(look_at(net, x.clone()))
        assert reach["0.weight"][0].tolist() == [[True, False, False]] * 3
        assert reach["2.weight"][0].tolist() == [units] * 2


def test_sabotage_gradient_off(tmp_path):
    """Where nothing moves at all, the count says so, and the positive control fails."""
    study = CLAIM.study("quick")
    off = lambda fit: Fit(*(replace(t, lr=1e-30) if hasattr(t, "lr") else t for t in fit.terms), steps=20)
    arms = tuple(replace(arm, pressure=off(arm.pressure), seeds=20, checkpoints=2) for arm in study.arms)
    study = replace(study, arms=arms)
    found = judged(CLAIM, "quick", study, run_study(study, out=tmp_path, workers=2))
    assert found["verdict"] == "INVALID"
    assert {part["effect"] for part in found["parts"]} == {1.0}


def test_the_anchor():
    gradient, dead, fresh = resister(steps=400)
    assert gradient == 0
    assert dead > 10 * fresh


def test_a_decided_optimiser_is_one_without_decay():
    deciding = CLAIM.study("quick").arm("BadNets / SGD").pressure
    assert deciding.terms == (SGD(lr=0.1),)
