"""The oracle: a circuit evaluated on many inputs at once, one bit a lane.

Shapes: N inputs, I input bits, O output bits.
"""

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.netlist import ADD, AND, INPUT, Adder, Netlist
from holdfast.errors import UsageError

LANES = 8192
"""Inputs that are evaluated at once. A node's values are one Python integer, an input a bit."""


def simulate(netlist: Netlist, bits_NI: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """bits_NO of the outputs, port after port, least significant bit first.

    Every node is one operation on integers of `LANES` bits: nothing here is shared with what it checks, the compiled
    network.

    Raises:
        UsageError: not as many bits as the circuit has inputs.
    """
    bits_NI = np.asarray(bits_NI, dtype=np.bool_)
    expected = len(netlist.input_bits)
    if bits_NI.ndim != 2 or bits_NI.shape[1] != expected:
        raise UsageError(f"{netlist.name} takes bits of shape (N, {expected}); got {bits_NI.shape}.")
    parts = [_lanes(netlist, bits_NI[at : at + LANES]) for at in range(0, len(bits_NI), LANES)]
    return np.concatenate(parts) if parts else np.zeros((0, len(netlist.output_bits)), np.bool_)


def _lanes(netlist: Netlist, bits_NI: NDArray[np.bool_]) -> NDArray[np.bool_]:
    count = len(bits_NI)
    ones = (1 << count) - 1
    packed_IN = np.packbits(bits_NI.T, axis=1, bitorder="little")
    values = [0] * netlist.nodes
    for bit, row in zip(netlist.input_bits, packed_IN, strict=True):
        values[bit >> 1] = int.from_bytes(row.tobytes(), "little")

    def of(literal: int) -> int:
        value = values[literal >> 1]
        return value ^ ones if literal & 1 else value

    def summed(adder: Adder) -> list[int]:
        carry, bits = of(adder.carry), []
        for x, y in zip(map(of, adder.a), map(of, adder.b), strict=True):
            bits.append(x ^ y ^ carry)
            carry = x & y | carry & (x ^ y)
        return [*bits, carry]

    sums: dict[int, list[int]] = {}
    for node, (kind, left, right) in enumerate(netlist.rows()):
        if kind == INPUT:
            continue
        if kind == ADD:
            if left not in sums:
                sums[left] = summed(netlist.adders[left])
            values[node] = sums[left][right]
        else:
            x, y = of(left), of(right)
            values[node] = x & y if kind == AND else x ^ y
    size = -(-count // 8)
    rows = [np.frombuffer(of(bit).to_bytes(size, "little"), np.uint8) for bit in netlist.output_bits]
    if not rows:
        return np.zeros((count, 0), np.bool_)
    return np.unpackbits(np.stack(rows), axis=1, count=count, bitorder="little").T.astype(np.bool_)


def words(bits_NB: NDArray[np.bool_]) -> list[int]:
    """Each row of bits, least significant first, as a number."""
    return [int.from_bytes(np.packbits(row, bitorder="little").tobytes(), "little") for row in bits_NB]


def bits(numbers: list[int], width: int) -> NDArray[np.bool_]:
    """Numbers as rows of bits, least significant first."""
    size = -(-width // 8)
    rows = [np.frombuffer(number.to_bytes(size, "little"), np.uint8) for number in numbers]
    return np.unpackbits(np.stack(rows), axis=1, count=width, bitorder="little").astype(np.bool_)
