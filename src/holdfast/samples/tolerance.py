"""What a change of a single weight of a memory does.

Shapes: B messages, D layers, N neurons, W weights, of which one at a time is changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from holdfast.samples.memory import Memory, Recall
from holdfast.training.streams import Streams

GRID = 2.0 ** (np.arange(-14 * 32, 32 + 1) / 32)
"""Sizes of a change that are tried, in noise widths: 2^-14 to 2, each 2 % above the one before."""
SIZES = (0.01, 0.1, 0.5, 1.0)
"""Sizes of the changes whose effect on the loss is counted, in noise widths."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Random single weights, each changed upwards and downwards, with the noise and the messages left as they are.

    `smallest`: mean over the weights of the smallest change on the grid, in noise widths, at which a neuron is recalled
    wrongly that was not before, in that direction in which it is smaller; by bisection, since with the noise left as it
    is errors only grow with the change. 0 where there are errors without any; 2, the end of the grid, where even that
    does nothing. `never`: share of the changes (weights and directions) of that kind.

    `raised`, `unchanged`, `lowered`: of changes of four sizes in both directions, the shares that do this to the loss,
    the mean squared difference between recalled and stored levels. `raised_S`: the same for one size.

    A change in row i of layer d moves neuron i there, and what reads it, one neuron a layer, so only those are computed
    anew (a test holds that to the whole network).

    When it misleads: a weight is one of N^2 D, so nearly all that are drawn are zeros of the permutations; `own` draws
    among the others. What is rarer than 1 in `messages` is not seen: of a change with no room left, `smallest` is about
    2 / messages. An unchanged loss is one that is unchanged on these messages.
    """

    memory: Memory
    levels: int
    messages: int
    weights: int
    own: bool = False
    """Whether weights are drawn among the ones of the permutations only."""

    @property
    def label(self) -> str:
        which = "own weights" if self.own else "weights"
        return f"change of {self.weights} single {which} at {self.levels} levels"

    def measure(self, streams: Streams) -> Mapping[str, float]:
        paths = _Paths(self, Recall(self.memory, self.levels, self.messages, streams))
        unit = self.memory.width or 1.0
        start_W = paths.loss(self._each(0.0))
        smallest_2W = torch.stack([self._smallest(paths, sign * unit) for sign in (1, -1)])
        smallest_2W[:, start_W > 0] = 0.0
        change_S2W = torch.stack(
            [torch.stack([paths.loss(self._each(sign * size * unit)) for sign in (1, -1)]) for size in SIZES]
        )
        change_S2W = change_S2W - start_W
        raised = {f"raised_{size:g}": _share(c > 0) for size, c in zip(SIZES, change_S2W, strict=True)}
        return {
            "smallest": float(smallest_2W.nan_to_num(nan=GRID[-1]).amin(0).mean()),
            "never": _share(smallest_2W.isnan()),
            "raised": _share(change_S2W > 0),
            "unchanged": _share(change_S2W == 0),
            "lowered": _share(change_S2W < 0),
            **raised,
        }

    def _each(self, change: float) -> Tensor:
        return torch.full((self.weights,), change, dtype=torch.float64)

    def _smallest(self, paths: "_Paths", unit: float) -> Tensor:
        """Of each weight, the smallest size on the grid that errs; NaN where none does."""
        grid = torch.from_numpy(GRID)
        safe_W, errs_W = torch.full((self.weights,), -1), torch.full((self.weights,), len(grid))
        while bool((errs_W - safe_W > 1).any()):
            middle_W = (safe_W + errs_W) // 2
            found_W = paths.loss(grid[middle_W.clamp(0, len(grid) - 1)] * unit) > 0
            open_W = errs_W - safe_W > 1
            errs_W = torch.where(open_W & found_W, middle_W, errs_W)
            safe_W = torch.where(open_W & ~found_W, middle_W, safe_W)
        return torch.where(errs_W < len(grid), grid[errs_W.clamp(max=len(grid) - 1)], torch.nan)


class _Paths:
    """The neurons that a change of one weight can reach, for each of W weights."""

    def __init__(self, sample: Tolerance, recall: Recall) -> None:
        self.memory, self.levels = recall.memory, recall.levels
        layers, neurons, count = self.memory.layers, self.memory.neurons, sample.weights
        rng = recall.streams.generator("weights", int(sample.own))
        self.layer_W, self.row_W, column_W = (
            torch.from_numpy(rng.integers(0, n, count)) for n in (layers, neurons, neurons)
        )
        read_W = recall.orders_DN[self.layer_W, self.row_W]
        self.column_W = read_W if sample.own else column_W
        path_DW = self.row_W.repeat(layers, 1)
        for layer in range(1, layers):
            inverse_N = recall.orders_DN[layer].argsort()
            path_DW[layer] = torch.where(layer > self.layer_W, inverse_N[path_DW[layer - 1]], self.row_W)
        parts: list[tuple[Tensor, ...]] = []
        for stored_BN, noise in recall.chunks():
            inputs = [self.memory.values(stored_BN, self.levels)]
            inputs += recall.recalled(recall.weights_DNN, stored_BN, noise)
            x_DBN = torch.stack(inputs[:-1])
            which = x_DBN[self.layer_W, :, read_W], x_DBN[self.layer_W, :, self.column_W]
            along_DWB = torch.stack([n[:, path_W].T for n, path_W in zip(noise, path_DW, strict=True)])
            parts.append((*which, recall.expected(stored_BN)[:, path_DW[-1]].T, along_DWB))
        self.sum_WB, self.other_WB, self.stored_WB, self.noise_DWB = (
            torch.cat(part, -1) for part in zip(*parts, strict=True)
        )

    def loss(self, change_W: Tensor) -> Tensor:
        """Mean squared difference, in levels, between what the last neuron of each path recalls and what was stored."""
        x_WB = self.sum_WB + change_W[:, None] * self.other_WB
        for layer, noise_WB in enumerate(self.noise_DWB):
            read_WB = self.memory.read(x_WB, noise_WB, self.levels)
            x_WB = torch.where((layer >= self.layer_W)[:, None], read_WB, x_WB)
        return (self.memory.nearest(x_WB, self.levels) - self.stored_WB).square().mean(-1)


def _share(hits: Tensor) -> float:
    return float(hits.double().mean())
