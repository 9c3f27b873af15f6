"""Pruning as a pressure, against torch.nn.utils.prune on the same nets."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from conftest import same_bits
from holdfast import (
    CNN,
    GPT,
    MLP,
    SGD,
    SNIP,
    Adam,
    AtRandom,
    EarlyStopping,
    Fit,
    GraSP,
    Magnitude,
    MeanActivation,
    Noise,
    OutgoingNorm,
    Prune,
    PruneUnits,
    Quantise,
    SynFlow,
    UsageError,
    WeightDecay,
)
from holdfast.pressures.masked import Masked
from holdfast.pruning import Masks, prune
from holdfast.pruning.units import hidden_layers
from holdfast.training.slot import Slot
from removal import HOSTS, IDS, pressed, started

STILL = 1e-30
"""A learning rate that moves nothing."""


def layers_of(module):
    return [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]


@pytest.mark.parametrize("host", HOSTS, ids=IDS)
def test_one_round_prunes_what_pytorch_prunes(host, site_of):
    site = site_of(None, seeds=2, host=host)
    start = started(site)
    nets, seen = pressed(Prune(keep=0.25, fit=Fit(SGD(lr=STILL), steps=1)), site, start, (0, 1))
    assert same_bits(seen[0], start), "the look at step 0 is before that"
    for k in range(2):
        module = start.module(k)
        torch_prune.global_unstructured(
            [(layer, "weight") for layer in layers_of(module)], torch_prune.L1Unstructured, amount=0.75
        )
        for ours, theirs in zip(layers_of(nets.module(k)), layers_of(module), strict=True):
            assert torch.equal(ours.weight, theirs.weight)
            assert torch.equal(ours.bias, theirs.bias)


def test_rounds_prune_in_equal_ratios_what_training_made(site_of):
    """keep .25 in two rounds: a half, then a half of what is left of the net that was fine-tuned in between."""
    site = site_of(None, seeds=2, host=HOSTS[0])
    pressure = Prune(keep=0.25, rounds=2, fit=Fit(SGD(lr=0.1), steps=5))
    assert pressure.steps == 10
    start = started(site)
    _, seen = pressed(pressure, site, start, (0, 1, 5, 6, 10))
    total = sum(p[0].numel() for n, p in start.params.items() if n.endswith("weight"))
    zeros = {step: sum(int((p == 0).sum()) for p in nets.params.values()) / 2 for step, nets in seen.items()}
    half, quarter = total - round(total * 0.5), total - round(total * 0.25)
    assert list(zeros.values()) == [0, half, half, quarter, quarter]
    for k in range(2):
        module = seen[5].module(k)
        weights = [(layer, "weight") for layer in layers_of(module)]
        torch_prune.global_unstructured(weights, torch_prune.L1Unstructured, amount=quarter)
        for ours, (theirs, _) in zip(layers_of(seen[6].module(k)), weights, strict=True):
            assert torch.equal(ours.weight == 0, theirs.weight == 0)


@pytest.mark.parametrize("score", [SNIP(), GraSP(), SynFlow(rounds=5), AtRandom()], ids=lambda s: s.label)
def test_masks_are_the_pruning_rooms_and_training_is_that_of_the_mask(score, site_of, data):
    site = site_of(None, seeds=2, host=HOSTS[0])
    start, fit = started(site), Fit(Adam(lr=0.01), steps=8)
    nets, _ = pressed(Prune(score=score, keep=0.3, fit=fit), site, start, (0, 8))
    masks = prune(start, score, 0.3, data, site.streams)
    expected, _ = pressed(fit.with_terms(Masked(masks)), site, start, (0, 8))
    assert all(torch.equal(nets.params[name], value) for name, value in expected.params.items())


TERMS = {
    "adam": (Adam(lr=0.01),),
    "momentum": (SGD(lr=0.1, momentum=0.9), WeightDecay(rate=0.1)),
    "noise": (SGD(lr=0.1), Noise(scale=0.1)),
    "early": (SGD(lr=2.0), EarlyStopping(every=2, patience=1)),
}


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("kind", [Prune, PruneUnits])
@pytest.mark.parametrize("host", HOSTS, ids=IDS)
def test_what_is_gone_stays_zero_to_the_bit(terms, kind, host, site_of):
    site = site_of(None, seeds=2, host=host)
    pressure = kind(keep=0.3, rounds=3, fit=Fit(*terms, steps=6))
    _, seen = pressed(pressure, site, started(site), range(19))
    gone = {}
    for step in range(1, 19):
        for name, p in seen[step].params.items():
            bits = p.view(torch.int32)
            assert not bool(bits[gone.get(name, torch.zeros_like(p, dtype=torch.bool))].any())
            gone[name] = bits == 0
    shares = Masks({name: ~gone[name] for name in gone if name.endswith("weight")}).kept_K
    assert float(shares.max()) < 0.36, "about as much is left as was asked for"


def test_quantised_nets_are_pruned_too(site_of):
    """Which have zeros of their own, so that at least as many are asked for."""
    site = site_of(None, seeds=2, host=HOSTS[0])
    pressure = Prune(keep=0.25, rounds=2, fit=Fit(SGD(lr=0.1), Quantise(), steps=6))
    _, seen = pressed(pressure, site, started(site), range(13))
    for step in range(1, 13):
        zeros = torch.cat([p.flatten(1) == 0 for n, p in seen[step].params.items() if n.endswith("weight")], 1)
        assert float(zeros.double().mean(1).min()) >= (0.499 if step <= 6 else 0.749)


def kept_units(nets, k):
    """Numbers of the units of each hidden layer that are there."""
    return [at_units(nets, k, at) for at in hidden_layers(nets.host)]


def at_units(nets, k, at):
    whole = nets.params[f"{at.layer}.weight"][k].flatten(1).abs().sum(1)
    return whole.nonzero().flatten().tolist()


@pytest.mark.parametrize("host", HOSTS, ids=IDS)
def test_units_go_by_the_norm_of_what_reads_them(host, site_of):
    """By hand on the plain module: the norm of a unit's columns."""
    site = site_of(None, seeds=2, host=host)
    start = started(site)
    nets, _ = pressed(PruneUnits(keep=0.4, fit=Fit(SGD(lr=STILL), steps=1)), site, start, (0, 1))
    for k in range(2):
        layers = layers_of(start.module(k))
        for units, layer, reader in zip(kept_units(nets, k), layers[:-1], layers[1:], strict=True):
            columns = reader.weight.transpose(0, 1).reshape(len(layer.bias), -1)
            count = round(0.4 * len(columns))
            assert units == columns.norm(dim=1).topk(count).indices.sort().values.tolist()
        for layer, reader in zip(layers_of(nets.module(k))[:-1], layers_of(nets.module(k))[1:], strict=True):
            silent = layer.weight.flatten(1).abs().sum(1) == 0
            assert torch.equal(layer.bias == 0, silent)
            assert torch.equal(reader.weight.transpose(0, 1).reshape(len(silent), -1).abs().sum(1) == 0, silent)


@pytest.mark.parametrize("host", HOSTS, ids=IDS)
def test_units_go_by_their_mean_activation(host, site_of, data):
    """By a plain forward pass; as many examples as there are, so all of them."""
    site = site_of(None, seeds=2, host=host)
    start = started(site)
    pressure = PruneUnits(score=MeanActivation(), keep=0.4, fit=Fit(SGD(lr=STILL), steps=1))
    nets, _ = pressed(pressure, site, start, (0, 1))
    for k in range(2):
        for units, means in zip(kept_units(nets, k), mean_activations(start.module(k), data.train.x), strict=True):
            assert units == means.topk(round(0.4 * len(means))).indices.sort().values.tolist()


def mean_activations(module, x):
    """Of each hidden layer, by running its layers one after the other."""
    if hasattr(module, "features"):
        x, parts = x[:, None], [*module.features, nn.Flatten(), *module.classifier]
    else:
        parts = [nn.Flatten(), *module]
    means = []
    with torch.no_grad():
        for part in parts:
            x = part(x)
            if isinstance(part, nn.ReLU):
                means.append(x.double().mean([0, *range(2, x.dim())]))
    return means


def test_one_unit_stays(site_of):
    site = site_of(None, seeds=1, host=HOSTS[0])
    pressure = PruneUnits(keep=0.01, fit=Fit(SGD(lr=STILL), steps=1))
    nets, _ = pressed(pressure, site, started(site), (0, 1))
    assert [len(units) for units in kept_units(nets, 0)] == [1, 1]


EACH = [
    Prune(keep=0.5, rounds=2, fit=Fit(Adam(lr=0.01), steps=6)),
    Prune(score=SNIP(examples=40), keep=0.1, rounds=3, fit=Fit(SGD(lr=0.1, momentum=0.9), steps=4)),
    Prune(score=SNIP(examples=40), keep=0.1, rounds=3, fit=Fit(SGD(lr=1e30), steps=4)),
    Prune(score=SynFlow(rounds=3), keep=0.1, rounds=3, fit=Fit(SGD(lr=1e30), steps=4)),
    Prune(score=GraSP(examples=40), keep=0.3, fit=Fit(SGD(lr=0.1), steps=12)),
]
UNITS = [
    PruneUnits(keep=0.5, rounds=2, fit=Fit(Adam(lr=0.01), steps=6)),
    PruneUnits(score=MeanActivation(examples=50), keep=0.3, rounds=3, fit=Fit(SGD(lr=1e30), steps=4)),
    PruneUnits(score=MeanActivation(examples=50), keep=0.3, rounds=3, fit=Fit(SGD(lr=0.1), steps=4)),
]


@pytest.mark.parametrize("each", [EACH, UNITS], ids=["weights", "units"])
@pytest.mark.parametrize("host", HOSTS, ids=IDS)
def test_alone_or_among_others_of_which_some_diverge(each, host, site_of):
    assert len({pressure.batch_key() for pressure in each}) == 1
    site = site_of(None, seeds=len(each), host=host)
    start = started(site)
    together, _ = pressed(each[0], site, start, (0, 12), each)
    assert together.finite().tolist() == [one.fit.optimiser.lr < 1 for one in each]
    for k, pressure in enumerate(each):
        alone, _ = pressed(pressure, replace(site, streams=site.streams[k : k + 1]), start.take([k]), (0, 12))
        assert same_bits(alone, together.take([k]))


@pytest.mark.parametrize("pressure", [EACH[0], EACH[1], UNITS[0], UNITS[2]], ids=lambda p: p.what)
@pytest.mark.parametrize("stop_after", range(1, 6))
def test_a_kill_at_any_look(pressure, site_of, tmp_path, stop_after):
    """Looks fall between rounds, on their border and inside them."""
    looks = (0, 4, 6, 7, 13)
    site = site_of(None, seeds=2, host=HOSTS[1])
    start = started(site)
    whole, seen = pressed(pressure, site, start, looks)
    there = replace(site, slot=Slot(tmp_path / "state"))
    points = type(pressure).press([pressure] * 2, there.at("pressure"), start.copy(), looks)
    for _, _ in zip(range(stop_after), points, strict=False):
        pass
    points.close()
    nets, again = pressed(pressure, there, start, looks)
    assert same_bits(nets, whole)
    assert all(same_bits(point, seen[step]) for step, point in again.items())


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda fit: Prune(keep=1.0, fit=fit), "below 1; got keep=1.0. To remove 90 % of them: keep=0.1"),
        (lambda fit: PruneUnits(keep=0, fit=fit), "PruneUnits keeps a share"),
        (lambda fit: Prune(keep="half", fit=fit), "Prune's keep must be a number; got 'half'"),
        (lambda fit: Prune(keep=0.5, rounds=0, fit=fit), "a round or more; got rounds=0"),
        (lambda fit: Prune(keep=0.5, rounds=1.5, fit=fit), "whole number; got 1.5"),
        (lambda fit: Prune(keep=0.5, fit="adam"), "Prune fine-tunes by a Fit; got fit='adam'"),
        (lambda fit: Prune(keep=0.5, fit=fit, score=OutgoingNorm()), "Units are removed by PruneUnits"),
        (lambda fit: PruneUnits(keep=0.5, fit=fit, score=Magnitude()), "Single weights are removed by Prune"),
        (lambda fit: MeanActivation(examples=0), "an example or more; got 0"),
    ],
)
def test_bad_settings(build, match):
    with pytest.raises(UsageError, match=match):
        build(Fit(SGD(lr=0.1), steps=5))


def test_hosts_without_known_units_are_refused(site_of):
    host = GPT(vocabulary=11, length=12)
    with pytest.raises(UsageError, match=r"known of an MLP and a CNN; got .*\(Prune\) instead"):
        hidden_layers(host)


def test_labels():
    fit = Fit(SGD(lr=0.1), WeightDecay(rate=0.1), steps=5)
    pressure = Prune(keep=0.25, rounds=2, fit=fit)
    assert pressure.name == "magnitude pruning to 0.25 in 2 rounds, weight decay 0.1"
    assert pressure.label == "magnitude pruning to 0.25 in 2 rounds, weight decay 0.1, SGD lr 0.1"
    assert PruneUnits(keep=0.5, fit=fit).name == "units pruned by outgoing norm to 0.5, weight decay 0.1"
    assert [len(hidden_layers(host)) for host in (MLP(), CNN())] == [1, 3]
