"""Layers -> chain: the same circuit without skipping layers, as a perceptron or the blocks of a transformer hold it.

Shapes: S signals before a level, R after it, U units.

Signal 0 is *live*: 1 where the circuit is asked something, 0 where it is not. All constants are multiples of it, so
where it is 0 and no input speaks every unit is off and every signal 0, exactly: the circuit is silent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.layers import Layers

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """units = relu(reads @ signals - 1/2); signals after it = gives @ units. Unit 0 and signal 0 are live."""

    reads_US: Matrix
    gives_RU: Matrix

    @property
    def units(self) -> int:
        return len(self.reads_US)


@dataclass(frozen=True)
class Chain:
    """Levels one after the other; the last one's signals are live and the circuit's outputs."""

    first_SI: Matrix
    """Signals before the first level, from live and the inputs."""
    levels: tuple[Level, ...]

    @property
    def depth(self) -> int:
        return len(self.levels)

    def signals(self, bits_NI: NDArray[np.bool_], live: float = 1.0) -> list[Matrix]:
        """Signals before the first level and after each, (N, S); the last are live and the outputs."""
        found = [np.column_stack([np.full(len(bits_NI), live), bits_NI * live]) @ self.first_SI.T]
        for level in self.levels:
            found.append(np.maximum(found[-1] @ level.reads_US.T - 0.5, 0) @ level.gives_RU.T)
        return found


def chain(layers: Layers, depth: int, *, ramps: bool) -> Chain:
    """Layers as levels that read the level before and nothing else, with units that carry what is read later.

    A carried value v >= 0 is relu(v + live / 2), which is never on its kink, less live / 2; with `ramps`, bits are
    carried by two units, which bring them back to 0 and 1 on every level.

    Args:
        layers: a circuit.
        depth: levels that there are to be, the circuit's own or more; its outputs are carried to the last.
        ramps: whether carrying a bit restores it.

    Raises:
        ValueError: fewer levels than the circuit has.
    """
    if depth < layers.depth:
        raise ValueError(f"{layers.name} has {layers.depth} levels, more than {depth}")
    return _Chaining(layers, max(depth, 1), ramps).run()


class _Chaining:
    def __init__(self, layers: Layers, depth: int, ramps: bool) -> None:
        self.layers, self.depth, self.ramps = layers, depth, ramps
        self.level = np.concatenate([np.zeros(layers.inputs, np.int64), layers.level])
        self.relu = np.concatenate([np.zeros(layers.inputs, bool), layers.relu])
        self.outputs = [row for port in layers.output_ports for row in port.bits]
        self.until = self._until()

    def _until(self) -> NDArray[np.int64]:
        """The last level after which each row must be there: the one before that where it is read."""
        until = np.full(len(self.level), -1)
        for row in range(self.layers.inputs, len(self.level)):
            read = self._terms(row)[0]
            np.maximum.at(until, read, self.level[row] - 1)
        until[self.outputs] = self.depth
        return until

    def _terms(self, row: int) -> tuple[NDArray[np.int64], Matrix, float]:
        """What a row reads, by what weights, and its bias."""
        at = row - self.layers.inputs
        stretch = slice(int(self.layers.starts[at]), int(self.layers.starts[at + 1]))
        return self.layers.indices[stretch], self.layers.weights[stretch], float(self.layers.bias[at])

    def run(self) -> Chain:
        signals = self._after(0)
        first = np.zeros((len(signals) + 1, self.layers.inputs + 1))
        first[0, 0] = 1
        for at, row in enumerate(signals, 1):
            if row < self.layers.inputs:
                first[at, row + 1] = 1
            else:  # an inverted input, say
                read, weights, bias = self._terms(row)
                first[at, read + 1], first[at, 0] = weights, bias
        levels = []
        for number in range(1, self.depth + 1):
            level, signals = self._level(number, signals)
            levels.append(level)
        return Chain(first, tuple(levels))

    def _after(self, number: int) -> list[int]:
        """Rows that must be there after a level; after the last, the outputs in their order."""
        if number == self.depth:
            return self.outputs
        there = (self.level <= number) & (self.until >= number)
        return np.flatnonzero(there).tolist()

    def _level(self, number: int, before: list[int]) -> tuple[Level, list[int]]:
        place = {row: at for at, row in enumerate(before, 1)}
        after = self._after(number)
        fresh = np.flatnonzero((self.level == number) & self.relu).tolist()
        wires = [row for row in after if self.level[row] == number and not self.relu[row]]
        needed = {int(read) for wire in wires for read in self._terms(wire)[0]}
        carried = sorted(row for row in {*after, *needed} if self.level[row] < number)
        width = len(before) + 1
        reads = [self._read(width, {}, 1.0)]
        units: dict[int, list[tuple[int, float]]] = {}
        for row in fresh:
            read, weights, bias = self._terms(row)
            units[row] = [(len(reads), 1.0)]
            reads.append(self._read(width, {place[int(r)]: w for r, w in zip(read, weights, strict=True)}, bias))
        for row in carried:
            if self.ramps and not self.relu[row]:  # inputs and wires are bits, units need not be
                units[row] = [(len(reads), 1.0), (len(reads) + 1, -1.0)]
                reads += [self._read(width, {place[row]: 2.0}, bias) for bias in (-0.5, -1.5)]
            else:
                units[row] = [(len(reads), 1.0), (0, -0.5)]
                reads.append(self._read(width, {place[row]: 1.0}, 0.5))
        gives = np.zeros((len(after) + 1, len(reads)))
        gives[0, 0] = 1
        for at, row in enumerate(after, 1):
            if row in units:
                parts = [(1.0, units[row])]
            else:
                read, weights, bias = self._terms(row)
                parts = [(bias, [(0, 1.0)])] + [(w, units[int(r)]) for r, w in zip(read, weights, strict=True)]
            for weight, sums in parts:
                for unit, c in sums:
                    gives[at, unit] += weight * c
        return Level(np.stack(reads), gives), after

    @staticmethod
    def _read(width: int, weights: dict[int, float], bias: float) -> Matrix:
        """A unit's weights on signals: where live is 1 its sum is as in the layers, where all is 0 it is -1/2."""
        row = np.zeros(width)
        for at, weight in weights.items():
            row[at] = weight
        row[0] += bias + 0.5
        return row
