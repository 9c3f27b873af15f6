"""Redundancy: copies of all layers, and a majority vote on every output bit."""

from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.layers import Layers
from holdfast.circuits.netlist import Port, divided
from holdfast.errors import UsageError


def redundant(layers: Layers, copies: int) -> Layers:
    """`copies` networks side by side that share nothing but the inputs, and two more layers that take the majority.

    First each copy's bit goes through a ramp, relu(2 z + .5) - relu(2 z - .5) with z = bit - 1/2, so that a copy which
    is far off has one vote and no more; then the votes' sum through another with z = sum - copies / 2. That is
    2 copies + 2 units an output. If each copy's bit is wrong with probability p, independently, the majority is wrong
    with sum_(j > copies / 2) C(copies, j) p^j (1 - p)^(copies - j): 3 p^2 - 2 p^3 for three. The vote itself is not
    copied, and errs on its own.

    Raises:
        UsageError: an even number of copies, or less than 3.
    """
    if copies < 3 or copies % 2 == 0:
        raise UsageError(f"A majority needs an odd number of copies, 3 or more; got {copies}.")
    inputs, rows = layers.inputs, layers.rows
    # Stage by stage the copies one after the other, so that rows stay sorted.
    order = [(row, copy) for first, last in layers.stages for copy in range(copies) for row in range(first, last)]
    place = np.zeros((copies, rows), np.int64)
    for at, (row, copy) in enumerate(order):
        place[copy, row] = inputs + at

    def moved(of: NDArray[np.int64], copy: int) -> NDArray[np.int64]:
        """Where rows stand in a copy; inputs are everybody's."""
        within = place[copy][np.maximum(of - inputs, 0)] if rows else of
        return np.where(of < inputs, of, within)

    outputs = np.array([row for port in layers.output_ports for row in port.bits], np.int64)
    sums = [
        (moved(layers.indices[layers.starts[row] : layers.starts[row + 1]], copy),
         layers.weights[layers.starts[row] : layers.starts[row + 1]])
        for row, copy in order
    ]  # fmt: skip
    source = np.array([row for row, _ in order], np.int64)
    level, relu, bias, most = (values[source] for values in (layers.level, layers.relu, layers.bias, layers.most))
    bits = np.stack([moved(outputs, copy) for copy in range(copies)], 1)
    # Numbers of the new rows: two units a copy's bit, the vote that is their difference, two units, the result.
    first = inputs + len(sums)
    ballots = first + np.arange(2 * bits.size).reshape(-1, 2)
    votes = first + 2 * bits.size + np.arange(bits.size).reshape(bits.shape)
    counts = first + 3 * bits.size + np.arange(2 * len(outputs)).reshape(-1, 2)
    results = first + 3 * bits.size + 2 * len(outputs) + np.arange(len(outputs))
    sums += [(np.array([bit]), np.array([2.0])) for bit in bits.ravel() for _ in range(2)]
    sums += [(ballot, np.array([1.0, -1.0])) for ballot in ballots]
    sums += [(vote, np.full(copies, 2.0)) for vote in votes for _ in range(2)]
    sums += [(count, np.array([1.0, -1.0])) for count in counts]
    sizes = [len(of) for of, _ in sums]
    new = [2 * bits.size, bits.size, 2 * len(outputs), len(outputs)]
    return replace(
        layers,
        name=f"{copies} x {layers.name}",
        output_ports=tuple(Port(*port) for port in divided(layers.output_ports, results.tolist())),
        level=np.concatenate([level, np.repeat(layers.depth + np.array([1, 1, 2, 2]), new)]).astype(np.int32),
        relu=np.concatenate([relu, np.repeat([True, False, True, False], new)]),
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        indices=np.fromiter(chain.from_iterable(of for of, _ in sums), np.int64),
        weights=np.fromiter(chain.from_iterable(w for _, w in sums), np.float64),
        bias=np.concatenate(
            [bias, np.tile([-0.5, -1.5], bits.size), np.zeros(bits.size),
             np.tile([0.5 - copies, -0.5 - copies], len(outputs)), np.zeros(len(outputs))]
        ),
        most=np.concatenate([most, np.repeat([1.5, 1.0, copies + 0.5, 1.0], new)]),
    )  # fmt: skip
