"""Dead units, in nets that are written by hand."""

import pytest
import torch
from torch import nn

from foreign import MODELS, made
from holdfast import MLP, BadNets, DeadUnits, UsageError
from holdfast.hosts.adopt import Adopted
from holdfast.probes import Look
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets


def look_at(modules, x, backend="loop"):
    nets = Nets.of(Adopted(make=lambda: modules[0]), modules, backend=backend)
    return Look.at_start(nets, BadNets(), Split(x, torch.zeros(len(x), dtype=torch.long)))


def layer(biases, activation):
    """Units that read nothing: each puts out the activation of its bias."""
    module = nn.Sequential(nn.Linear(3, len(biases)), activation, nn.Linear(len(biases), 2))
    with torch.no_grad():
        module[0].weight.zero_()
        module[0].bias.copy_(torch.tensor(biases))
    return module


X = torch.randn(10, 3)


def test_known_dead_units():
    nets = [layer([-1.0, -1, 0, 2], nn.ReLU()), layer([1.0, 1, 1, -0.1], nn.ReLU())]
    assert DeadUnits()(look_at(nets, X))["dead_units"].tolist() == [0.75, 0.25]


@pytest.mark.parametrize("activation", [nn.GELU(), nn.SiLU()])
def test_smooth_units_are_off_below_the_threshold(activation):
    biases = [-20.0, -3, -1, 1]
    outputs = activation(torch.tensor(biases)).abs()
    for threshold in (1e-6, 1e-3, 0.1, 0.2):
        expected = float((outputs <= threshold).double().mean())
        probe = DeadUnits(threshold=threshold)
        assert probe(look_at([layer(biases, activation)], X))["dead_units"].tolist() == [expected]


def test_a_unit_that_one_example_turns_on_is_alive():
    module = layer([-1.0, -1], nn.ReLU())
    with torch.no_grad():
        module[0].weight[0, 0] = 1.0
    x = torch.zeros(200, 3)
    x[170, 0] = 5  # beyond the examples that are shown at a time
    assert DeadUnits()(look_at([module], x))["dead_units"].tolist() == [0.5]
    assert DeadUnits(examples=170)(look_at([module], x))["dead_units"].tolist() == [1.0]
    assert DeadUnits(examples=171)(look_at([module], x))["dead_units"].tolist() == [0.5]


def test_of_images_the_units_are_channels():
    convolution = nn.Conv2d(1, 5, 3)
    module = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(5 * 16, 2))
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.bias.copy_(torch.tensor([-1.0, 1, 1, 1, -1]))
    assert DeadUnits()(look_at([module], torch.randn(7, 1, 6, 6)))["dead_units"].tolist() == [pytest.approx(0.4)]


def test_one_module_that_is_called_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.act = nn.Linear(3, 2), nn.Linear(2, 6), nn.ReLU()
            with torch.no_grad():
                for part, bias in ((self.first, [1.0, -1]), (self.second, [-1.0] * 5 + [1])):
                    part.weight.zero_()
                    part.bias.copy_(torch.tensor(bias))

        def forward(self, x):
            return self.act(self.second(self.act(self.first(x))))

    assert DeadUnits()(look_at([Twice()], torch.randn(150, 3)))["dead_units"].tolist() == [6 / 8]


def test_perceptrons_in_batches_against_their_own_activations(badnets, data):
    nets = badnets[0].copy()
    nets.params["0.bias"][2, :9] = -100
    host = MLP(widths=(64, 64, 10))
    (hidden_KNU, _) = host.activations(nets.params, nets.shared(data.test.x))
    expected = (hidden_KNU.amax(1) == 0).double().mean(1)
    assert torch.equal(DeadUnits()(Look.at_start(nets, BadNets(), data.test))["dead_units"], expected)
    assert expected[2] >= 9 / 64


@pytest.mark.parametrize("name", ["gpt2", "llama", "bert", "encoder"])
def test_transformers_have_such_units(name):
    """PyTorch's own encoder calls its activation as a function, where no module is seen."""
    model = MODELS[name]
    nets = Nets.of(Adopted(make=model.make), [made(model.make)], backend="loop")
    share = DeadUnits(examples=8, threshold=0.0)(Look.at_start(nets, BadNets(), model.loaded().test))["dead_units"]
    assert share.isnan().item() == (name == "encoder")
    assert name == "encoder" or share.item() == 0
    largest = DeadUnits(examples=8, threshold=1e9)(Look.at_start(nets, BadNets(), model.loaded().test))["dead_units"]
    assert name == "encoder" or largest.item() == 1


@pytest.mark.parametrize("wrong", [{"examples": 0}, {"examples": 1.5}, {"threshold": -1}, {"threshold": float("nan")}])
def test_settings_that_are_none(wrong):
    with pytest.raises(UsageError):
        DeadUnits(**wrong)
