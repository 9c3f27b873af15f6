"""Putting a netlist together, a gate at a time; what can be known at once is not built."""

from collections.abc import Iterable, Sequence

import numpy as np

from holdfast.circuits.netlist import (
    ADD,
    AND,
    FALSE,
    INPUT,
    MOST_INPUTS,
    TRUE,
    XOR,
    Adder,
    Netlist,
    Port,
    operands,
)
from holdfast.errors import UsageError


class Builder:
    """Gates with constants folded and equal gates shared (structural hashing)."""

    def __init__(self) -> None:
        self._kind, self._left, self._right = [INPUT], [0], [0]
        self._known: dict[tuple[int, int, int], int] = {}
        self._adders: list[Adder] = []
        self._sums: dict[Adder, list[int]] = {}
        self._inputs: list[Port] = []
        self._given = 0

    def input(self, name: str, width: int) -> list[int]:
        """A new input port; its literals, least significant first.

        Raises:
            UsageError: more bits in all than `MOST_INPUTS`.
        """
        self._given += width
        if self._given > MOST_INPUTS:
            raise UsageError(
                f"A circuit has up to {MOST_INPUTS:,} bits in; with {name} of {width:,} it would have "
                f"{self._given:,}. Cut it into smaller circuits."
            )
        bits = [self._node(INPUT, 0, 0) for _ in range(width)]
        self._inputs.append(Port(name, tuple(bits)))
        return bits

    def both(self, x: int, y: int) -> int:
        """x AND y."""
        if x == y:
            return x
        if FALSE in (x, y) or x == y ^ 1:
            return FALSE
        if TRUE in (x, y):
            return y if x == TRUE else x
        return self._gate(AND, min(x, y), max(x, y))

    def either(self, x: int, y: int) -> int:
        """x OR y."""
        return self.both(x ^ 1, y ^ 1) ^ 1

    def differ(self, x: int, y: int) -> int:
        """x XOR y."""
        inverted, x, y = (x ^ y) & 1, x & ~1, y & ~1
        if x == y:
            return inverted
        if FALSE in (x, y):
            return (x or y) ^ inverted
        return self._gate(XOR, min(x, y), max(x, y)) ^ inverted

    def any(self, bits: Iterable[int]) -> int:
        """Whether one of the bits is true, as a tree."""
        left = list(bits)
        while len(left) > 1:
            pairs = zip(left[::2], left[1::2], strict=False)
            left = [self.either(x, y) for x, y in pairs] + left[len(left) & ~1 :]
        return left[0] if left else FALSE

    def every(self, bits: Iterable[int]) -> int:
        """Whether all of the bits are true."""
        return self.any(bit ^ 1 for bit in bits) ^ 1

    def choose(self, which: int, yes: int, no: int) -> int:
        """yes where `which` is true, else no."""
        if yes == no:
            return yes
        if yes == no ^ 1:
            return self.differ(which, no)
        return self.either(self.both(which, yes), self.both(which ^ 1, no))

    def most(self, x: int, y: int, z: int) -> int:
        """Whether two or more of three are true."""
        return self.either(self.both(x, y), self.both(z, self.either(x, y)))

    def add(self, a: Sequence[int], b: Sequence[int], carry: int = FALSE) -> list[int]:
        """a + b + carry: one bit more than a and b have, the carry out last.

        Low bits where nothing can carry are wires, and a word of one bit is two gates.
        """
        low: list[int] = []
        a, b = list(a), list(b)
        while a and FALSE in (a[0], b[0]) and carry == FALSE:
            low.append(self.differ(a.pop(0), b.pop(0)))
        if len(a) < 2 or all(bit in (FALSE, TRUE) for bit in (*a, *b)):
            for x, y in zip(a, b, strict=True):
                low.append(self.differ(self.differ(x, y), carry))
                carry = self.most(x, y, carry)
            return [*low, carry]
        adder = Adder(tuple(a), tuple(b), carry)
        if adder not in self._sums:
            self._adders.append(adder)
            number = len(self._adders) - 1
            self._sums[adder] = [self._node(ADD, number, bit) for bit in range(adder.width + 1)]
        return low + self._sums[adder]

    def netlist(self, name: str, outputs: Iterable[tuple[str, Sequence[int]]]) -> Netlist:
        """The circuit of these outputs, without what none of them needs (inputs stay)."""
        ports = tuple(Port(port, tuple(bits)) for port, bits in outputs)
        whole = Netlist(
            name=name,
            kind=np.array(self._kind, np.uint8),
            left=np.array(self._left, np.int32),
            right=np.array(self._right, np.int32),
            adders=tuple(self._adders),
            inputs=tuple(self._inputs),
            outputs=ports,
        )
        return trimmed(whole)

    def _gate(self, kind: int, x: int, y: int) -> int:
        key = kind, x, y
        if key not in self._known:
            self._known[key] = self._node(kind, x, y)
        return self._known[key]

    def _node(self, kind: int, left: int, right: int) -> int:
        self._kind.append(kind)
        self._left.append(left)
        self._right.append(right)
        return 2 * (len(self._kind) - 1)


def trimmed(netlist: Netlist) -> Netlist:
    """The same circuit without nodes that no output needs. Inputs stay, and so do adders of which one bit is needed."""
    kind, left, right = netlist.kind.tolist(), netlist.left.tolist(), netlist.right.tolist()
    needed, used = [False] * len(kind), set[int]()
    for bit in (FALSE, *netlist.input_bits, *netlist.output_bits):
        needed[bit >> 1] = True
    for node in range(len(kind) - 1, -1, -1):
        if needed[node] and kind[node] == ADD:
            if left[node] not in used:
                used.add(left[node])
                for bit in operands(netlist.adders[left[node]]):
                    needed[bit >> 1] = True
        elif needed[node] and kind[node] != INPUT:
            needed[left[node] >> 1] = needed[right[node] >> 1] = True
    number, count = [0] * len(kind), 0
    for node, stays in enumerate(needed):
        number[node] = count
        count += stays

    def moved(literals: Iterable[int]) -> tuple[int, ...]:
        return tuple(2 * number[bit >> 1] | bit & 1 for bit in literals)

    place = {adder: i for i, adder in enumerate(sorted(used))}
    rows = [
        (k, place[x], y) if k == ADD else (k, *moved((x, y)))
        for k, x, y, stays in zip(kind, left, right, needed, strict=True)
        if stays
    ]
    columns = np.array(rows, np.int32).reshape(-1, 3)
    return Netlist(
        name=netlist.name,
        kind=columns[:, 0].astype(np.uint8),
        left=columns[:, 1].copy(),
        right=columns[:, 2].copy(),
        adders=tuple(
            Adder(moved(adder.a), moved(adder.b), moved((adder.carry,))[0])
            for adder in (netlist.adders[i] for i in place)
        ),
        inputs=tuple(Port(port.name, moved(port.bits)) for port in netlist.inputs),
        outputs=tuple(Port(port.name, moved(port.bits)) for port in netlist.outputs),
    )
