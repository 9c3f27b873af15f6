"""Pruning scores against their definitions, computed by plain PyTorch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from holdfast import CNN, GPT, LENET_300_100, MLP, Digits, UsageError
from holdfast.engines.base import one_thread
from holdfast.pruning import SNIP, AtRandom, GraSP, Magnitude, Masks, SynFlow, largest, prune
from holdfast.pruning.snip import drawn
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams

STREAMS = tuple(Streams(0, seed) for seed in range(3))
SMALL = MLP(widths=(64, 7, 5, 10))


def made(host, k=3, **how):
    return Nets.initialised(host, STREAMS[:k], **how)


def scored(score, nets, data):
    return score.score(nets, data, STREAMS[: nets.k], Masks.full(nets))


def images(side=28):
    g = torch.Generator().manual_seed(0)
    split = Split(torch.rand(20, side, side, generator=g), torch.arange(20) % 10)
    return Data(split, split, split, 10)


def test_snip_is_the_slope_of_the_loss_along_each_weights_own_strength():
    """dL/dc at c = 1 for a weight c w, by central differences in float64."""
    nets, data = made(SMALL), Digits().load()
    found = scored(SNIP(examples=50), nets, data)
    x_KB, y_KB = drawn(data, STREAMS, 50)
    module = nets.module(1).double()

    def loss(name, at, c):
        changed = copy.deepcopy(module)
        with torch.no_grad():
            dict(changed.named_parameters())[name].view(-1)[at] *= c
        return F.cross_entropy(changed(x_KB[1].double()), y_KB[1]).item()

    for name in found:
        for at in (0, 3, 17):
            slope = (loss(name, at, 1 + 1e-4) - loss(name, at, 1 - 1e-4)) / 2e-4
            assert float(found[name][1].view(-1)[at]) == pytest.approx(abs(slope), rel=1e-3, abs=1e-9)


def test_grasp_is_weight_times_hessian_times_gradient():
    """With the whole Hessian, as PyTorch gives it."""
    host, data = MLP(widths=(64, 3, 10)), Digits().load()
    nets = made(host)
    found = scored(GraSP(examples=40, temperature=2.0), nets, data)
    x_KB, y_KB = drawn(data, STREAMS, 40)
    module, params = nets.module(2).double(), {n: p[2].double() for n, p in nets.params.items()}
    names = list(found)
    sizes = [params[n].numel() for n in names]

    def loss(flat):
        parts = torch.split(flat, sizes)
        held = {**params, **{n: v.view_as(params[n]) for n, v in zip(names, parts, strict=True)}}
        return F.cross_entropy(functional_call(module, held, (x_KB[2].double(),)) / 2.0, y_KB[2])

    w = torch.cat([params[n].flatten() for n in names])
    g = torch.autograd.functional.jacobian(loss, w)
    h = torch.autograd.functional.hessian(loss, w)
    got = torch.cat([found[n][2].flatten() for n in names])
    torch.testing.assert_close(got.double(), w * (h @ g), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("keep", [1.0, 0.3, 0.01])
def test_synflow_adds_up_to_the_same_in_every_layer_and_empties_none(keep):
    """Tanaka et al. 2020, theorem 1, on LeNet-300-100, also where it is pruned already."""
    nets, data = made(LENET_300_100, k=2), images()
    masks = prune(nets, SynFlow(), keep, data, STREAMS[:2])
    masks.apply(nets)
    sums = [v.flatten(1).sum(1) for v in scored(SynFlow(), nets, data).values()]
    for each in sums[1:]:
        torch.testing.assert_close(each, sums[0], rtol=1e-12, atol=0)
    assert all(bool((share > 0).all()) for share in masks.layers_kept().values())
    total = masks.flat_KP.shape[1]
    assert masks.flat_KP.sum(1).tolist() == [round(keep * total)] * 2


def test_synflow_in_one_round_of_a_thin_net_is_what_the_paper_writes():
    """Equation 4 by products of matrices."""
    nets = made(SMALL)
    found = scored(SynFlow(), nets, Digits().load())
    one, two, three = (nets.params[f"{at}.weight"][0].double().abs() for at in (0, 2, 4))
    above, below = torch.ones(10).double() @ three, one @ torch.ones(64).double()
    torch.testing.assert_close(found["2.weight"][0], above[:, None] * two * below[None])


def test_synflow_refuses_what_it_does_not_hold_for():
    with pytest.raises(UsageError, match="units that are linear above 0"):
        scored(SynFlow(), made(MLP(widths=(64, 7, 10), limit=1.0)), Digits().load())
    tokens = Split(torch.zeros(4, 12, dtype=torch.int64), torch.zeros(4, 12, dtype=torch.int64))
    with pytest.raises(UsageError, match="these are tokens. Choose SNIP"):
        scored(SynFlow(), made(GPT(vocabulary=11, length=12), k=1), Data(tokens, tokens, tokens, 11))


def test_magnitude_and_chance():
    nets, data = made(SMALL), Digits().load()
    assert torch.equal(scored(Magnitude(), nets, data)["2.weight"], nets.params["2.weight"].abs())
    drawn_scores = scored(AtRandom(), nets, data)["2.weight"]
    assert not torch.equal(drawn_scores[0], drawn_scores[1])
    one = nets.take([1])
    alone = AtRandom().score(one, data, STREAMS[1:2], Masks.full(one))["2.weight"]
    assert torch.equal(drawn_scores[1], alone[0])


@pytest.mark.parametrize("score", [SNIP(), GraSP(), SynFlow(rounds=3), Magnitude(), AtRandom()], ids=lambda s: s.label)
@pytest.mark.parametrize("host", [SMALL, CNN(channels=(4,), size=(8, 8))], ids=["mlp", "cnn"])
def test_a_net_is_pruned_alike_with_neighbours_and_alone(score, host):
    with one_thread():
        data = Digits().load()
        nets = made(host)
        together = prune(nets, score, 0.2, data, STREAMS)
        alone = prune(nets.take([1]), score, 0.2, data, STREAMS[1:2])
    assert {name: torch.equal(m[1], alone[name][0]) for name, m in together.items()} == dict.fromkeys(together, True)
    assert "bias" not in "".join(together)
    assert together.kept_K.tolist() == pytest.approx([0.2] * 3, abs=0.002)
    full = Masks.full(nets)
    assert torch.equal(largest(score.score(nets, data, STREAMS, full), 1.0).flat_KP, full.flat_KP)
