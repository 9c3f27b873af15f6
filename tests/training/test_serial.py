"""Batched training against single networks trained by PyTorch itself, on the same batches."""

import pytest
import torch
import torch.nn.functional as F

from conftest import same_bits
from holdfast import MLP, SGD, Adam, BadNets, Fit, Poison, Sign, Unlearn, UsageError, WeightDecay
from holdfast.training.draws import Draws
from holdfast.training.nets import Nets

STEPS = 100


class ByHand(torch.optim.Optimizer):
    """Sign descent and decoupled decay, written out weight by weight."""

    def __init__(self, params, lr, decay=0.0, sign=True):
        super().__init__(params, {"lr": lr, "decay": decay, "sign": sign})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p *= 1 - group["lr"] * group["decay"]
                p -= group["lr"] * (p.grad.sign() if group["sign"] else p.grad)


ORACLES = {
    "SGD": (Fit(SGD(lr=0.1), steps=STEPS), lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (Fit(SGD(lr=0.1, momentum=0.9), steps=STEPS), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    "Adam": (Fit(Adam(lr=3e-3), steps=STEPS), lambda p: torch.optim.Adam(p, lr=3e-3)),
    "AdamW": (
        Fit(Adam(lr=3e-3), WeightDecay(rate=0.5), steps=STEPS),
        lambda p: torch.optim.AdamW(p, lr=3e-3, weight_decay=0.5),
    ),
    "decayed SGD by hand": (
        Fit(SGD(lr=0.1), WeightDecay(rate=0.05), steps=STEPS),
        lambda p: ByHand(p, lr=0.1, decay=0.05, sign=False),
    ),
    "sign": (Fit(Sign(lr=1e-3), steps=STEPS), lambda p: ByHand(p, lr=1e-3)),
    "batches of 60": (
        Fit(SGD(lr=0.1, momentum=0.9), steps=STEPS, batch=60),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    ),
    "unlearning": (Fit(SGD(lr=0.1), Unlearn(rate=0.3), steps=STEPS), lambda p: torch.optim.SGD(p, lr=0.1)),
    "poisoned": (Fit(SGD(lr=0.1), Poison(rate=0.1), steps=STEPS), lambda p: torch.optim.SGD(p, lr=0.1)),
}


@pytest.mark.parametrize("name", ORACLES)
def test_a_hundred_steps_equal_pytorchs(name, site_of):
    fit, oracle = ORACLES[name]
    site = site_of(BadNets(), seeds=5).at("pressure")
    nets = Nets.initialised(site.host, site.streams)
    single = [nets.module(k) for k in range(5)]
    for _ in Fit.press([fit] * 5, site, nets, (STEPS,)):
        pass
    draws = Draws(site, [fit.mixes] * 5, fit.batch)
    optimisers = [oracle(net.parameters()) for net in single]
    for step in range(STEPS):
        x_KB, y_KB = draws.at(step)
        for k, (net, optimiser) in enumerate(zip(single, optimisers, strict=True)):
            optimiser.zero_grad()
            F.cross_entropy(net(x_KB[k]), y_KB[k]).backward()
            optimiser.step()
    for k, net in enumerate(single):
        for path, p in net.named_parameters():
            assert torch.allclose(nets.params[path][k], p, rtol=1e-5, atol=1e-5), path


@pytest.mark.parametrize("widths", [(64, 10), (64, 24, 10), (64, 33, 20, 17, 10)])
@pytest.mark.parametrize("backend", ["vmap", "loop"])
def test_the_backends_agree(widths, backend, site_of):
    ends = []
    for one in ("batched", backend):
        site = site_of(BadNets(), seeds=3, host=MLP(widths=widths), backend=one).at("pressure")
        nets = Nets.initialised(site.host, site.streams, backend=one)
        for _ in Fit.press([Fit(SGD(lr=0.1, momentum=0.9), steps=STEPS)] * 3, site, nets, (STEPS,)):
            pass
        ends.append(nets)
    for path, p in ends[0].params.items():
        assert torch.allclose(p, ends[1].params[path], rtol=1e-5, atol=1e-5), path


def test_gradients_of_inputs_too():
    host = MLP(widths=(6, 5, 4, 3))
    nets = Nets.of(host, [host.build() for _ in range(2)])
    x = torch.randn(2, 7, 6, requires_grad=True)
    nets.forward(nets.params, x).square().sum().backward()
    for k in range(2):
        alone = x[k].detach().requires_grad_()
        nets.module(k)(alone).square().sum().backward()
        assert torch.allclose(x.grad[k], alone.grad, atol=1e-6)


def test_initialisation_is_pytorchs_from_the_seeds_stream(site_of):
    site = site_of(BadNets(), seeds=2)
    nets = Nets.initialised(site.host, site.streams)
    torch.manual_seed(site.streams[1].torch_seed("init"))
    linear = torch.nn.Linear(64, 64)
    assert torch.equal(nets.params["0.weight"][1], linear.weight)
    before = torch.random.get_rng_state()
    again = Nets.initialised(site.host, site.streams)
    assert same_bits(nets, again)
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator is left alone"


def test_an_unknown_backend_names_the_nearest():
    with pytest.raises(UsageError, match="Unknown backend 'bached'. Perhaps you meant 'batched'"):
        Nets.of(MLP(), [MLP().build()], backend="bached")
