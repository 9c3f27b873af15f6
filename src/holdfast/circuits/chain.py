"""Layers -> chain: the same circuit without skipping layers, as a perceptron or the blocks of a transformer hold it.

Shapes: S signals before a level, R after it, U units.

Signal 0 is *live*: 1 where the circuit is asked something, 0 where it is not. All constants are multiples of it, so
where it is 0 and no input speaks every unit is off and every signal 0, exactly: the circuit is silent.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.layers import Layers

Matrix = NDArray[np.float64]
Sum = list[tuple[int, float]]
"""Units and their coefficients."""


@dataclass(frozen=True)
class Level:
    """units = relu(reads @ signals + bias); signals after it = gives @ units. Signal 0 is live."""

    reads_US: Matrix
    bias_U: Matrix
    """-1/2, or -3/2."""
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

    @property
    def sums(self) -> list[Matrix]:
        """What each level's units sum: the first of live and the inputs, the others of the units before them."""
        later = (after.reads_US @ before.gives_RU for before, after in pairwise(self.levels))
        return [self.levels[0].reads_US @ self.first_SI, *later]

    def signals(self, bits_NI: NDArray[np.bool_], live: float = 1.0) -> list[Matrix]:
        """Signals before the first level and after each, (N, S); the last are live and the outputs."""
        found = [np.column_stack([np.full(len(bits_NI), live), bits_NI * live]) @ self.first_SI.T]
        for level in self.levels:
            found.append(np.maximum(found[-1] @ level.reads_US.T + level.bias_U, 0) @ level.gives_RU.T)
        return found


def chain(layers: Layers, depth: int, *, ramps: bool) -> Chain:
    """Layers as levels that read the level before and nothing else, with units that carry what is read later.

    A carried value v >= 0 is relu(v + live / 2), which is never on its kink, less live / 2; with `ramps`, bits are
    carried by two units, which bring them back to 0 and 1 on every level.

    Args:
        layers: a circuit.
        depth: levels that there are to be, the circuit's own or more; its outputs are carried to the last.
        ramps: whether carrying a bit, or live, restores it.

    Raises:
        ValueError: fewer levels than the circuit has.
    """
    if depth < layers.depth:
        raise ValueError(f"{layers.name} has {layers.depth} levels, more than {depth}")
    return _Chaining(layers, max(depth, 1), ramps).run()


def in_clipped_units(ramps: Chain) -> Chain:
    """A chain of ramps in units that give min(relu(z), 1): relu(z) - relu(z - 1), two units, becomes one.

    Every unit is then at -1/2 or below, or at 3/2 or above, and gives a bit, 0 or 1.

    Raises:
        ValueError: a unit that is no half of a ramp.
    """
    levels = []
    for level in ramps.levels:
        first, second = slice(0, None, 2), slice(1, None, 2)
        alike = np.array_equal(level.reads_US[first], level.reads_US[second])
        if not (
            alike
            and np.array_equal(level.bias_U[first], level.bias_U[second] + 1)
            and np.array_equal(level.gives_RU[:, first], -level.gives_RU[:, second])
        ):
            raise ValueError("expected ramps of two units each, one after the other")
        levels.append(Level(level.reads_US[first], level.bias_U[first], level.gives_RU[:, first]))
    return Chain(ramps.first_SI, tuple(levels))


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
        units = _Units(len(before) + 1)
        live = units.ramp(0) if self.ramps else [(units.add({0: 1.0}, 0.0), 1.0)]
        told: dict[int, Sum] = {}
        for row in fresh:
            read, weights, bias = self._terms(row)
            told[row] = [(units.add({place[int(r)]: w for r, w in zip(read, weights, strict=True)}, bias), 1.0)]
        for row in carried:
            if self.ramps and not self.relu[row]:  # inputs and wires are bits, units need not be
                told[row] = units.ramp(place[row])
            else:
                told[row] = [(units.add({place[row]: 1.0}, 0.5), 1.0), *((unit, -0.5 * c) for unit, c in live)]
        gives = np.zeros((len(after) + 1, len(units.rows)))
        for at, parts in enumerate([[(1.0, live)], *(self._parts(row, told, live) for row in after)]):
            for weight, sums in parts:
                for unit, c in sums:
                    gives[at, unit] += weight * c
        return Level(np.stack(units.rows), np.array(units.biases), gives), after

    def _parts(self, row: int, told: dict[int, Sum], live: Sum) -> list[tuple[float, Sum]]:
        """A row as a sum over units."""
        if row in told:
            return [(1.0, told[row])]
        read, weights, bias = self._terms(row)
        return [(bias, live), *((w, told[int(r)]) for r, w in zip(read, weights, strict=True))]


class _Units:
    """Units of a level, as they are made."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[Matrix] = []
        self.biases: list[float] = []

    def add(self, weights: dict[int, float], bias: float) -> int:
        """A unit whose sum is as in the layers where live is 1, and -1/2 or -3/2 where all is 0.

        Of the two units of a ramp, whose biases are odd and even and a half, both read live by the same weight, so that
        where the ramp is flat no gradient reaches live either.
        """
        row = np.zeros(self.width)
        for at, weight in weights.items():
            row[at] = weight
        own = -1.5 if (bias + 0.5) % 2 == 1 else -0.5
        row[0] += bias - own
        self.rows.append(row)
        self.biases.append(own)
        return len(self.rows) - 1

    def ramp(self, at: int) -> Sum:
        """Two units that bring a bit back to 0 and 1: relu(2 v - 1/2) - relu(2 v - 3/2)."""
        return [(self.add({at: 2.0}, -0.5), 1.0), (self.add({at: 2.0}, -1.5), -1.0)]
