"""Fine-pruning, against its definition by plain PyTorch on each net."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from conftest import same_bits
from holdfast import CNN, MLP, SGD, Adam, FinePruning, Fit, UsageError
from holdfast.pruning.units import last_features
from holdfast.training.slot import Slot
from removal import HOSTS, IDS, pressed, started

STILL = Fit(SGD(lr=1e-30), steps=1)


@pytest.fixture(params=HOSTS, ids=IDS)
def place(request, site_of):
    """(a site, nets that have learned something)"""
    site = site_of(None, seeds=3, host=request.param)
    nets, _ = pressed(Fit(Adam(lr=0.01), steps=60), site, started(site), (60,))
    return site, nets


def by_hand(module, data, points):
    """Numbers of the units that go, with hooks and copies of the plain module."""
    layer = module.features[-3] if hasattr(module, "features") else module[-3]
    relu = module.features[-2] if hasattr(module, "features") else module[-2]
    given = []
    handle = relu.register_forward_hook(lambda _, __, out: given.append(out))
    with torch.no_grad():
        module(data.train.x)
        handle.remove()
        means = given[0].double().mean([0, *range(2, given[0].dim())])
        accuracy = lambda: int((module(data.validation.x).argmax(1) == data.validation.y).sum())
        before, gone = accuracy(), []
        for unit in means.argsort(stable=True).tolist()[:-1]:
            weight, bias = layer.weight[unit].clone(), layer.bias[unit].clone()
            layer.weight[unit], layer.bias[unit] = 0, 0
            if (before - accuracy()) * 100 > points * len(data.validation):
                layer.weight[unit], layer.bias[unit] = weight, bias
                break
            gone.append(unit)
    return sorted(gone)


@pytest.mark.parametrize("points", [0.0, 4.0, 30.0, 100.0])
def test_the_least_active_go_until_accuracy_falls(points, place, data):
    site, start = place
    nets, _ = pressed(FinePruning(points=points, fit=STILL), site, start, (0, 1))
    at = last_features(site.host)
    found = []
    for k in range(3):
        silent = nets.params[f"{at.layer}.weight"][k].flatten(1).abs().sum(1) == 0
        found.append(silent.nonzero().flatten().tolist())
        assert found[-1] == by_hand(start.module(k), data, points)
        read = nets.params[f"{at.reader}.weight"][k].reshape(-1, len(silent), at.each).abs().sum((0, 2))
        assert torch.equal(read == 0, silent)
        assert torch.equal(nets.params[f"{at.layer}.bias"][k] == 0, silent)
    if points == 100:
        assert {len(gone) for gone in found} == {start.params[f"{at.layer}.bias"].shape[1] - 1}, "one stays"
    others = set(nets.params) - {f"{at.layer}.weight", f"{at.layer}.bias", f"{at.reader}.weight"}
    assert all(torch.equal(nets.params[name], start.params[name]) for name in others)


def test_then_it_is_fine_tuned_with_what_is_gone_gone(place):
    site, start = place
    fit = Fit(SGD(lr=0.1, momentum=0.9), steps=20)
    _, seen = pressed(FinePruning(points=10, fit=fit), site, start, (0, 1, 20))
    assert same_bits(seen[0], start)
    at = last_features(site.host)
    gone = seen[1].params[f"{at.layer}.weight"] == 0
    assert bool(gone.any())
    assert not bool(seen[20].params[f"{at.layer}.weight"].view(torch.int32)[gone].any())
    assert not torch.equal(seen[20].params[f"{at.layer}.weight"], seen[1].params[f"{at.layer}.weight"])


def test_choosing_sees_no_test_data(place, data):
    site, start = place
    other = replace(data, test=replace(data.test, x=torch.zeros_like(data.test.x)))
    pressure = FinePruning(points=5, fit=STILL)
    nets, _ = pressed(pressure, site, start, (0, 1))
    blind, _ = pressed(pressure, replace(site, data=other), start, (0, 1))
    assert same_bits(nets, blind)


def test_alone_or_among_others_that_may_lose_more(place):
    site, start = place
    fit = Fit(SGD(lr=0.1), steps=10)
    each = [FinePruning(points=20, fit=fit), FinePruning(points=1, fit=fit), FinePruning(fit=fit, examples=30)]
    together, _ = pressed(each[0], site, start, (0, 10), each)
    for k, pressure in enumerate(each):
        alone, _ = pressed(pressure, replace(site, streams=site.streams[k : k + 1]), start.take([k]), (0, 10))
        assert same_bits(alone, together.take([k]))


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_a_kill_at_any_look(place, tmp_path, stop_after):
    site, start = place
    pressure, looks = FinePruning(fit=Fit(SGD(lr=0.1, momentum=0.9), steps=9)), (0, 3, 9)
    whole, _ = pressed(pressure, site, start, looks)
    there = replace(site, slot=Slot(tmp_path / "state"))
    points = FinePruning.press([pressure] * 3, there.at("pressure"), start.copy(), looks)
    for _, _ in zip(range(stop_after), points, strict=False):
        pass
    points.close()
    assert same_bits(pressed(pressure, there, start, looks)[0], whole)


def test_settings():
    published = FinePruning()
    assert (published.points, published.steps, published.batch) == (4.0, 1000, 256)
    said = "weight decay 0.005, SGD lr 0.01 momentum 0.9, batch 256"
    assert published.label == f"fine-pruning within 4 points, {said}"
    for bad, match in (
        ({"points": -1}, "points between 0 and 100"),
        ({"points": "4"}, "FinePruning's points must be a number"),
        ({"examples": 0}, "an example or more"),
        ({"fit": 3}, "FinePruning fine-tunes by a Fit; got fit=3"),
    ):
        with pytest.raises(UsageError, match=match):
            FinePruning(**bad)
    with pytest.raises(UsageError, match="MLP 64-10 has no hidden layer"):
        last_features(MLP(widths=(64, 10)))
    assert last_features(CNN(channels=(3, 4, 5))).layer == "features.6"
    assert isinstance(CNN(channels=(3,), size=(8, 8)).build().features[-2], nn.ReLU)
