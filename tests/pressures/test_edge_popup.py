"""Edge-popup, against an autograd.Function and PyTorch's SGD on single nets; what it promises to leave alone."""

import math

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import nn

from conftest import same_bits
from holdfast import (
    CNN,
    GPT,
    MLP,
    SGD,
    Adam,
    BadNets,
    Clip,
    EdgePopup,
    FinePruning,
    Fit,
    Freeze,
    LastLayer,
    OnlyUnits,
    Prune,
    PruneUnits,
    Quantise,
    Reinitialise,
    UsageError,
    WeightDecay,
)
from holdfast.pressures.masked import Masked
from holdfast.pruning import Masks, prunable
from holdfast.training.draws import Draws
from holdfast.training.nets import Nets

SEEDS = 3
STILL = 1e-30
"""A learning rate that moves nothing."""
HOSTS = [MLP(widths=(64, 21, 10)), CNN(size=(8, 8), channels=(6, 7), hidden=17)]
IDS = ["MLP", "CNN"]


class Top(torch.autograd.Function):
    """1 where a size is among the `count` largest, by a sort; its gradient goes straight through."""

    @staticmethod
    def forward(ctx, sizes, count):
        order = sizes.flatten().argsort(descending=True, stable=True)
        mask = torch.zeros(sizes.numel())
        mask[order[:count]] = 1
        return mask.view_as(sizes)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class Popup:
    """One net, its weights fixed: PyTorch's own layers on w times the mask, PyTorch's own SGD on the scores."""

    def __init__(self, module, scores, keep, **settings):
        self.module, self.keep = module, keep
        self.held = {name: p.detach().clone() for name, p in module.named_parameters()}
        self.scores = {name: s.clone().requires_grad_() for name, s in scores.items()}
        self.sgd = torch.optim.SGD(self.scores.values(), **settings)

    def weights(self):
        top = {n: self.held[n] * Top.apply(s.abs(), round(self.keep * s.numel())) for n, s in self.scores.items()}
        return self.held | top

    def step(self, x, y):
        self.sgd.zero_grad()
        F.cross_entropy(torch.func.functional_call(self.module, self.weights(), (x,)), y).backward()
        self.sgd.step()


def pressed(fit, site_of, looks=(0, 30), host=HOSTS[0], start=None, phase="pressure"):
    """(the nets after training, as they were before, what was looked at)"""
    site = site_of(BadNets(), seeds=SEEDS, host=host).at(phase)
    nets = start.copy() if start else Nets.initialised(site.host, site.streams)
    before, seen = nets.copy(), {}
    for point in Fit.press([fit] * SEEDS, site, nets, looks):
        seen[point.step] = point.nets.copy()
    return nets, before, seen


def scores_of(site, nets, name):
    """The first scores, as the docstring has them: from each net's own stream, by the weight's name."""
    fan = nets.params[name][0, 0].numel()
    drawn = []
    for streams in site.streams:
        generator = torch.Generator().manual_seed(streams.torch_seed(f"pressure/edge-popup/{name}", 0))
        drawn.append((torch.empty(nets.params[name].shape[1:])).uniform_(
            -1 / math.sqrt(fan), 1 / math.sqrt(fan), generator=generator
        ))  # fmt: skip
    return drawn


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("keep", [0.5, 0.2])
@pytest.mark.parametrize("host", HOSTS, ids=IDS)
def test_against_autograd_on_single_nets(host, keep, momentum, site_of):
    """After one step, and after ten, each net is what PyTorch makes of it, with the same batches and scores."""
    fit = Fit(SGD(lr=2.0, momentum=momentum), EdgePopup(keep=keep), steps=10)
    site = site_of(BadNets(), seeds=SEEDS, host=host).at("pressure")
    start = Nets.initialised(host, site.streams)
    for row in start.rows.values():
        row.mul_(3)  # PyTorch's weights are small, and masks would hardly change in ten steps
    _, before, seen = pressed(fit, site_of, looks=(1, 10), host=host, start=start)
    first = {name: scores_of(site, before, name) for name in prunable(before)}
    draws = Draws(site, [()] * SEEDS, fit.batch)
    peers = [
        Popup(before.module(k), {n: s[k] for n, s in first.items()}, keep, lr=2.0, momentum=momentum)
        for k in range(SEEDS)
    ]
    begun = [peer.weights() for peer in peers]
    for step in range(10):
        x_KB, y_KB = draws.at(step)
        for k, peer in enumerate(peers):
            peer.step(x_KB[k], y_KB[k])
            if step + 1 not in seen:
                continue
            for name, value in peer.weights().items():
                ours = seen[step + 1].params[name][k]
                differ = int((ours != value).sum())
                assert differ <= 2 * (step > 0), f"{name} at step {step + 1}"  # rounding may swap neighbours
    for peer, at in zip(peers, begun, strict=True):
        assert any(not torch.equal(w, at[name]) for name, w in peer.weights().items()), "the mask did change"


@pytest.mark.parametrize("keep", [0.02, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("host", HOSTS, ids=IDS)
def test_weights_are_kept_to_the_bit_or_zero_and_as_many_as_asked(host, keep, site_of):
    fit = Fit(SGD(lr=0.5, momentum=0.9), EdgePopup(keep=keep), WeightDecay(rate=0.1), Clip(limit=1.0), steps=30)
    _, before, seen = pressed(fit, site_of, looks=(0, 1, 7, 30), host=host)
    assert same_bits(seen[0], before), "the look at step 0 is before that"
    masked = prunable(before)
    for step in (1, 7, 30):
        for name, p in seen[step].params.items():
            bits, own = p.view(torch.int32), before.params[name].view(torch.int32)
            if name not in masked:
                assert torch.equal(bits, own), "biases are not trained"
                continue
            kept = bits == own
            assert bool((kept | (bits == 0)).all())
            assert kept.flatten(1).sum(1).tolist() == [round(keep * p[0].numel())] * SEEDS


def test_a_weight_that_was_masked_may_come_back(site_of):
    _, _, seen = pressed(Fit(SGD(lr=0.5), EdgePopup(), steps=30), site_of, looks=range(31))
    kept = torch.stack([seen[step].params["0.weight"] != 0 for step in range(1, 31)]).int()
    assert bool((kept.diff(dim=0) == 1).any())
    assert bool((kept.diff(dim=0) == -1).any())


def test_the_mask_learns(site_of, data):
    """Of an untrained net far more than chance, without moving a weight."""
    host = MLP(widths=(64, 64, 10))
    fit = Fit(SGD(lr=0.1, momentum=0.9), EdgePopup(weights="signed"), steps=300)
    nets, _, seen = pressed(fit, site_of, looks=(1, 300), host=host)

    def right(nets):
        return (nets.classes(data.test.x) == data.test.y).double().mean(1)

    assert float(right(seen[1]).max()) < 0.4
    assert float(right(nets).min()) > 0.8


def test_first_scores_are_uniform_and_each_nets_own(site_of):
    fit = Fit(SGD(lr=STILL), EdgePopup(), steps=1)
    site = site_of(BadNets(), seeds=SEEDS).at("pressure")
    nets, before, _ = pressed(fit, site_of, looks=(1,), host=site.host)
    for name in prunable(before):
        scores = scores_of(site, before, name)
        for k in range(SEEDS):
            sizes = scores[k].abs().flatten()
            least = sizes.sort(descending=True).values[round(0.5 * sizes.numel()) - 1]
            assert torch.equal(nets.params[name][k].flatten() != 0, sizes >= least)
        bound = 1 / math.sqrt(before.params[name][0, 0].numel())
        nn.init.kaiming_uniform_(like := torch.empty(scores[0].shape), a=math.sqrt(5))
        assert float(like.abs().max()) <= bound, "PyTorch's own bound"
        assert stats.kstest(scores[0].flatten().double().numpy(), "uniform", (-bound, 2 * bound)).pvalue > 1e-3
        assert not bool((scores[0] == scores[1]).any())
    again, _, _ = pressed(fit, site_of, looks=(1,), host=site.host, phase="reactivation")
    assert not torch.equal(again.params["0.weight"], nets.params["0.weight"]), "each phase draws its own"


@pytest.mark.parametrize("host", HOSTS, ids=IDS)
@pytest.mark.parametrize("weights", ["signed", "scaled"])
def test_constants_are_kaimings(weights, host, site_of):
    keep = 0.3
    nets, before, seen = pressed(
        Fit(SGD(lr=0.5), EdgePopup(keep=keep, weights=weights), steps=5), site_of, (0, 5), host
    )
    assert same_bits(seen[0], before)
    for name in prunable(before):
        fan = nn.init._calculate_correct_fan(before.params[name][0], "fan_in")
        size = nn.init.calculate_gain("relu") / math.sqrt(fan * (keep if weights == "scaled" else 1))
        kept = nets.params[name] != 0
        torch.testing.assert_close(nets.params[name][kept], before.params[name][kept].sign() * size)
        assert kept[0].sum() == round(keep * kept[0].numel())


def test_the_last_layer_only_and_drawn_anew(site_of):
    fit = Fit(SGD(lr=0.5), LastLayer(), EdgePopup(), Reinitialise(), steps=5)
    nets, before, _ = pressed(fit, site_of, looks=(5,))
    for name in ("0.weight", "0.bias"):
        assert torch.equal(nets.params[name], before.params[name])
    kept = nets.params["2.weight"] != 0
    assert kept[0].sum() == round(0.5 * kept[0].numel())
    assert not bool((nets.params["2.weight"][kept] == before.params["2.weight"][kept]).any()), "of the new weights"


def test_decay_acts_on_scores(site_of):
    """Without a gradient all shrink alike: the mask stays, and so do the weights."""
    plain, _, _ = pressed(Fit(SGD(lr=STILL), EdgePopup(), steps=5), site_of, looks=(5,))
    decayed, _, _ = pressed(Fit(SGD(lr=STILL), EdgePopup(), WeightDecay(rate=1e29), steps=5), site_of, looks=(5,))
    assert same_bits(plain, decayed)


def test_a_net_that_diverges_is_seen_to(site_of):
    """Its scores overflow, its weights would not: it is NaN, and its neighbour what it is alone."""
    site = site_of(BadNets(), seeds=2, host=HOSTS[0]).at("pressure")
    calm, wild = (Fit(SGD(lr=lr, momentum=0.9), EdgePopup(), steps=30) for lr in (0.1, 1e60))
    both = Nets.initialised(site.host, site.streams)
    alone = both.copy()
    list(Fit.press([calm, wild], site, both, (30,)))
    list(Fit.press([calm, calm], site, alone, (30,)))
    assert both.finite().tolist() == [True, False]
    assert bool(both.params["0.weight"][1].isnan().all())
    assert same_bits(both.take([0]), alone.take([0]))


def test_a_transformer_has_its_matrices_masked(site_of):
    host = GPT(vocabulary=20)
    nets = Nets.initialised(host, site_of(None, seeds=1).streams)
    names = EdgePopup().trains(nets, tuple(nets.params))
    assert set(names) == set(prunable(nets))
    assert not any("embed" in name or "norm" in name for name in names)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: EdgePopup(keep=0), "above 0 and below 1; got keep=0. It is the share that remains"),
        (lambda: EdgePopup(keep=1.0), "got keep=1.0"),
        (lambda: EdgePopup(keep=float("nan")), "got keep=nan"),
        (lambda: EdgePopup(keep="half"), "EdgePopup's keep must be a number; got 'half'"),
        (lambda: EdgePopup(keep=True), "must be a number; got True"),
        (lambda: EdgePopup(weights="sign"), "Unknown weights of EdgePopup 'sign'. Perhaps you meant 'signed'"),
        (lambda: EdgePopup(weights=None), "Unknown weights of EdgePopup"),
        (lambda: Fit(SGD(lr=0.1), EdgePopup(), EdgePopup(keep=0.1), steps=1), "one EdgePopup at most; got 2"),
        (
            lambda: Fit(SGD(lr=0.1), EdgePopup(), Quantise(), steps=1),
            "EdgePopup can't go with Quantise.*Leave one out",
        ),
        (lambda: Fit(SGD(lr=0.1), OnlyUnits(units=(0,)), EdgePopup(), steps=1), "can't go with OnlyUnits"),
        (lambda: Fit(SGD(lr=0.1), Freeze(implant=BadNets()), EdgePopup(), steps=1), "can't go with Freeze"),
        (
            lambda: Fit(SGD(lr=0.1), Masked(Masks({"a": torch.ones(1, 2, dtype=torch.bool)})), EdgePopup(), steps=1),
            "can't go with Masked",
        ),
        (
            lambda: Prune(keep=0.5, fit=Fit(SGD(lr=0.1), EdgePopup(), steps=1)),
            "Prune can't fine-tune by EdgePopup",
        ),
        (lambda: PruneUnits(keep=0.5, fit=Fit(SGD(lr=0.1), EdgePopup(), steps=1)), "PruneUnits can't fine-tune"),
        (lambda: FinePruning(fit=Fit(SGD(lr=0.1), EdgePopup(), steps=1)), "FinePruning can't fine-tune"),
    ],
)
def test_impossible(build, match):
    with pytest.raises(UsageError, match=match):
        build()


def test_a_layer_that_would_be_left_nothing(site_of):
    with pytest.raises(UsageError, match=r"keep=0.001 leaves none of the 210 weights of 2.weight.*Keep more"):
        pressed(Fit(SGD(lr=0.1), EdgePopup(keep=0.001), steps=1), site_of, looks=(1,))


def test_nothing_to_choose_from(site_of):
    nets = Nets.initialised(HOSTS[0], site_of(None, seeds=1).streams)
    with pytest.raises(UsageError, match="trained here: only 0.bias"):
        EdgePopup().trains(nets, ("0.bias",))


def test_it_is_a_batch_of_its_own():
    keys = {Fit(SGD(lr=0.1), *terms, steps=5).batch_key() for terms in ((), (EdgePopup(),), (EdgePopup(keep=0.3),))}
    assert len(keys) == 3
    assert Fit(SGD(lr=0.1), EdgePopup(), steps=5).batch_key() == Fit(Adam(lr=1e-3), EdgePopup(), steps=5).batch_key()
    assert Fit(SGD(lr=0.1), EdgePopup(keep=0.3, weights="signed"), steps=5).name == (
        "edge-popup keeping 0.3 of signed constants"
    )
