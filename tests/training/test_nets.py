"""K networks held together: those with buffers, tied and frozen weights too."""

import pytest
import torch
from torch import nn

from holdfast.errors import HoldfastError
from holdfast.training.gradients import gradients
from holdfast.training.nets import Nets


class Odd(nn.Module):
    """Batch norm (buffers), a weight that is used twice, one that is frozen, one that nothing reads."""

    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.again.weight = self.first.weight
        self.norm, self.last = nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.idle = nn.Parameter(torch.ones(2))
        self.last.bias.requires_grad_(False)
        self.register_buffer("passing", torch.ones(2), persistent=False)

    def forward(self, x):
        return self.last(self.norm(self.again(self.first(x).relu())))


class Host:
    label = "odd"

    def build(self):
        return Odd()


@pytest.fixture
def modules():
    torch.manual_seed(0)
    modules = [Odd() for _ in range(3)]
    for module in modules:
        module(torch.randn(50, 6))  # so that the running means differ
    return modules


def test_they_are_what_the_modules_are(modules):
    nets = Nets.of(Host(), modules, backend="loop")
    x = torch.randn(3, 9, 6)
    nets.like.eval()
    assert set(nets.buffers) == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert nets.frozen == {"last.bias"}
    for k, module in enumerate(modules):
        module.eval()
        plain = module(x[k].clone())  # cloned, as MKL rounds otherwise where memory starts elsewhere
        assert torch.equal(nets.forward(nets.params, x)[k], plain)
        again = nets.module(k)
        assert torch.equal(again(x[k].clone()), plain)
        assert {n: v.tolist() for n, v in again.state_dict().items()} == {
            n: v.tolist() for n, v in module.state_dict().items()
        }
        assert again.first.weight is again.again.weight, "still tied"


def test_training_moves_their_buffers_as_it_moves_the_modules(modules):
    nets = Nets.of(Host(), modules, backend="loop")
    x = torch.randn(3, 9, 6)
    nets.like.train()
    nets.forward(nets.params, x)
    for k, module in enumerate(modules):
        module.train()(x[k])
        assert torch.equal(nets.buffers["norm.running_mean"][k], module.norm.running_mean)
        assert nets.buffers["norm.num_batches_tracked"][k] == 2


def test_gradients_are_the_modules_own_and_zero_where_frozen_or_idle(modules):
    nets = Nets.of(Host(), modules, backend="loop")
    nets.like.eval()
    x, y = torch.randn(3, 9, 6), torch.randint(3, (3, 9))
    found = gradients(nets, x, y)
    for k, module in enumerate(modules):
        module.eval().zero_grad()
        nn.functional.cross_entropy(module(x[k]), y[k]).backward()
        for name, p in module.named_parameters():
            expected = torch.zeros_like(p) if p.grad is None else p.grad
            assert torch.allclose(found[name][k], expected, atol=1e-6), name
    assert not found["last.bias"].any()
    assert not found["idle"].any()


def test_weights_of_another_architecture(modules):
    nets = Nets.of(Host(), modules, backend="loop")
    with pytest.raises(HoldfastError, match=r"not of odd: 0.weight: expected nothing, got \(3, 6\)"):
        nets.load(0, {**nets.state(0), "0.weight": torch.zeros(3, 6)})


def test_answers_are_kept_only_while_weights_stand_still(badnets, data):
    nets, x = badnets[0].copy(), data.test.x[:50]
    fresh = nets.classes(x)
    with nets.still():
        assert torch.equal(nets.classes(x), fresh)
        assert nets.classes(x) is nets.classes(x)
        assert not torch.equal(nets.classes(data.test.x[50:100]), fresh), "other examples have other answers"
    for row in nets.rows.values():
        row.neg_()
    assert not torch.equal(nets.classes(x), fresh)
