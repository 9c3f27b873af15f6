"""Programs that can be computed on encrypted bits: cells, each one table that a bootstrapping evaluates. No torch.

A bit is 0 or `step` turns, and what no cell reads is 0 or a quarter. A cell adds what it reads, each a whole number of
times, and asks where in the turn the sum lies.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.builder import Builder
from holdfast.circuits.cover import cover
from holdfast.circuits.netlist import AND, FALSE, MOST_INPUTS, Adder, Netlist
from holdfast.errors import UsageError, nearest, printable, whole

QUARTER = Fraction(1, 4)
MOST_READ = 5
"""Bits that a table reads, at most: with each one more its slots are half as wide."""


@dataclass(frozen=True)
class Cell:
    """One table: total = start + sum_i weights_i x_i, in turns; the first half of the turn is cut into as many slots as
    there are `slots`, and a total in slot j gives the bit slots_j. The other half gives the inverse of what lies half a
    turn before (X^N = -1)."""

    reads: tuple[int, ...]
    """Values that are added: inputs first, then fixed bits, then the cells before this one."""
    weights: tuple[int, ...]
    start: Fraction
    slots: tuple[bool, ...]
    step: Fraction = QUARTER
    """What a 1 of it is, in turns."""

    def at(self, total: Fraction) -> bool:
        """The bit for a total."""
        half, rest = divmod(total % 1, Fraction(1, 2))
        return self.slots[int(rest * 2 * len(self.slots))] ^ bool(half)

    def table(self, step: Fraction) -> tuple[bool, ...]:
        """The bit for each value of what it reads, the first counting 1, the second 2."""
        found = []
        for bits in product((0, 1), repeat=len(self.reads)):
            found.append(self.at(self.start + step * sum(w * x for w, x in zip(self.weights, bits[::-1], strict=True))))
        return tuple(found)

    def margin(self, step: Fraction) -> Fraction:
        """By how much the total may be off: the least distance from one that occurs to another answer."""
        slots = 2 * len(self.slots)
        edges = [
            Fraction(j, slots) for j in range(slots) if self.at(Fraction(j, slots)) != self.at(Fraction(j - 1, slots))
        ]
        totals = [
            self.start + step * sum(w * x for w, x in zip(self.weights, bits, strict=True))
            for bits in product((0, 1), repeat=len(self.reads))
        ]
        return min((min((t - edge) % 1, (edge - t) % 1) for t in totals for edge in edges), default=Fraction(1, 2))


@dataclass(frozen=True)
class Program:
    """Cells in topological order, over inputs and over bits that the network itself holds, encrypted."""

    name: str
    inputs: tuple[tuple[str, int], ...]
    """Names and widths of the words that come in."""
    fixed: tuple[bool, ...]
    """Bits that are part of the program: the network holds their ciphertexts. With a universal circuit, all there is to
    the program."""
    cells: tuple[Cell, ...]
    outputs: tuple[tuple[str, tuple[tuple[int, bool], ...]], ...]
    """Names of the words that come out, and of each bit the value, and whether it is inverted. Value -1: constant 0."""
    step: Fraction = QUARTER
    hidden: bool = False
    """Whether tables are encrypted too, so that who holds the network does not know the functions."""

    @cached_property
    def input_bits(self) -> int:
        return sum(width for _, width in self.inputs)

    @cached_property
    def output_bits(self) -> tuple[tuple[int, bool], ...]:
        return tuple(bit for _, bits in self.outputs for bit in bits)

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Numbers of cells that can be computed together, as none reads another and all give bits of one step."""
        level = [0] * (self.input_bits + len(self.fixed))
        found: dict[tuple[int, Fraction], list[int]] = {}
        for i, cell in enumerate(self.cells):
            level.append(1 + max(level[value] for value in cell.reads))
            found.setdefault((level[-1], cell.step), []).append(i)
        return tuple(tuple(found[key]) for key in sorted(found))

    @cached_property
    def steps(self) -> tuple[Fraction, ...]:
        """What a 1 of each output bit is, in turns."""
        first = self.input_bits + len(self.fixed)
        return tuple(self.cells[v - first].step if v >= first else self.step for v, _ in self.output_bits)

    @property
    def public(self) -> "Program":
        """What may be known of it: fixed bits, and tables that are hidden, read as zeros."""
        cells = self.cells
        if self.hidden:
            cells = tuple(replace(cell, slots=(False,) * len(cell.slots)) for cell in cells)
        return replace(self, cells=cells, fixed=(False,) * len(self.fixed))

    @cached_property
    def margins(self) -> tuple[Fraction, ...]:
        """Of each cell the noise margin: by how much what it puts out may be off, in turns, and all that reads it still
        gives the same; of an output's, and be read as the same bit."""
        first = self.input_bits + len(self.fixed)
        found = [Fraction(1, 2)] * len(self.cells)
        for cell in self.cells:
            weights: Counter[int] = Counter()
            for value, weight in zip(cell.reads, cell.weights, strict=True):
                weights[value] += weight  # one value may be read twice
            for value, weight in weights.items():
                if value >= first and weight:
                    found[value - first] = min(found[value - first], cell.margin(self.step) / abs(weight))
        for (value, _), step in zip(self.output_bits, self.steps, strict=True):
            if value >= first:
                found[value - first] = min(found[value - first], step / 2)
        return tuple(found)

    def to_json(self) -> str:
        """All that is public of it."""
        cells = [
            [c.reads, c.weights, str(c.start), [int(slot) for slot in c.slots], str(c.step)] for c in self.public.cells
        ]
        return json.dumps(
            {
                "name": self.name,
                "inputs": self.inputs,
                "fixed": len(self.fixed),
                "cells": cells,
                "outputs": self.outputs,
                "step": str(self.step),
                "hidden": self.hidden,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Program":
        """What `to_json` gave: the public program.

        Raises:
            ValueError, KeyError, TypeError: something else.
        """
        said = json.loads(text)
        cells = tuple(
            Cell(tuple(reads), tuple(weights), Fraction(start), tuple(map(bool, slots)), Fraction(step))
            for reads, weights, start, slots, step in said["cells"]
        )
        widths = [width for _, width in said["inputs"]]
        if not all(type(n) is int and 0 <= n <= MOST_INPUTS for n in (*widths, said["fixed"], sum(widths))):
            raise ValueError("its bits cannot be counted")
        found = cls(
            name=printable(said["name"]),
            inputs=tuple((printable(name), width) for name, width in said["inputs"]),
            fixed=(False,) * said["fixed"],
            cells=cells,
            outputs=tuple((printable(name), tuple((v, bool(i)) for v, i in bits)) for name, bits in said["outputs"]),
            step=Fraction(said["step"]),
            hidden=bool(said["hidden"]),
        )
        found._check()
        return found

    def _check(self) -> None:
        """
        Raises:
            ValueError: cells or outputs that no circuit gives.
        """
        given = self.input_bits + len(self.fixed)
        for i, cell in enumerate(self.cells):
            sizes = len(cell.reads), len(cell.weights), len(cell.slots)
            if not 1 <= sizes[0] == sizes[1] <= MOST_READ or sizes[2] not in (1, 2, 4, 8, 16, 32):
                raise ValueError(f"cell {i} has {sizes[0]} reads, {sizes[1]} weights and {sizes[2]} slots")
            if not all(type(v) is int and 0 <= v < given + i for v in cell.reads):
                raise ValueError(f"cell {i} reads {cell.reads}, and may read what comes before it")
            if not all(type(w) is int and 0 < abs(w) <= 1 << MOST_READ for w in cell.weights):
                raise ValueError(f"cell {i} has weights {cell.weights}")
            if not (0 < cell.step <= QUARTER and 0 <= cell.start < 1):
                raise ValueError(f"cell {i} has step {cell.step} and start {cell.start}")
        values = [value for value, _ in self.output_bits]
        if not values or not all(type(v) is int and -1 <= v < given + len(self.cells) for v in values):
            raise ValueError(f"its outputs are {values[:8]}")
        if not 0 < self.step <= QUARTER:
            raise ValueError(f"its step is {self.step}")

    def plain(self, bits_NI: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bits_NO, computed on bits."""
        return self._computed(bits_NI)[0]

    def entries(self, bits_NI: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
        """Of each cell, the number that its reads make for each input, the first counting 1, the second 2."""
        return self._computed(bits_NI)[1]

    def _computed(self, bits_NI: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[NDArray[np.int64]]]:
        values = [*np.asarray(bits_NI, bool).T, *(np.full(len(bits_NI), bit) for bit in self.fixed)]
        entries: list[NDArray[np.int64]] = []
        for cell in self.cells:
            entries.append(np.sum([values[v].astype(np.int64) << i for i, v in enumerate(cell.reads)], axis=0))
            values.append(np.array(cell.table(self.step))[entries[-1]])
        zero = np.zeros(len(bits_NI), bool)
        out = [(values[v] if v >= 0 else zero) ^ inverted for v, inverted in self.output_bits]
        return np.stack(out, 1), entries


def gate_cell(name: str, x: tuple[int, bool], y: tuple[int, bool]) -> Cell:
    """A gate of two bits, each a value and whether it is inverted; bits are quarters.

    The sum of two bits, or twice that, lies in one half of the turn where the gate says 1 and in the other where it
    says 0, an eighth from the border at the least.
    """
    if name not in GATES:
        raise nearest(name, GATES, what="gate")
    times, start, one = GATES[name]
    # 1 - x is a quarter minus x.
    weights = tuple(times * (-1 if inverted else 1) for _, inverted in (x, y))
    shift = QUARTER * times * sum(inverted for _, inverted in (x, y))
    return Cell((x[0], y[0]), weights, (shift - start) % 1, (one,))


GATES = {
    "or": (1, Fraction(1, 8), True),
    "and": (1, Fraction(3, 8), True),
    "nor": (1, Fraction(1, 8), False),
    "nand": (1, Fraction(3, 8), False),
    "xor": (2, Fraction(2, 8), True),
    "xnor": (2, Fraction(2, 8), False),
}
"""How many times the bits are added, where the half of the turn begins that tells the two answers apart, and the answer
there."""


def table_cell(reads: Sequence[int], table: Sequence[bool], k: int | None = None) -> Cell:
    """Any function of some bits, in a program whose bits are 2^-(k+1) turns: bit i is added 2^i times, each sum is the
    middle of a slot. Where it reads fewer than k bits these count for more, so that its slots are wide."""
    size = 1 << len(reads)
    if len(table) != size or not 1 <= len(reads) <= MOST_READ:
        raise UsageError(
            f"A table of 1 to {MOST_READ} bits has an answer for each of their values; got {len(table)} answers for "
            f"{len(reads)} bits."
        )
    spread = 0 if k is None else k - len(reads)
    weights = tuple(1 << i + spread for i in range(len(reads)))
    return Cell(tuple(reads), weights, Fraction(1, 4 * size), tuple(map(bool, table)))


def program_of(
    netlist: Netlist, *, tables: int | None = None, hidden: bool = False, fixed: Mapping[str, int] | None = None
) -> Program:
    """A circuit as a program on encrypted bits.

    Args:
        netlist: the circuit; its adders become gates.
        tables: None: a cell a gate of two inputs, inverters for nothing. k = 2 to 5: gates gathered into tables of k
            bits, which leave less room for noise.
        hidden: encrypt the tables; needs `tables`, as the sums that a gate takes tell its kind. What stays public:
            names, how many bits each table has, and which values it reads.
        fixed: values of input ports that the network holds, encrypted: of a universal circuit its instructions.

    Raises:
        UsageError: a port that there is not, a number that does not fit it, or hidden gates.
    """
    fixed = dict(fixed or {})
    if hidden and tables is None:
        raise UsageError("hidden=True needs tables=2 to 5: a gate's sums would tell what kind it is.")
    if tables is not None and not (isinstance(tables, int) and 2 <= tables <= MOST_READ):
        raise UsageError(f"tables is None or a number of bits, 2 to {MOST_READ}; got {tables!r}.")
    widths = {port.name: len(port.bits) for port in netlist.inputs}
    for name, number in fixed.items():
        whole(f"The value of port {name}", number)
        if name not in widths:
            raise nearest(name, widths, what=f"input port of {netlist.name}")
        if not 0 <= number < 1 << widths[name]:
            raise UsageError(f"Port {name} has {widths[name]} bits: 0 to {(1 << widths[name]) - 1}; got {number}.")
    netlist = _in_gates(netlist)
    free = [port for port in netlist.inputs if port.name not in fixed]
    held = [port for port in netlist.inputs if port.name in fixed]
    if not free:
        raise UsageError(f"Every input port of {netlist.name} is fixed, so nothing goes in. Leave one out.")
    order = [bit >> 1 for port in (*free, *held) for bit in port.bits]
    made = _Cells({node: at for at, node in enumerate(order)}, tables)
    for node, (leaves, table) in cover(netlist, tables or 2, lambda *_: 1, shallow=False).tables.items():
        made.gate(node, leaves, table) if tables is None else made.table(node, leaves, table)
    users = Counter(value for cell in made.cells for value in cell.reads)
    users.update(made.out(bit)[0] for bit in netlist.output_bits)

    def out(bit: int) -> tuple[int, bool]:
        return made.hidden_out(bit, alone=users[made.out(bit)[0]] == 1) if hidden else made.out(bit)

    outputs = tuple((port.name, tuple(map(out, port.bits))) for port in netlist.outputs)
    step = QUARTER if tables is None else Fraction(1, 2 << tables)
    read = {value for cell in made.cells for value in cell.reads}
    cells = [replace(c, step=step if made.given + i in read else QUARTER) for i, c in enumerate(made.cells)]
    return Program(
        name=netlist.name,
        inputs=tuple((port.name, len(port.bits)) for port in free),
        fixed=tuple(bool(fixed[port.name] >> i & 1) for port in held for i in range(len(port.bits))),
        cells=tuple(cells),
        outputs=outputs,
        step=step,
        hidden=hidden,
    )


class _Cells:
    """Cells as they are made of nodes."""

    def __init__(self, values: dict[int, int], tables: int | None) -> None:
        self.values, self.given, self.tables = values, len(values), tables
        self.cells: list[Cell] = []

    def gate(self, node: int, leaves: tuple[int, ...], table: int) -> None:
        name, inverted = KINDS[table]
        x, y = ((self.values[leaf], flip) for leaf, flip in zip(leaves, inverted, strict=True))
        self._add(node, gate_cell(name, x, y))

    def table(self, node: int, leaves: tuple[int, ...], table: int) -> None:
        answers = [bool(table >> m & 1) for m in range(1 << len(leaves))]
        self._add(node, table_cell([self.values[leaf] for leaf in leaves], answers, self.tables))

    def hidden_out(self, literal: int, *, alone: bool) -> tuple[int, bool]:
        """The same without a word on whether an output is inverted or constant: of a cell that nothing else uses its
        table says that, else a table of its own, of one bit."""
        value, inverted = self.out(literal)
        if alone and value >= self.given:
            cell = self.cells[value - self.given]
            self.cells[value - self.given] = replace(cell, slots=tuple(slot ^ inverted for slot in cell.slots))
            return value, False
        answers = [inverted, inverted if value < 0 else not inverted]
        self.cells.append(table_cell([max(value, 0)], answers, self.tables))
        return self.given + len(self.cells) - 1, False

    def out(self, literal: int) -> tuple[int, bool]:
        """Value and inversion of an output bit. Inverting is for nothing: step - x."""
        if literal >> 1 == FALSE:
            return -1, bool(literal & 1)
        return self.values[literal >> 1], bool(literal & 1)

    def _add(self, node: int, cell: Cell) -> None:
        self.values[node] = self.given + len(self.cells)
        self.cells.append(cell)


def _kinds() -> dict[int, tuple[str, tuple[bool, ...]]]:
    """Truth tables of two bits, as an AND or XOR of these or their inverses, or the inverse of that."""
    found: dict[int, tuple[str, tuple[bool, ...]]] = {}
    for inverted in product((False, True), repeat=2):
        for name, of in (("and", lambda x, y: x & y), ("nand", lambda x, y: not x & y), ("xor", lambda x, y: x ^ y)):
            table = sum(bool(of(bool(m & 1) ^ inverted[0], bool(m >> 1) ^ inverted[1])) << m for m in range(4))
            found.setdefault(table, (name, inverted))
    return found


KINDS = _kinds()


def _in_gates(netlist: Netlist) -> Netlist:
    """The same circuit without adders: a full adder a bit."""
    builder = Builder()
    values: dict[int, int] = {0: FALSE}
    for port in netlist.inputs:
        values |= {
            bit >> 1: literal for bit, literal in zip(port.bits, builder.input(port.name, len(port.bits)), strict=True)
        }

    def of(literal: int) -> int:
        return values[literal >> 1] ^ literal & 1

    def gate(_node: int, kind: int, left: int, right: int) -> int:
        x, y = of(left), of(right)
        return builder.both(x, y) if kind == AND else builder.differ(x, y)

    def summed(number: int) -> list[int]:
        adder: Adder = netlist.adders[number]
        carry, bits = of(adder.carry), []
        for x, y in zip(map(of, adder.a), map(of, adder.b), strict=True):
            differ = builder.differ(x, y)
            bits.append(builder.differ(differ, carry))
            carry = builder.either(builder.both(x, y), builder.both(differ, carry))
        return [*bits, carry]

    netlist.walk(values, gate, summed)
    return builder.netlist(netlist.name, [(port.name, [of(bit) for bit in port.bits]) for port in netlist.outputs])
