"""Which units a layer reads, in modules whose channels are not obvious."""

import pytest
import torch
from torch import nn

from holdfast import UsageError
from holdfast.pruning.ablation import Ablation
from holdfast.pruning.masks import by_unit
from holdfast.tasks.base import Split

IMAGES = Split(torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 4, 4)


class Branch(nn.Module):
    """The linear layer reads the first convolution; another one is called in between, on a branch."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 16, 3)
        self.f, self.pool = nn.Linear(4 * 36, 4), nn.AdaptiveAvgPool2d(1)
        self.g = nn.Linear(16, 4)

    def forward(self, x):
        a = self.a(x)
        b = self.pool(self.b(a)).flatten(1)
        return self.f(a.flatten(1)) + self.g(b)


class Named(nn.Module):
    """Layers that are called by the name of what they read."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 5), nn.Linear(5, 4)

    def forward(self, x):
        return self.b(input=self.a(input=x.flatten(1)).relu())


def units(module):
    torch.manual_seed(0)
    return {read.path: read.units for read in Ablation(module(), IMAGES).reads}


def test_of_a_branch():
    assert units(Branch) == {"b": 4, "f": 4, "g": 16}


def test_behind_a_transposed_convolution():
    made = lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ConvTranspose2d(4, 8, 3), nn.Flatten(), nn.Linear(8 * 64, 4))
    assert units(made) == {"3": 8}


def test_behind_pooling():
    made = lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 4))
    assert units(made) == {"4": 4}


def test_layers_called_by_name_are_ablated_too():
    torch.manual_seed(0)
    net = Named()
    ablation = Ablation(net, IMAGES)
    off = torch.tensor([False, True, False, False, False])
    with torch.no_grad():
        hidden = net.a(IMAGES.x.flatten(1)).relu()
        hidden[:, 1] = hidden[:, 1].mean()
        expected = nn.functional.cross_entropy(net.b(hidden), IMAGES.y)
    assert ablation.loss(IMAGES, {"b": off}) == pytest.approx(float(expected), abs=1e-6)


def test_a_channel_of_a_grouped_convolution_is_read_by_its_group():
    layer = nn.Conv2d(8, 8, 3, groups=2)
    weight = torch.zeros_like(layer.weight, dtype=torch.bool)
    weight[:4, 1] = True  # the first group's outputs, their second input: channel 1
    weight[4:, 3] = True  # the second group's, their fourth: channel 7
    assert by_unit(layer, weight, 8).any(1).nonzero().flatten().tolist() == [1, 7]


def test_damaged_weights_are_named():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, 4))
    net[1].bias.data[2] = torch.nan
    with pytest.raises(UsageError, match=r"What 3 reads is not finite"):
        Ablation(net, IMAGES)


def test_rows_of_vectors_are_no_channels():
    """(N, 4, 6) of a layer norm, flattened: 24 units, and not 4 of 6 features."""
    vectors = (nn.Flatten(), nn.Unflatten(1, (4, 16)), nn.Linear(16, 6), nn.LayerNorm(6), nn.Flatten())
    assert units(lambda: nn.Sequential(*vectors, nn.Linear(24, 4))) == {"5": 24}


def test_behind_a_convolution_of_one_axis():
    made = lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(1, 4, 5), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(120, 4))
    assert units(made) == {"4": 4}
