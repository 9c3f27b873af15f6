"""A smaller network in place of a masked one."""

import pytest
import torch

from holdfast import CNN, GPT, MLP, SGD, Fit, PruneUnits, UsageError
from holdfast.pruning import compact
from holdfast.training.nets import Nets

HOSTS = [
    MLP(widths=(64, 20, 15, 10)),
    MLP(widths=(64, 20, 10), limit=0.5),
    MLP(widths=(64, 10)),
    CNN(size=(8, 8), channels=(6, 8), hidden=9),
    CNN(size=(9, 6), channels=(5,), hidden=9),
]


@pytest.mark.parametrize("host", HOSTS, ids=lambda h: h.label)
def test_outputs_are_those_of_the_masked_net(host, site_of):
    site = site_of(None, seeds=2, host=HOSTS[0])
    streams = site.streams
    nets = Nets.initialised(host, streams)
    if host.label != "MLP 64-10":
        if isinstance(host, MLP) or host.size == (8, 8):
            site = site_of(None, seeds=2, host=host)
            pressure = PruneUnits(keep=0.4, fit=Fit(SGD(lr=0.1), steps=10))
            for _ in PruneUnits.press([pressure] * 2, site.at("pressure"), nets, (0, 10)):
                pass
        else:
            nets.params["features.0.weight"][:, :3] = 0
            nets.params["features.0.bias"][:, :3] = -0.1
    x = torch.rand(50, *((64,) if isinstance(host, MLP) else host.size))
    for k in range(2):
        small, masked = compact(nets, k), nets.module(k)
        torch.testing.assert_close(small(x), masked(x), rtol=1e-4, atol=1e-6)
        assert type(small) is type(masked)
        count = lambda module: sum(p.numel() for p in module.parameters())
        assert count(small) < 0.7 * count(masked) or host.label == "MLP 64-10"


def test_which_units_do_nothing():
    """Not read; silent whatever comes in; and what only such units read."""
    nets = Nets(MLP(widths=(3, 4, 3, 2)), MLP(widths=(3, 4, 3, 2)).build(), 1, backend="batched", device="cpu")
    for value in nets.params.values():
        value.fill_(1.0)
    nets.params["0.weight"][0, 0] = 0  # silent: its bias is below 0
    nets.params["0.bias"][0, 0] = -1
    nets.params["0.weight"][0, 1] = 0  # a constant, which is read
    nets.params["2.weight"][0, :2, 2] = 0  # read by unit 2 of the next layer only, which nobody reads
    nets.params["4.weight"][0, :, 2] = 0
    small = compact(nets, 0)
    assert [tuple(p.shape) for p in small.parameters()] == [(2, 3), (2,), (2, 2), (2,), (2, 2), (2,)]
    x = torch.rand(7, 3)
    torch.testing.assert_close(small(x), nets.module(0)(x))


def test_a_net_that_is_all_zero_keeps_one_unit_a_layer():
    host = CNN(size=(8, 8), channels=(6, 8), hidden=9)
    small = compact(Nets(host, host.build(), 1, backend="batched", device="cpu"), 0)
    assert torch.equal(small(torch.rand(2, 8, 8)), torch.zeros(2, 10))
    assert len(small.features[0].bias) == len(small.classifier[0].bias) == 1


def test_global_generators_stay_as_they_were():
    host = MLP(widths=(3, 4, 2))
    nets = Nets(host, host.build(), 1, backend="batched", device="cpu")
    before = torch.random.get_rng_state()
    compact(nets, 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_other_networks_are_refused():
    host = GPT(vocabulary=11, length=12)
    with pytest.raises(UsageError, match="known of an MLP and a CNN"):
        compact(Nets(host, host.build(), 1, backend="batched", device="cpu"), 0)
    mlp = MLP(widths=(3, 4, 2))
    with pytest.raises(UsageError, match="parts that MLP 3-4-2 has not"):
        compact(Nets(mlp, MLP(widths=(3, 4, 4, 2)).build(), 1, backend="loop", device="cpu"), 0)
