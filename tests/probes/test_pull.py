"""Pull, against PyTorch's own gradients of the plain module."""

import pytest
import torch
import torch.nn.functional as F

from holdfast import BadNets, Given, Pull
from holdfast.probes import Look, pull_share


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


def test_without_triggered_examples_it_is_not_known(badnets, data):
    found = Pull()(Look.at_start(badnets[0], Given(lambda nets, split: torch.zeros(nets.k)), data.test, data.train))
    assert all(value.isnan().all() for value in found.values())
