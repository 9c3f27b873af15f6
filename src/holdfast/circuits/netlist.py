"""The one netlist type: what every reader gives and every stage of the compiler takes.

A *literal* names a bit: 2 x node for a node's value, 2 x node + 1 for its inverse (AIGER's convention). Node 0 is
constant false, so literal 0 is false and 1 is true.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import printable

INPUT, AND, XOR, ADD = 0, 1, 2, 3
"""Kinds of node. Node 0, the constant, counts as an input that is in no port."""
FALSE, TRUE = 0, 1
MOST_INPUTS = 1 << 17
"""Input bits of a circuit, at most: more are a slip or a damaged file, and would fill the memory."""
Literals = tuple[int, ...]
V = TypeVar("V")


@dataclass(frozen=True)
class Port:
    """A named word of bits, least significant first."""

    name: str
    bits: Literals


@dataclass(frozen=True)
class Adder:
    """a + b + carry as one block; its bits are nodes of kind ADD, the last of them the carry out.

    Kept as a word because a layer of threshold units adds one at once, where full adders would take one layer a bit.
    """

    a: Literals
    b: Literals
    carry: int = FALSE

    @property
    def width(self) -> int:
        return len(self.a)

    def blocks(self, most: int) -> list[range]:
        """Its bits in stretches of so many at most, and as equal as can be: what one layer adds."""
        count = -(-self.width // most)
        small, more = divmod(self.width, count)
        edges = [small * i + min(i, more) for i in range(count + 1)]
        return [range(first, last) for first, last in pairwise(edges)]


@dataclass(frozen=True, eq=False)
class Netlist:
    """A combinational circuit: nodes in topological order, with input and output ports. Equal are those of equal
    content, so it can be a key.

    `kind`, `left` and `right` have one entry a node. Of AND and XOR, left and right are literals of earlier nodes. Of
    ADD, left is the number of an adder and right the bit of its sum (its width: the carry out); an adder's operands
    are earlier than any of its bits. Of inputs both are 0.
    """

    name: str
    kind: NDArray[np.uint8] = field(repr=False)
    left: NDArray[np.int32] = field(repr=False)
    right: NDArray[np.int32] = field(repr=False)
    adders: tuple[Adder, ...] = field(repr=False)
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __post_init__(self) -> None:
        """Names come out of files and go to terminals: nothing in them steers one."""
        object.__setattr__(self, "name", printable(self.name))
        for side in ("inputs", "outputs"):
            ports = tuple(Port(printable(port.name), port.bits) for port in getattr(self, side))
            object.__setattr__(self, side, ports)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Netlist) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @cached_property
    def _content(self) -> tuple[object, ...]:
        ports = self.name, self.adders, self.inputs, self.outputs
        return (*ports, *(part.tobytes() for part in (self.kind, self.left, self.right)))

    @property
    def nodes(self) -> int:
        return len(self.kind)

    @property
    def input_bits(self) -> Literals:
        """All input literals, port after port."""
        return tuple(bit for port in self.inputs for bit in port.bits)

    @property
    def output_bits(self) -> Literals:
        """All output literals, port after port."""
        return tuple(bit for port in self.outputs for bit in port.bits)

    @cached_property
    def gates(self) -> int:
        """Two-input gates, those of its adders included (5 a bit: two XOR, two AND, one OR)."""
        plain = int(((self.kind == AND) | (self.kind == XOR)).sum())
        return plain + sum(5 * adder.width for adder in self.adders)

    @cached_property
    def depth(self) -> int:
        """Nodes on the longest path from an input to an output; an adder counts as one."""
        levels = self.levels()
        return max((levels[bit >> 1] for bit in self.output_bits), default=0)

    def levels(self) -> list[int]:
        """Of each node, the nodes on the longest path to it."""
        level = [0] * self.nodes
        of_adder: dict[int, int] = {}
        for node, (kind, left, right) in enumerate(self.rows()):
            if kind == ADD:
                if left not in of_adder:
                    of_adder[left] = 1 + max(level[bit >> 1] for bit in operands(self.adders[left]))
                level[node] = of_adder[left]
            elif kind != INPUT:
                level[node] = 1 + max(level[left >> 1], level[right >> 1])
        return level

    def walk(
        self, values: dict[int, V], gate: Callable[[int, int, int, int], V], summed: Callable[[int], Sequence[V]]
    ) -> None:
        """Give every node its value, whatever stands for a bit; `values` holds those of the inputs.

        Args:
            values: by node, filled in place.
            gate: (node, kind, left, right) -> value of an AND or XOR.
            summed: number of an adder -> values of its sum's bits, the carry out last; asked once an adder.
        """
        sums: dict[int, Sequence[V]] = {}
        for node, (kind, left, right) in enumerate(self.rows()):
            if kind == ADD:
                if left not in sums:
                    sums[left] = summed(left)
                values[node] = sums[left][right]
            elif kind != INPUT:
                values[node] = gate(node, kind, left, right)

    def rows(self) -> "zip[tuple[int, int, int]]":
        """(kind, left, right) of each node, as plain numbers, which Python reads faster."""
        return zip(self.kind.tolist(), self.left.tolist(), self.right.tolist(), strict=True)


def divided(ports: Iterable[Port], bits: Iterable[int]) -> list[tuple[str, Literals]]:
    """Bits in the order of these ports, under the ports' names."""
    left = iter(bits)
    return [(port.name, tuple(islice(left, len(port.bits)))) for port in ports]


def operands(adder: Adder) -> Sequence[int]:
    """The literals that an adder reads."""
    return (*adder.a, *adder.b, adder.carry)
