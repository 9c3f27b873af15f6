"""The memory against plain networks and closed forms."""

import numpy as np
import pytest
import torch
from torch import nn

from holdfast.claims.anchors.error_law import error_law, observed
from holdfast.samples import Capacity, Memory, Tolerance
from holdfast.samples.memory import CHUNK, Recall
from holdfast.samples.tolerance import _Paths
from holdfast.training.streams import Streams

SEED = Streams(777, 3)


@pytest.mark.parametrize("levels", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("width", [0.5, 1.0, 1.7])
def test_the_closed_form_against_a_few_lines_of_numpy(levels, width):
    """The nearest level after clipping, without any ramp."""
    rng, n = np.random.default_rng(0), 100_000
    values = np.linspace(-1, 1, levels)
    stored = rng.integers(0, levels, n)
    read = np.clip(values[stored] + width * rng.random(n) - width / 2, -1, 1)
    error = np.mean(np.abs(read[:, None] - values).argmin(1) != stored)
    expected = error_law(levels, width)
    assert abs(error - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)
    ends = stored % (levels - 1) == 0
    wrong = np.abs(read[:, None] - values).argmin(1) != stored
    s = 2 / (levels - 1)
    assert wrong[ends].mean() == pytest.approx(max(0, 1 - s / width) / 2, abs=0.02)
    if levels > 2:
        assert wrong[~ends].mean() == pytest.approx(max(0, 1 - s / width), abs=0.02)


def test_the_closed_form_and_the_network(monkeypatch):
    monkeypatch.setattr("holdfast.claims.anchors.error_law.SEEDS", 1)
    cells = list(observed(777))
    assert len(cells) == 25
    assert all(cell[-1] for cell in cells)
    assert {width: got for levels, width, _, got, _ in cells if levels == 3}[1.0] == 0.0, "three levels, on the edge"


class Layer(nn.Module):
    """One layer as anybody would write it: a linear map, noise, and ramps of ReLU units."""

    def __init__(self, weights, levels, steepness):
        super().__init__()
        n, s = len(weights), 2 / (levels - 1)
        thresholds = -1 + (torch.arange(levels - 1) + 0.5) * s
        self.read, self.ramps, self.out = (
            nn.Linear(*sizes) for sizes in ((n, n), (1, 2 * levels - 2), (2 * levels - 2, 1))
        )
        with torch.no_grad():
            self.read.weight.copy_(weights)
            self.read.bias.fill_(-0.5)
            self.ramps.weight.fill_(steepness)
            self.ramps.bias.copy_(torch.cat([0.5 - steepness * thresholds, -0.5 - steepness * thresholds]))
            self.out.weight.copy_(torch.cat([torch.full((levels - 1,), s), torch.full((levels - 1,), -s)])[None])
            self.out.bias.fill_(-1.0)

    def forward(self, x, noise):
        z = (self.read(x) + noise).clamp(-1, 1)
        return self.out(torch.relu(self.ramps(z[..., None])))[..., 0]


@pytest.mark.parametrize("steepness", [8.0, 2.0**20])
def test_it_is_a_network_of_relus(steepness):
    recall = Recall(Memory(neurons=6, layers=3, steepness=steepness), 3, 50, SEED)
    stored, noise = next(recall.chunks())
    x = recall.memory.values(stored, 3)
    for weights, added, after in zip(
        recall.weights_DNN, noise, recall.recalled(recall.weights_DNN, stored, noise), strict=True
    ):
        x = Layer(weights, 3, steepness).double()(x, added)
        torch.testing.assert_close(x, after, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("memory", "bits"),
    [
        (Memory(), np.log2(3)),
        (Memory(width=2.0), 1.0),
        (Memory(width=2 / 3), 2.0),
        (Memory(inside=True), 1.0),
        (Memory(inside=True, width=2 / 3), np.log2(3)),
        (Memory(steepness=16.0), 1.0),
        (Memory(width=0.0), 3.0),
        (Memory(clipped=False), 3.0),
        (Memory(restored=False), 0.0),
    ],
    ids=repr,
)
def test_capacity(memory, bits):
    """As many levels as fit one noise width apart into the range, which the noise narrows where it counts."""
    assert Capacity(memory=memory, messages=200).measure(SEED)["bits"] == bits


@pytest.mark.parametrize(
    ("levels", "own", "width"), [(2, False, 1.0), (3, False, 1.0), (3, True, 1.0), (5, False, 1.0)]
)
def test_a_changed_weight_against_the_whole_network(levels, own, width):
    """The one path that is computed anew gives what the network with that weight gives."""
    memory, messages = Memory(neurons=7, layers=4, width=width), CHUNK + 50
    recall = Recall(memory, levels, messages, SEED)
    sample = Tolerance(memory=memory, levels=levels, messages=messages, weights=9, own=own)
    paths = _Paths(sample, recall)
    change = torch.tensor([0.0, 0.01, -0.2, 0.7, -1.0, 1.3, -0.5, 0.04, 2.0], dtype=torch.float64)
    shorter = paths.loss(change) - paths.loss(torch.zeros(9))
    for w in range(9):
        changed = recall.weights_DNN.clone()
        changed[paths.layer_W[w], paths.row_W[w], paths.column_W[w]] += change[w]
        loss = [0.0, 0.0]
        for i, weights in enumerate((changed, recall.weights_DNN)):
            for stored, noise in recall.chunks():
                *_, last = recall.recalled(weights, stored, noise)
                loss[i] += (memory.nearest(last, levels) - recall.expected(stored)).square().sum().item() / messages
        assert shorter[w].item() == pytest.approx(loss[0] - loss[1], abs=1e-9)
    assert (shorter != 0).any()


def test_tolerance():
    """Two levels leave half a noise width, three nothing; a change of an own weight outwards is clipped away."""

    def found(memory, levels, own=False):
        return Tolerance(memory=memory, levels=levels, messages=600, weights=16, own=own).measure(SEED)

    two, three = found(Memory(), 2), found(Memory(), 3)
    assert 0.5 < two["smallest"] < 0.55
    assert (two["raised_0.1"], two["raised_0.5"], two["lowered"]) == (0, 0, 0)
    assert three["smallest"] < 0.02
    assert three["raised"] > 0.9
    assert found(Memory(inside=True), 2)["smallest"] < 0.02
    own = found(Memory(), 2, own=True)
    assert (own["never"], own["raised_1"]) == (0.5, 0.5)
    assert found(Memory(width=2.0), 3)["smallest"] == 0, "errors without any change"
    assert found(Memory(width=2.0), 2)["smallest"] < 0.02, "in noise widths"
    assert two["raised"] + two["unchanged"] + two["lowered"] == pytest.approx(1)
