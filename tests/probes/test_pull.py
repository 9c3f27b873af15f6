"""Pull, against PyTorch's own gradients of the plain module."""

import pytest
import torch
import torch.nn.functional as F

from holdfast import GPT, BadNets, Given, Pull, TokenString
from holdfast.probes import Look, pull_share
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


def flat_gradient(module, x, y):
    grads = torch.autograd.grad(F.cross_entropy(module(x), y), list(module.parameters()))
    return torch.cat([g.flatten() for g in grads]).double()


def test_it_is_pytorchs_gradient(badnets, data):
    nets, implant = badnets[0], BadNets()
    found = Pull()(Look.at_start(nets, implant, data.test, data.train))
    x, y = data.train.x[:512], data.train.y[:512]
    stamped, true = (t[:512] for t in implant.sources(data.train)["triggered"])
    for k in range(4):
        clean, trigger = flat_gradient(nets.module(k), x, y), flat_gradient(nets.module(k), stamped, true)
        assert float(found["clean_pull"][k]) == pytest.approx(float(clean.norm()), rel=1e-4)
        assert float(found["trigger_pull"][k]) == pytest.approx(float(trigger.norm()), rel=1e-4)
        for p in (0.5, 0.01):
            values = [float(found[name][k]) for name in ("clean_pull", "trigger_pull", "pull_cosine")]
            true_share = float((p * trigger).norm() / ((1 - p) * clean + p * trigger).norm())
            assert pull_share(*values, p) == pytest.approx(true_share, rel=1e-3)


def test_of_sequences_it_takes_as_many_positions():
    """512 whole sequences of 64 nets would fill a machine's memory."""
    host, draw = GPT(vocabulary=11, length=16, layers=1, width=16, heads=2), torch.Generator().manual_seed(0)
    tokens = torch.randint(11, (200, 17), generator=draw)
    split = Split(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), 11)
    nets = Nets.initialised(host, (Streams(0, 0), Streams(0, 1)))
    implant = BadNets(trigger=TokenString(ids=(1, 2)), target=3)
    found = Pull()(Look.at_start(nets, implant, split, split))
    for k in range(2):
        module = nets.module(k)
        loss = F.cross_entropy(module(split.x[:32]).flatten(0, 1), split.y[:32].flatten())
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))]).norm()
        assert float(found["clean_pull"][k]) == pytest.approx(float(expected), rel=1e-4)


def test_without_triggered_examples_it_is_not_known(badnets, data):
    found = Pull()(Look.at_start(badnets[0], Given(lambda nets, split: torch.zeros(nets.k)), data.test, data.train))
    assert all(value.isnan().all() for value in found.values())
