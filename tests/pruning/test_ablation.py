"""Ablation against the same by plain PyTorch: values replaced between the layers of a net that is taken apart."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast import CNN, Digits, UsageError
from holdfast.pruning.ablation import Ablation
from holdfast.tasks.base import Split


@pytest.fixture(scope="module")
def few():
    train = Digits().load().train
    return Split(train.x[:200], train.y[:200], 10)


def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 10))


def test_a_unit_of_a_perceptron_gives_its_mean(few):
    module = perceptron()
    ablation = Ablation(module, few)
    assert [(read.path, read.units) for read in ablation.reads] == [("3", 9), ("5", 7)]
    assert ablation.units == 16
    effects = ablation.effects(few)
    with torch.no_grad():
        whole = F.cross_entropy(module(few.x), few.y)
        hidden = module[:3](few.x)
        for unit in range(9):
            changed = hidden.clone()
            changed[:, unit] = hidden[:, unit].mean()
            expected = F.cross_entropy(module[3:](changed), few.y) - whole
            assert effects["3"][unit].item() == pytest.approx(expected.item(), abs=1e-6)
        second = module[:5](few.x)
        second[:, [1, 4]] = second[:, [1, 4]].mean(0)
        right = (module[5:](second).argmax(1) == few.y).double().mean().item()
    mask = torch.zeros(7, dtype=torch.bool)
    mask[[1, 4]] = True
    assert ablation.accuracy(few, {"5": mask}) == right
    assert not any(part._forward_pre_hooks for part in module.modules()), "nothing is left behind"


def test_a_channel_is_ablated_at_all_its_places(few):
    torch.manual_seed(0)
    module = CNN(channels=(3, 5), size=(8, 8), hidden=6).build()
    ablation = Ablation(module, few)
    assert [read.units for read in ablation.reads] == [3, 5, 6]
    assert [read.features for read in ablation.reads] == [1, 4, 1], "5 channels of 2 x 2 are read by the linear layer"
    with torch.no_grad():
        features = module.features(few.x[:, None] if few.x.dim() == 3 else few.x)
        features[:, 2] = features[:, 2].mean(0)
        expected = F.cross_entropy(module.classifier(features.flatten(1)), few.y).item()
        one = torch.zeros(5, dtype=torch.bool)
        one[2] = True
        assert ablation.loss(few, {ablation.reads[1].path: one}) == pytest.approx(expected, abs=1e-6)
        first = module.features[:3](few.x[:, None])
        first[:, 1] = first[:, 1].mean()
        expected = F.cross_entropy(module.classifier(module.features[3:](first).flatten(1)), few.y).item()
    one = torch.tensor([False, True, False])
    assert ablation.loss(few, {ablation.reads[0].path: one}) == pytest.approx(expected, abs=1e-6)


def test_a_dead_unit_costs_nothing_and_the_bias_stays(few):
    module = perceptron()
    with torch.no_grad():
        module[1].weight[4] = 0
        module[1].bias[4] = 2.0  # always on, and the same for every input: its mean is what it gives
    effects = Ablation(module, few).effects(few)
    assert abs(effects["3"][4].item()) < 1e-6
    assert effects["3"].abs().max() > 1e-3


def test_the_first_of_an_order(few):
    ablation = Ablation(perceptron(), few)
    masks = ablation.first([15, 0, 9, 3], 3)
    assert masks["3"].nonzero().flatten().tolist() == [0]
    assert masks["5"].nonzero().flatten().tolist() == [0, 6]
    assert ablation.first(range(16), 0)["3"].sum() == 0


def test_a_net_without_hidden_units(few):
    with pytest.raises(UsageError, match="expected two linear or convolutional layers that are called; got 1"):
        Ablation(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), few)
