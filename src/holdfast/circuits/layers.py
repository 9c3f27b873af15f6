"""Layers: a circuit as rows of sparse sums, with and without ReLU; what the compiler gives and the network runs.

A *row* is a number that is computed for each input: first the inputs, then, level by level, the *units* (ReLU of a sum
of earlier rows) and the *wires* (the sum itself, where several units read it). Rows read any earlier level: skip
connections are allowed, and counted.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.netlist import Port

MANTISSA = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
"""Bits of the integers that a dtype holds exactly."""


@dataclass(frozen=True)
class Layers:
    """Rows in the order in which they are computed, as a sparse matrix with one row each.

    Row r of the network is row `inputs + r` of all. Row r sums weights[j] x (row indices[j]) over
    starts[r] <= j < starts[r + 1], and bias[r].
    """

    name: str
    input_ports: tuple[Port, ...]
    """Bits are row numbers."""
    output_ports: tuple[Port, ...]
    inputs: int
    level: NDArray[np.int32] = field(repr=False)
    relu: NDArray[np.bool_] = field(repr=False)
    starts: NDArray[np.int64] = field(repr=False)
    indices: NDArray[np.int64] = field(repr=False)
    weights: NDArray[np.float64] = field(repr=False)
    bias: NDArray[np.float64] = field(repr=False)
    most: NDArray[np.float64] = field(repr=False)
    """Largest value of each row on Boolean inputs."""

    def check(self) -> None:
        """Whether this is a matrix of rows that read earlier ones, as a file might not be.

        Raises:
            ValueError: what is wrong.
        """
        rows, counts = self.rows, np.diff(self.starts)
        lengths = {len(self.level), len(self.relu), len(self.starts) - 1, rows}
        if len(lengths) > 1 or self.starts[0] != 0 or (counts < 0).any() or self.starts[-1] != len(self.indices):
            raise ValueError("rows and their stretches do not fit together")
        if len(self.indices) != len(self.weights):
            raise ValueError(f"{len(self.weights)} weights for {len(self.indices)} connections")
        stage = np.zeros(rows, np.int64)
        for first, last in self.stages:
            stage[first:last] = first
        if (self.indices < 0).any() or (self.indices >= self.inputs + np.repeat(stage, counts)).any():
            raise ValueError("a row reads one that is computed later")
        bits = [bit for port in (*self.input_ports, *self.output_ports) for bit in port.bits]
        if not all(isinstance(bit, int) and 0 <= bit < self.inputs + rows for bit in bits):
            raise ValueError("a port names a row that is not there")

    @property
    def rows(self) -> int:
        return len(self.bias)

    @property
    def neurons(self) -> int:
        """ReLU units."""
        return int(self.relu.sum())

    @property
    def wires(self) -> int:
        """Rows without ReLU: linear read-outs that several units read. A wider matrix would do without them."""
        return self.rows - self.neurons

    @property
    def depth(self) -> int:
        """Layers of units."""
        return int(self.level.max(initial=0))

    @property
    def connections(self) -> int:
        """Weights that are not structurally zero."""
        return len(self.weights)

    @cached_property
    def stages(self) -> list[tuple[int, int]]:
        """Runs of rows that are computed together: (first, one past the last), the units of a level, then its wires,
        and those that read other wires of the level behind them."""
        if not self.rows:
            return []
        change = np.flatnonzero((np.diff(self.level) != 0) | (np.diff(self.relu.astype(np.int8)) != 0)) + 1
        latest = np.zeros(self.rows, np.int64)
        np.maximum.at(latest, np.repeat(np.arange(self.rows), np.diff(self.starts)), self.indices - self.inputs)
        edges = [0]
        for last in [*change.tolist(), self.rows]:
            while (late := latest[edges[-1] + 1 : last] >= edges[-1]).any():
                edges.append(edges[-1] + 1 + int(late.argmax()))
            edges.append(last)
        return list(itertools.pairwise(edges))

    @cached_property
    def pass_throughs(self) -> int:
        """Units that a network without skip connections would need beside: each row carried to the last level that
        reads it."""
        at = np.concatenate([np.zeros(self.inputs, np.int32), self.level])
        last = at.copy()
        readers = np.repeat(self.level, np.diff(self.starts))
        np.maximum.at(last, self.indices, readers)
        for port in self.output_ports:
            last[list(port.bits)] = self.depth
        return int(np.maximum(last - at - 1, 0).sum())

    @cached_property
    def bound(self) -> float:
        """Largest partial sum that any row can meet on Boolean inputs, in units of the finest step of weights and
        biases. A dtype whose integers reach it computes every row exactly, in whatever order it sums."""
        if not self.rows:
            return 1.0
        most = np.concatenate([np.ones(self.inputs), self.most])
        rows = np.repeat(np.arange(self.rows), np.diff(self.starts))
        sums = np.bincount(rows, np.abs(self.weights) * most[self.indices], self.rows) + np.abs(self.bias)
        return float(sums.max()) / _finest(np.concatenate([self.weights, self.bias]))

    def exact_in(self, dtype: str) -> bool:
        """Whether every sum is exact in this dtype."""
        return self.bound <= 2.0 ** MANTISSA[dtype]

    def record(self) -> Mapping[str, int | float]:
        """What `holdfast compile` says of it."""
        return {
            "neurons": self.neurons,
            "wires": self.wires,
            "layers": self.depth,
            "weights": self.connections,
            "pass_throughs": self.pass_throughs,
            "bound": self.bound,
        }


def _finest(values: NDArray[np.float64]) -> float:
    """The largest power of two of which all are multiples."""
    step = 1.0
    while np.any(values % step):
        step /= 2
    return step
