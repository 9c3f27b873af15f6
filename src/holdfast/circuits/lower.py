"""Pieces -> layers: what gives each piece and every adder becomes ReLU units and sums of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from holdfast.circuits.decompose import Units
from holdfast.circuits.layers import Layers
from holdfast.circuits.netlist import ADD, Adder, Port, divided, operands
from holdfast.circuits.pieces import Decompose, Pieces

LONGEST = 16
"""Terms of a sum up to which it may be written out where it is read."""
SUM3, CARRY3 = 0b10010110, 0b11101000
"""Tables of a full adder."""


@dataclass(frozen=True)
class Form:
    """A bit as a sum over rows: `constant` + sum of coefficient x row."""

    terms: dict[int, float]
    constant: float

    def inverted(self) -> "Form":
        return Form({row: -c for row, c in self.terms.items()}, 1 - self.constant)


def total(parts: Iterable[tuple[float, Form]], constant: float = 0.0) -> Form:
    """A weighted sum of forms."""
    terms: dict[int, float] = {}
    for weight, form in parts:
        constant += weight * form.constant
        for row, c in form.terms.items():
            terms[row] = terms.get(row, 0.0) + weight * c
    return Form({row: c for row, c in terms.items() if c}, constant)


class Lowering:
    """Rows as they are made; sorted by level at the end."""

    def __init__(self, pieces: Pieces, decompose: Decompose, adder_bits: int, *, wired: bool) -> None:
        self.pieces, self.decompose, self.adder_bits, self.wired = pieces, decompose, adder_bits, wired
        self.netlist = pieces.netlist
        self.inputs = {bit >> 1: row for row, bit in enumerate(self.netlist.input_bits)}
        self.level = [0] * len(self.inputs)
        self.relu: list[bool] = []
        self.wave: list[int] = []
        """Of wires: 1 for those that read other wires of their level."""
        self.sums: list[Form] = []
        self.most: list[float] = []
        self._known: dict[tuple[tuple[tuple[int, float], ...], float, int], int] = {}
        self._forms = {node: Form({row: 1.0}, 0.0) for node, row in self.inputs.items()}
        self._forms[0] = Form({}, 0.0)
        self._uses = self._count_uses()
        self._bits: dict[int, dict[int, int]] = {}
        for node, (kind, adder, bit) in enumerate(self.netlist.rows()):
            if kind == ADD:
                self._bits.setdefault(adder, {})[bit] = node

    def run(self) -> Layers:
        """All rows."""
        rows = list(self.netlist.rows())
        needed = set(self.pieces.adders)
        built: set[int] = set()
        for node in sorted({*self.pieces.units, *(node for adder in needed for node in self._bits[adder].values())}):
            kind, left, _ = rows[node]
            if kind != ADD:
                leaves, units = self.pieces.units[node]
                self._forms[node] = self._kept(
                    self._table(units, [self._forms[leaf] for leaf in leaves]), self._uses[node]
                )
            elif left not in built:
                built.add(left)
                self._add(left)
        outputs = [self._row(self.form(bit)) for bit in self.netlist.output_bits]
        return self._sorted(outputs)

    def form(self, literal: int) -> Form:
        """A literal's sum."""
        form = self._forms[literal >> 1]
        return form.inverted() if literal & 1 else form

    def _table(self, units: Units, leaves: list[Form]) -> Form:
        parts = [(weight, leaf) for weight, leaf in zip(units.direct, leaves, strict=True) if weight]
        level = self._level(leaves)
        for weights, bias, read in zip(units.weights, units.biases, units.reads, strict=True):
            read_by = [(w, leaf) for w, leaf in zip(weights, leaves, strict=True) if w]
            most = bias + sum(w for w in weights if w > 0)
            parts.append((read, self._unit(total(read_by, bias), most, level)))
        return total(parts, units.constant)

    def _level(self, leaves: Iterable[Form]) -> int:
        """The level that units of a table must stand on: where every bit is to be a row, all on one, since what is
        carried from a lower one would be no bit."""
        return 1 + max((self.level[row] for leaf in leaves for row in leaf.terms), default=0) if self.wired else 0

    def _unit(self, z: Form, most: float, level: int) -> Form:
        """relu of a sum, which is `most` at most, as a row on this level or above; equal ones are shared."""
        if not z.terms:
            return Form({}, max(z.constant, 0.0))
        key = tuple(sorted(z.terms.items())), z.constant, level
        if key not in self._known:
            self._known[key] = self._new(z, relu=True, level=level)
            self.most.append(max(0.0, most))
        return Form({self._known[key]: 1.0}, 0.0)

    def _new(self, z: Form, *, relu: bool, level: int = 0, wave: int = 0) -> int:
        self.wave.append(wave)
        self.level.append(max(level, max(self.level[row] for row in z.terms) + relu) if z.terms else 0)
        self.relu.append(relu)
        self.sums.append(z)
        return len(self.level) - 1

    def _row(self, form: Form) -> int:
        """A row that is this sum."""
        if form.constant == 0 and list(form.terms.values()) == [1.0]:
            return next(iter(form.terms))
        return self._wire(form)

    def _wire(self, form: Form, most: float = 1.0, wave: int = 0) -> int:
        """A new row that is this sum, `most` at most. Wires of a level and a wave are computed at once, so of each
        other they read the sums."""
        level = max((self.level[row] for row in form.terms), default=0)
        first = len(self.inputs)

        def at_once(row: int) -> bool:
            own = row - first
            return own >= 0 and not self.relu[own] and self.level[row] == level and self.wave[own] >= wave

        parts = [
            (c, self.sums[row - first] if at_once(row) else Form({row: 1.0}, 0.0)) for row, c in form.terms.items()
        ]
        self.most.append(most)
        return self._new(total(parts, form.constant), relu=False, wave=wave)

    def _kept(self, form: Form, uses: int) -> Form:
        """The sum itself, or a wire that is it, whichever takes fewer weights."""
        size = len(form.terms)
        if not self.wired and (size < 2 or (size * uses <= size + uses and size <= LONGEST)):
            return form
        return Form({self._wire(form): 1.0}, 0.0)

    def _add(self, number: int) -> None:
        """An adder, in blocks of `adder_bits`; the carry of each goes into the next."""
        adder, nodes = self.netlist.adders[number], self._bits[number]
        carry = self.form(adder.carry)
        for block in adder.blocks(self.adder_bits):
            # What the next block adds it to are two sums a bit, and the lowest bit itself.
            carry = self._kept(self._block(adder, nodes, block.start, len(block), carry), 1 + 2 * len(block))
        if adder.width in nodes:
            self._forms[nodes[adder.width]] = self._kept(carry, self._uses[nodes[adder.width]])

    def _block(self, adder: Adder, nodes: dict[int, int], at: int, width: int, carry: Form) -> Form:
        """Bits at, ..., at + width - 1. Carry i is a ramp on sum_j<=i 2^j (a_j + b_j) + carry, up at 2^(i+1)."""
        low = [(2.0, carry)]
        words = [(self.form(adder.a[at + i]), self.form(adder.b[at + i])) for i in range(width)]
        level = self._level([carry, *(bit for pair in words for bit in pair)])
        for i, (x, y) in enumerate(words):
            if width == 1:
                bit, after = (self._table(self.decompose(table, 3), [x, y, carry]) for table in (SUM3, CARRY3))
            else:
                low += [(2.0 ** (i + 1), x), (2.0 ** (i + 1), y)]
                z, half = total(low), 2.0 ** (i + 2)
                most = 2 * half - 2
                if not self.wired and len(z.terms) > 2:
                    z = Form({self._wire(z, most, wave=1): 1.0}, 0.0)  # as two units read it
                one, two = (self._unit(total([(1.0, z)], at - half), most + at - half, level) for at in (1.5, 0.5))
                after = total([(1.0, one), (-1.0, two)])
                bit = total([(1.0, x), (1.0, y), (1.0, carry), (-2.0, after)])
            if at + i in nodes:
                self._forms[nodes[at + i]] = self._kept(bit, self._uses[nodes[at + i]])
            carry = after
        return carry

    def _count_uses(self) -> Counter[int]:
        """How many sums a node would be written out in."""
        uses: Counter[int] = Counter()
        for leaves, units in self.pieces.units.values():
            for i, leaf in enumerate(leaves):
                uses[leaf] += sum(weights[i] != 0 for weights in units.weights) + (units.direct[i] != 0)
        for number in self.pieces.adders:
            adder = self.netlist.adders[number]
            for bit in operands(adder):
                uses[bit >> 1] += 2 * min(self.adder_bits, adder.width)
        uses.update(bit >> 1 for bit in self.netlist.output_bits)
        return uses

    def _sorted(self, outputs: list[int]) -> Layers:
        """Rows by level, units before wires, those that no output needs left out."""
        first = len(self.inputs)
        needed = np.zeros(len(self.level), bool)
        needed[outputs] = True
        for row in range(len(self.level) - 1, first - 1, -1):
            if needed[row]:
                needed[list(self.sums[row - first].terms)] = True
        level, relu = np.array(self.level[first:], np.int32), np.array(self.relu, bool)
        order = np.lexsort((np.array(self.wave, np.int8), ~relu, level))
        order = order[needed[first:][order]]
        place = np.full(len(self.level), -1, np.int64)
        place[:first] = np.arange(first)
        place[first + order] = first + np.arange(len(order))
        sums = [self.sums[row] for row in order.tolist()]
        counts = np.array([len(z.terms) for z in sums], np.int64)
        outs = divided(self.netlist.outputs, (int(place[row]) for row in outputs))
        return Layers(
            name=self.netlist.name,
            input_ports=tuple(Port(*port) for port in divided(self.netlist.inputs, range(first))),
            output_ports=tuple(Port(*port) for port in outs),
            inputs=first,
            level=level[order],
            relu=relu[order],
            starts=np.concatenate([[0], np.cumsum(counts)]),
            indices=place[np.array([row for z in sums for row in z.terms], np.int64)],
            weights=np.array([c for z in sums for c in z.terms.values()], np.float64),
            bias=np.array([z.constant for z in sums], np.float64),
            most=np.array(self.most, np.float64)[order],
        )


def lower(pieces: Pieces, decompose: Decompose, adder_bits: int, *, wired: bool = False) -> Layers:
    """The layers of a netlist in pieces.

    Args:
        pieces: what is to be computed.
        decompose: units of a table, for full adders.
        adder_bits: bits of a sum that are added at once, in one layer, by weights up to 2^adder_bits. 1: full adders.
        wired: whether every bit is a row of its own, so that units read bits and nothing else.
    """
    return Lowering(pieces, decompose, adder_bits, wired=wired).run()
