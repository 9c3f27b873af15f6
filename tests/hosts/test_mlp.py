"""The perceptron."""

import pytest
import torch
from torch import nn

from holdfast import LENET_300_100, MLP, UsageError
from holdfast.pressures.fit import gradients
from holdfast.training.loss import cross_entropy
from holdfast.training.nets import Nets


def test_it_is_a_plain_sequential_with_pytorchs_names():
    plain = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    net = MLP(widths=(64, 20, 10)).build()
    net.load_state_dict(plain.state_dict())
    images = torch.rand(5, 8, 8)
    assert torch.equal(net(images), plain(images.flatten(1)))


def test_activations_are_the_modules_own():
    host = MLP(widths=(6, 5, 4, 3))
    nets = Nets.of(host, [host.build(), host.build()])
    x = torch.rand(7, 6)
    values = host.activations(nets.params, nets.shared(x))
    for k in range(2):
        h = x
        for i, layer in enumerate(nets.module(k)):
            h = layer(h)
            if isinstance(layer, nn.ReLU) or i == 4:
                assert torch.allclose(values[i // 2][k], h, atol=1e-6)


@pytest.mark.parametrize("widths", [(9, 4), (9, 1, 4), (64, 64, 10), (9, 12, 7, 20, 4)])
@pytest.mark.parametrize("batch", [1, 17])
@pytest.mark.parametrize("limit", [None, 0.3])
def test_values_and_gradients_are_autograds(widths, batch, limit):
    """Backward is written by hand: every weight's and input's gradient against `nn.Sequential` under autograd."""
    torch.manual_seed(0)
    host = MLP(widths=widths, limit=limit)
    singles = [host.build() for _ in range(3)]
    params = {name: p.detach().clone().requires_grad_() for name, p in Nets.of(host, singles).params.items()}
    x_KBI = torch.randn(3, batch, widths[0], requires_grad=True)
    weight_KBC = torch.randn(3, batch, widths[-1])
    logits_KBC = host.forward(params, x_KBI)
    (logits_KBC * weight_KBC).sum().backward()
    for k, single in enumerate(singles):
        plain = nn.Sequential(*single)
        x_BI = x_KBI[k].detach().requires_grad_()
        logits_BC = plain(x_BI)
        (logits_BC * weight_KBC[k]).sum().backward()
        assert torch.allclose(logits_KBC[k], logits_BC, rtol=1e-5, atol=1e-5)
        assert torch.allclose(x_KBI.grad[k], x_BI.grad, rtol=1e-5, atol=1e-5)
        for name, p in plain.named_parameters():
            assert torch.allclose(params[name].grad[k], p.grad, rtol=1e-5, atol=1e-5), name


def test_lenet_300_100_has_the_weights_that_the_literature_counts():
    net = LENET_300_100.build()
    assert sum(p.numel() for name, p in net.named_parameters() if name.endswith("weight")) == 266_200
    assert net(torch.rand(2, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("widths", [(9, 4), (9, 1, 4), (64, 64, 10), (9, 12, 7, 20, 4), (6, 5, 20)])
@pytest.mark.parametrize("batch", [1, 17, 64])
@pytest.mark.parametrize("limit", [None, 0.3])
def test_gradients_by_hand_are_autograds_to_the_bit(widths, batch, limit):
    host = MLP(widths=widths, limit=limit)
    nets = Nets.of(host, [host.build() for _ in range(3)])
    x, y = torch.randn(3, batch, widths[0]), torch.randint(widths[-1], (3, batch))
    params = {name: p.detach().requires_grad_() for name, p in nets.params.items()}
    loss_K = cross_entropy(host.forward(params, x), y)
    expected = torch.autograd.grad(loss_K, list(params.values()), torch.ones_like(loss_K))
    found = gradients(nets, x, y)
    for name, grad in zip(params, expected, strict=True):
        assert found[name].shape == grad.shape
        assert torch.equal(found[name], grad), name


def test_a_limit_is_hardtanhs():
    host = MLP(widths=(6, 5, 3), limit=0.5)
    nets = Nets.of(host, [host.build()])
    module, x = nets.module(0), torch.randn(200, 6)
    hidden = torch.nn.functional.hardtanh(module[0](x), 0.0, 0.5)
    assert {0.0, 0.5} <= set(hidden.unique().tolist())
    assert torch.equal(module(x), module[2](hidden))
    assert torch.allclose(nets.logits(x)[0], module(x), atol=1e-6)
    torch.testing.assert_close(host.activations(nets.params, nets.shared(x))[0][0], hidden, rtol=0, atol=1e-6)


@pytest.mark.parametrize("limit", [0, -1.0, float("inf"), float("nan"), "1", True])
def test_impossible_limits(limit):
    with pytest.raises(UsageError, match="MLP's limit"):
        MLP(widths=(6, 3), limit=limit)


@pytest.mark.parametrize("widths", [(), (64,), (64, 0, 10), (-1, 10)])
def test_impossible_widths(widths):
    with pytest.raises(UsageError, match="at least two widths"):
        MLP(widths=widths)
