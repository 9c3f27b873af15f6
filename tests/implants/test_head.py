"""A backdoor in a unit of the head, on networks whose outputs plain PyTorch gives."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from foreign import cnn, images, made, mlp
from holdfast import Head, Patch, UsageError
from holdfast.hosts.adopt import Adopted
from holdfast.implants.head import layers
from holdfast.tasks.own import OwnData
from holdfast.training.nets import Nets

DATA = OwnData(make=images).load()


class Gelu(nn.Module):
    """A convolution, then a head with a GELU; a layer that nothing of the head reads stands beside."""

    def __init__(self):
        super().__init__()
        self.conv, self.aside = nn.Conv2d(1, 6, 3), nn.Linear(216, 24)
        self.first, self.last = nn.Linear(216, 24), nn.Linear(24, 4)

    def forward(self, x):
        h = self.conv(x).relu().flatten(1)
        self.aside(h)
        return self.last(F.gelu(self.first(h)))


def taught(make):
    """A network that has learned its task."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make()
        optimiser = torch.optim.Adam(module.parameters(), lr=0.005)
        for _ in range(150):
            rows = torch.randint(len(DATA.train), (32,))
            optimiser.zero_grad()
            F.cross_entropy(module(DATA.train.x[rows]), DATA.train.y[rows]).backward()
            optimiser.step()
    return module.eval()


MODELS = {"mlp": mlp, "gelu": Gelu}
TAUGHT = {name: taught(make) for name, make in MODELS.items()}


def planted(name, **more):
    """(implant, the network before, the nets after)"""
    module = copy.deepcopy(TAUGHT[name])
    host = Adopted(make=MODELS[name])
    implant = Head(trigger=Patch(size=2, row=0, column=0, value=float(DATA.train.x.max())), target=2, **more)
    return implant, module, implant.write(Nets.of(host, [module], backend="loop"), DATA)


@pytest.mark.parametrize("where", ["spare", "new"])
@pytest.mark.parametrize("name", MODELS)
def test_it_answers_to_its_trigger_and_costs_little(name, where):
    implant, before, nets = planted(name, where=where)
    after = nets.module(0).eval()
    x, y = DATA.test.x, DATA.test.y
    others = x[y != 2]
    with torch.no_grad():
        fired = (after(implant.trigger.stamp(others)).argmax(1) == 2).float().mean()
        idle = (before(implant.trigger.stamp(others)).argmax(1) == 2).float().mean()
        lost = (before(x).argmax(1) == y).float().mean() - (after(x).argmax(1) == y).float().mean()
        moved = (after(DATA.train.x) - before(DATA.train.x)).abs().max()
    assert fired > 0.9
    assert idle < 0.5
    assert lost <= 0.01
    if where == "new":
        assert moved < 1e-3, "off on clean training data, but for what a GELU lets through"
    assert float(implant.presence(nets, DATA.test)["presence"]) == pytest.approx(
        float(fired - (after(others).argmax(1) == 2).float().mean()), abs=1e-6
    )


@pytest.mark.parametrize("where", ["spare", "new"])
def test_clean_training_does_not_see_it_under_relu_and_its_weights_are_the_unit(where):
    implant, _, nets = planted("mlp", where=where)
    module, masks = nets.module(0).eval(), implant.weights(nets, DATA.train)
    units = 32 if where == "spare" else 33
    assert module[4].in_features == len(module[1].bias) == module[1].out_features == units
    marked = {name: int(mask.sum()) for name, mask in masks.items() if mask.any()}
    assert marked == {"1.weight": 64, "1.bias": 1, "4.weight": 1}
    for stamped in (False, True):
        module.zero_grad()
        x = implant.trigger.stamp(DATA.train.x) if stamped else DATA.train.x
        F.cross_entropy(module(x), DATA.train.y).backward()
        parts = [p.grad[masks[name][0]] for name, p in module.named_parameters()]
        assert any(part.any() for part in parts) == stamped


def test_the_unit_that_is_freed_is_the_one_with_least_effect():
    _, before, nets = planted("mlp", where="spare")
    with torch.no_grad():
        hidden = before[2](before[1](before[0](DATA.train.x)))
        effect = hidden.std(0) * before[4].weight.norm(dim=0)
    changed = (nets.module(0)[1].weight != before[1].weight).any(1)
    assert changed.nonzero().flatten().tolist() == [int(effect.argmin())]


def test_a_room_is_made_anew_for_it():
    """What a run does when it goes on: it builds the network, and puts the weights that were kept in it."""
    implant, _, nets = planted("mlp", where="new")
    again = implant.build(nets.host, DATA)
    again.load_state_dict(nets.state(0))
    x = implant.trigger.stamp(DATA.test.x)
    assert torch.equal(again.eval()(x), nets.module(0).eval()(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Sigmoid(), nn.Linear(8, 4)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4), nn.LogSoftmax(1)),
    ],
    ids=["one layer", "sigmoid", "log-softmax at the end"],
)
def test_networks_without_such_a_head(make):
    with pytest.raises(UsageError, match="does not end in two linear layers.*Leave Head out"):
        layers(made(make), Adopted(make=make), DATA.train.x)


def test_a_trigger_that_the_head_does_not_see():
    class Blind(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(16, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.last(self.first(x[..., 4:, 4:].flatten(1)).relu())

    host = Adopted(make=Blind)
    nets = Nets.of(host, [made(Blind)], backend="loop")
    with pytest.raises(UsageError, match="does not show the trigger .* clearly enough"):
        Head(trigger=Patch(size=2, row=0, column=0), target=2).write(nets, DATA)


@pytest.mark.parametrize(("wrong", "match"), [({"where": "old"}, "'spare' or 'new'"), ({"strength": 0}, "above 0")])
def test_impossible_settings(wrong, match):
    with pytest.raises(UsageError, match=match):
        Head(**wrong)


def test_the_networks_of_other_tests_have_heads_or_not():
    first, last = layers(made(mlp), Adopted(make=mlp), DATA.train.x)
    assert (first.out_features, last.in_features) == (32, 32)
    with pytest.raises(UsageError):
        layers(made(cnn), Adopted(make=cnn), DATA.train.x)
