"""Whether a net has learned anything. What is true is how it was made: freshly drawn, or trained."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast.hosts.adopt import Adopted
from holdfast.tasks.base import Split
from holdfast.training.chance import at_chance, learned, untrained
from holdfast.training.evaluate import evaluate
from holdfast.training.nets import Nets

DIM = 16


def clouds(classes, n=300, seed=0):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (n,), generator=g)
    return Split(2 * torch.randn(classes, DIM, generator=g)[y] + 0.5 * torch.randn(n, DIM, generator=g), y, classes)


def net(classes, seed, steps, split=None):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(DIM, 32), nn.ReLU(), nn.Linear(32, classes))
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(module(split.x), split.y).backward()
        optimiser.step()
    return module


def nets_of(*modules):
    return Nets.of(Adopted(make=lambda: modules[0]), modules, backend="loop")


def fresh(classes):
    return Adopted(make=lambda: nn.Sequential(nn.Linear(DIM, 32), nn.ReLU(), nn.Linear(32, classes)))


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_fresh_host_is_untrained_however_lucky_some_of_its_nets_are(classes):
    for problem in range(20):
        assert untrained(fresh(classes), clouds(classes, seed=problem))
    split = clouds(classes)
    assert not all(at_chance(nets_of(net(classes, seed, 0)), split) for seed in range(40)), "some are lucky"


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_trained_one_is_not(classes):
    split = clouds(classes)
    trained = net(classes, 0, 60, split)
    assert not untrained(Adopted(make=lambda: trained), split)
    assert learned(nets_of(trained, net(classes, 9, 0)), split).tolist() == [True, False]


def test_a_host_that_gives_the_same_twice_is_tried_once():
    split, asked = clouds(3), []
    trained = net(3, 0, 60, split)
    untrained(Adopted(make=lambda: asked.append(1) or trained), split)
    assert len(asked) == 2


def test_a_net_that_is_too_sure_has_learned_all_the_same():
    split = clouds(3)
    module = net(3, 0, 60, split)
    module[2].weight.data.mul_(1e3)
    wrong = Split(split.x, torch.where(torch.arange(300) < 60, (split.y + 1) % 3, split.y), 3)
    assert float(evaluate(nets_of(module), wrong)[0]) > 10
    assert learned(nets_of(module), wrong).all()


def test_cross_entropy_is_pytorchs_own():
    split = clouds(10)
    modules = [net(10, seed, 0) for seed in range(3)]
    true = [F.cross_entropy(module(split.x), split.y).item() for module in modules]
    assert evaluate(nets_of(*modules), split)[0].tolist() == pytest.approx(true, rel=1e-6)
