"""Adversarial neuron pruning, against plain autograd on each net."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from conftest import same_bits
from holdfast import ANP, GPT, Adam, Fit, UsageError
from holdfast.pressures.anp import Masking
from holdfast.training.draws import Draws
from holdfast.training.nets import Nets
from holdfast.training.slot import Slot
from removal import HOSTS, IDS, pressed, started


@pytest.fixture(params=HOSTS, ids=IDS)
def place(request, site_of):
    """(a site, nets that have learned something)"""
    site = site_of(None, seeds=3, host=request.param)
    nets, _ = pressed(Fit(Adam(lr=0.01), steps=60), site, started(site), (60,))
    return site.at("pressure"), nets


def loss_of(module, scales, x, y):
    """With each hidden layer's weights and biases multiplied, one number a unit."""
    params = dict(module.named_parameters())
    for layer, (on_w, on_b) in scales.items():
        w, b = params[f"{layer}.weight"], params[f"{layer}.bias"]
        params[f"{layer}.weight"] = w * on_w.view(-1, *[1] * (w.dim() - 1))
        params[f"{layer}.bias"] = b * on_b
    return F.cross_entropy(functional_call(module, params, (x,)), y)


def one(scales, k):
    return {layer: (a[k], b[k]) for layer, (a, b) in scales.items()}


@pytest.mark.parametrize("ascents", [1, 4])
def test_the_inner_maximum_and_the_slope_of_the_masks_are_autograds(ascents, place):
    site, nets = place
    asked = ANP(eps=0.3, ascents=ascents)
    masking = Masking(asked, site, nets)
    generator = torch.Generator().manual_seed(0)
    for mask in masking.masks.values():
        mask.uniform_(0.3, 1, generator=generator)
    x_KB, y_KB = masking.draws.at(0)
    starts = masking.starts(0)
    assert all(float(n.abs().max()) <= 0.3 for pair in starts.values() for n in pair)
    worst = masking.worst(x_KB, y_KB, starts)
    slopes = masking.slopes(x_KB, y_KB, worst)
    for k in range(3):
        module, noise = nets.module(k), one(starts, k)
        masks = {layer: mask[k].clone().requires_grad_() for layer, mask in masking.masks.items()}
        for _ in range(ascents):
            noise = {layer: [n.detach().requires_grad_() for n in pair] for layer, pair in noise.items()}
            scales = {layer: (masks[layer] + d, 1 + e) for layer, (d, e) in noise.items()}
            loss_of(module, scales, x_KB[k], y_KB[k]).backward()
            noise = {
                layer: [(n + 0.3 / ascents * n.grad.sign()).clamp(-0.3, 0.3).detach() for n in pair]
                for layer, pair in noise.items()
            }
        pairs = [(a, b) for at in noise for a, b in zip(noise[at], one(worst, k)[at], strict=True)]
        near = [torch.isclose(a, b, atol=1e-6) for a, b in pairs]
        assert torch.cat(near).double().mean() > 0.95, "but for signs of gradients that are zero to rounding"
        at_worst = {layer: (masks[layer] + d, 1 + e) for layer, (d, e) in one(worst, k).items()}
        expected = torch.autograd.grad(loss_of(module, at_worst, x_KB[k], y_KB[k]), list(masks.values()))
        for layer, slope in zip(masks, expected, strict=True):
            torch.testing.assert_close(slopes[layer][0][k], slope, rtol=1e-3, atol=1e-5)


def test_a_step_of_the_masks_is_pytorchs_sgd(place):
    """Momentum, then back into [0, 1], on alpha L(m) + (1 - alpha) L(m + d)."""
    site, nets = place
    asked = ANP(alpha=0.3, lr=0.5, momentum=0.8)
    masking, module = Masking(asked, site, nets), nets.module(0)
    masks = {layer: nn.Parameter(torch.ones_like(mask[0])) for layer, mask in masking.masks.items()}
    optimiser = torch.optim.SGD(masks.values(), lr=0.5, momentum=0.8)
    for now in range(4):
        x_KB, y_KB = masking.draws.at(now)
        worst = one(masking.worst(x_KB, y_KB, masking.starts(now)), 0)
        optimiser.zero_grad()
        plain = {layer: (mask, torch.ones_like(mask)) for layer, mask in masks.items()}
        bent = {layer: (masks[layer] + d, 1 + e) for layer, (d, e) in worst.items()}
        loss = 0.3 * loss_of(module, plain, x_KB[0], y_KB[0]) + 0.7 * loss_of(module, bent, x_KB[0], y_KB[0])
        loss.backward()
        optimiser.step()
        masking.step(now)
        for layer, mask in masks.items():
            mask.data.clamp_(0, 1)
            torch.testing.assert_close(masking.masks[layer][0], mask.data, rtol=1e-3, atol=1e-4)
    assert min(float(m.data.min()) for m in masks.values()) < 0.95


def test_the_worst_is_worse_than_where_it_started_and_than_nothing(place):
    site, nets = place
    masking = Masking(ANP(ascents=3), site, nets)
    x_KB, y_KB = masking.draws.at(0)
    starts = masking.starts(0)
    worst = masking.worst(x_KB, y_KB, starts)
    for k in range(3):
        scaled = lambda noise, k=k: {at: (1 + d, 1 + e) for at, (d, e) in one(noise, k).items()}
        said = [loss_of(nets.module(k), scaled(noise), x_KB[k], y_KB[k]).item() for noise in (worst, starts)]
        assert said[0] > max(said[1], F.cross_entropy(nets.module(k)(x_KB[k]), y_KB[k]).item())


def test_what_falls_below_the_threshold_is_pruned_and_nothing_else(place):
    site, start = place
    nets, seen = pressed(ANP(threshold=0.7, lr=0.5), site, start, (0, 10, 30))
    assert same_bits(seen[0], start)
    masking = Masking(ANP(threshold=0.7, lr=0.5), site, start.copy())
    for now in range(30):
        masking.step(now)
    pruned = 0
    for name, value in start.params.items():
        layer, _, what = name.rpartition(".")
        if what == "weight" and layer in masking.masks:
            gone = masking.masks[layer] < 0.7
            pruned += int(gone.sum())
            assert not bool(nets.params[name][gone].any())
            assert torch.equal(nets.params[name][~gone], value[~gone])
        else:
            assert torch.equal(nets.params[name], value)
    assert pruned > 0


def test_it_draws_what_fine_tuning_draws(place):
    site, nets = place
    x_KB, y_KB = Masking(ANP(batch=40), site, nets).draws.at(30)
    expected = Draws(site, [()] * 3, 40).at(30)
    assert torch.equal(x_KB, expected[0])
    assert torch.equal(y_KB, expected[1])


def test_alone_or_among_others_of_which_one_has_diverged(place):
    site, start = place
    start = start.copy()
    next(iter(start.params.values()))[1] = torch.nan
    pressure, looks = ANP(threshold=0.9, lr=0.5), (0, 20)
    together, _ = pressed(pressure, site, start, looks)
    for k in (0, 2):
        alone, _ = pressed(pressure, replace(site, streams=site.streams[k : k + 1]), start.take([k]), looks)
        assert same_bits(alone, together.take([k]))
    assert together.finite().tolist() == [True, False, True]


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_a_kill_at_any_look(place, tmp_path, stop_after):
    site, start = place
    pressure, looks = ANP(threshold=0.9, lr=0.5), (0, 5, 11, 20)
    whole, seen = pressed(pressure, site, start, looks)
    there = replace(site, slot=Slot(tmp_path / "state"))
    points = ANP.press([pressure] * 3, there.at("pressure"), start.copy(), looks)
    for _, _ in zip(range(stop_after), points, strict=False):
        pass
    points.close()
    nets, again = pressed(pressure, there, start, looks)
    assert same_bits(nets, whole)
    assert all(same_bits(point, seen[step]) for step, point in again.items())


def test_settings(site_of):
    published = ANP()
    assert (published.eps, published.alpha, published.threshold, published.lr) == (0.4, 0.2, 0.2, 0.2)
    assert (published.steps, published.batch, published.ascents, published.momentum) == (2000, 128, 1, 0.9)
    assert published.name == "ANP"
    for bad, match in (
        ({"eps": -0.1}, "eps of 0 or more"),
        ({"alpha": 1.5}, "alpha and threshold between 0 and 1"),
        ({"threshold": "low"}, "ANP's threshold must be a number"),
        ({"ascents": 0}, "1 or more of ascents"),
        ({"steps": 1.5}, "ANP's steps must be a whole number"),
    ):
        with pytest.raises(UsageError, match=match):
            ANP(**bad)
    site = site_of(None, seeds=1)
    host = GPT(vocabulary=11, length=12)
    nets = Nets(host, host.build(), 1, backend="batched", device="cpu")
    with pytest.raises(UsageError, match="known of an MLP and a CNN"):
        list(ANP.press([ANP()], site.at("pressure"), nets, (0, 1)))
