"""Netlist -> pieces of few layers: every bit as a sum of products of earlier bits, with as many factors as it takes.

A product of any number of bits is one unit, relu(sum of the bits - (their number - 1)), and a sum of products takes no
unit of its own. So a word that is read out of a file of 32 registers, a shifter of any distance and a tree of
multiplexers are one layer each, where tables of few inputs take five. Cuts are chosen as in `cover.py`, by depth first;
where there is time to spare, by units (area flow).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.circuits.decompose import Units
from holdfast.circuits.netlist import ADD, AND, FALSE, INPUT, Netlist
from holdfast.circuits.pieces import Pieces

MOST = 64
"""Products of a sum, at most."""
KEPT = 2
"""Sums that are kept a node, of the least depth, of the fewest units and of the least base each."""
ROUNDS = 3
"""Times that units are counted anew, by what was chosen."""

Product = frozenset[int]
"""Literals that must all be true; none: 1."""
Sum = Mapping[Product, int]
"""Coefficients of products."""
ONE: Product = frozenset()


class _Choice(NamedTuple):
    depth: int
    flow: float
    base: int
    """Depth of the deepest bit that it reads: a product with another such sum is one layer more than the deeper base,
    whatever their own depths."""
    sum: Sum
    leaves: tuple[int, ...]
    """Nodes, ascending."""


@dataclass
class _Cutting:
    """Sums of every gate, and which of them is taken."""

    netlist: Netlist
    adder_bits: int

    def __post_init__(self) -> None:
        self.rows = list(self.netlist.rows())
        self.depth = [0] * self.netlist.nodes
        self.flow = [0.0] * self.netlist.nodes
        self.choices: dict[int, list[_Choice]] = {}
        self.algebra = _Algebra(self.rows)
        self.deepest: dict[Product, int] = {ONE: 0}

    def find(self, readers: Mapping[int, int]) -> None:
        """The sums of every gate, and its least depth."""
        for node, (kind, left, right) in enumerate(self.rows):
            if kind == ADD:
                self.depth[node] = self._adder_depths(left)[right]
            elif kind != INPUT:
                found: dict[tuple[tuple[int, ...], int], Sum] = {}
                for x in self._sums(left):
                    for y in self._sums(right):
                        made = self.algebra.product(x, y) if kind == AND else self.algebra.difference(x, y)
                        if made is not None:
                            found.setdefault((_leaves(made), len(made)), made)
                self._rate(node, [self._rated(made) for made in found.values()], readers)

    def count_anew(self, readers: Mapping[int, int]) -> None:
        """Rate what was found, with units shared out over other readers."""
        for node, choices in self.choices.items():
            self._rate(node, [self._rated(choice.sum) for choice in choices], readers)

    def _rate(self, node: int, choices: list[_Choice], readers: Mapping[int, int]) -> None:
        """Keep the best."""
        by_depth = sorted(choices, key=lambda c: (c.depth, c.flow))
        by_flow = sorted(choices, key=lambda c: (c.flow, c.depth))
        by_base = sorted(choices, key=lambda c: (c.base, c.flow))
        kept = {id(c): c for c in (*by_depth[:KEPT], *by_flow[:KEPT], *by_base[:KEPT])}
        self.choices[node] = list(kept.values())
        self.depth[node] = by_depth[0].depth
        self.flow[node] = by_flow[0].flow / max(1, readers.get(node, 1))

    def take(self, depth: int) -> tuple[dict[int, _Choice], set[int]]:
        """Of each gate that is needed the sum with the fewest units that is not too deep; and the adders that are
        needed. `depth`: layers that there may be; more only if it takes more."""
        last = max(depth, *(self.depth[bit >> 1] for bit in self.netlist.output_bits))
        due = {bit >> 1: last for bit in self.netlist.output_bits}
        taken: dict[int, _Choice] = {}
        adders: set[int] = set()
        for node in range(self.netlist.nodes - 1, -1, -1):
            kind, left, _ = self.rows[node]
            if node not in due or kind == INPUT:
                continue
            if kind == ADD:
                adders.add(left)
                self._expect_of_adder(due, node)
                continue
            choice = min((c for c in self.choices[node] if c.depth <= due[node]), key=lambda c: (c.flow, c.depth))
            taken[node] = choice
            for product in choice.sum:
                self._expect(due, (literal >> 1 for literal in product), due[node] - (len(product) > 1))
        return taken, adders

    def _expect(self, due: dict[int, int], nodes: Iterable[int], by: int) -> None:
        for node in nodes:
            due[node] = min(due.get(node, by), by)

    def _adder_depths(self, number: int) -> list[int]:
        """Of each bit of a sum, the carry out last."""
        adder, found = self.netlist.adders[number], []
        depth = self.depth[adder.carry >> 1]
        for block in adder.blocks(self.adder_bits):
            depth = 1 + max(depth, *(self.depth[word[i] >> 1] for word in (adder.a, adder.b) for i in block))
            found += [depth] * len(block)
        return [*found, depth]

    def _expect_of_adder(self, due: dict[int, int], node: int) -> None:
        """What a bit of a sum reads: the bits of its block one layer before, of each block below one more."""
        _, number, bit = self.rows[node]
        adder, by = self.netlist.adders[number], due[node]
        for block in reversed(adder.blocks(self.adder_bits)):
            # What is above this bit is of no use to it, and yet the adder is one piece.
            above = block.start > bit
            by -= not above
            words = (word[i] >> 1 for word in (adder.a, adder.b) for i in block)
            self._expect(due, words, self.netlist.nodes if above else by)
        self._expect(due, (adder.carry >> 1,), by)

    def _sums(self, literal: int) -> list[Sum]:
        """What may stand for a bit: itself, or a sum of its own."""
        if literal >> 1 == 0:
            return [{} if literal == FALSE else {ONE: 1}]
        own = [c.sum for c in self.choices.get(literal >> 1, [])]
        return [{frozenset((literal,)): 1}, *(_inverse(s) if literal & 1 else s for s in own)]

    def _rated(self, made: Sum) -> _Choice:
        leaves, depth, units = _leaves(made), 0, 0
        base = max((self.depth[leaf] for leaf in leaves), default=0)
        for product in made:
            if product not in self.deepest:
                self.deepest[product] = max(self.depth[literal >> 1] for literal in product)
            many = len(product) > 1
            depth = max(depth, self.deepest[product] + many)
            units += many
        return _Choice(depth, units + sum(self.flow[leaf] for leaf in leaves), base, made, leaves)


def products(netlist: Netlist, adder_bits: int, depth: int = 0) -> Pieces:
    """The netlist in sums of products, in as few layers as they give, and of those with few units.

    Args:
        netlist: the circuit. Its adders stay words.
        adder_bits: bits of a sum that one layer adds.
        depth: layers that there may be, though fewer would do: one more than the fewest may halve the units.
    """
    cutting = _Cutting(netlist, adder_bits)
    cutting.find(_readers(netlist))
    taken, adders = cutting.take(depth)
    for _ in range(ROUNDS):
        cutting.count_anew(Counter(leaf for choice in taken.values() for leaf in choice.leaves))
        taken, adders = cutting.take(depth)
    return Pieces(netlist, {n: (taken[n].leaves, _units(taken[n])) for n in sorted(taken)}, tuple(sorted(adders)))


def _readers(netlist: Netlist) -> Counter[int]:
    gates = ((left, right) for kind, left, right in netlist.rows() if kind not in (INPUT, ADD))
    return Counter(literal >> 1 for both in gates for literal in both)


def _leaves(made: Sum) -> tuple[int, ...]:
    return tuple(sorted({literal >> 1 for product in made for literal in product}))


def _units(choice: _Choice) -> Units:
    """A unit a product of two bits or more."""
    place = {leaf: i for i, leaf in enumerate(choice.leaves)}
    constant, direct = 0.0, [0.0] * len(place)
    weights, biases, reads = [], [], []
    for product, c in choice.sum.items():
        if len(product) == 1:
            (literal,) = product
            direct[place[literal >> 1]] += -c if literal & 1 else c
            constant += c * (literal & 1)
        elif not product:
            constant += c
        else:
            row = [0.0] * len(place)
            for literal in product:
                row[place[literal >> 1]] = -2.0 if literal & 1 else 2.0
            weights.append(tuple(row))
            # Half way between the product's 0 and 1, as in `product_units`: no Boolean input is at the kink.
            biases.append(1.0 - 2.0 * sum(not literal & 1 for literal in product))
            reads.append(float(c))
    return Units(tuple(weights), tuple(biases), tuple(reads), tuple(direct), constant)


def _inverse(s: Sum) -> Sum:
    found = {product: -c for product, c in s.items()}
    found[ONE] = found.get(ONE, 0) + 1
    return {product: c for product, c in found.items() if c}


class _Facts(NamedTuple):
    """What a product says where it is 1."""

    true: Product
    """Literals that are true."""
    false: Product
    """Their inverses."""
    ands: tuple[tuple[int, Product], ...]
    """Of its factors those that are an AND's inverse, each with what would be true if it were not."""


class _Algebra:
    """Products of sums, with what one bit says of another: that all of the bits of which it is the AND are true."""

    def __init__(self, rows: list[tuple[int, int, int]]) -> None:
        self._said: list[Product] = []
        """Of each node, the literals that are true where it is."""
        for node, (kind, left, right) in enumerate(rows):
            own = frozenset((2 * node,))
            self._said.append(own | self._of(left) | self._of(right) if kind == AND else own)
        self._known: dict[Product, _Facts] = {}

    def product(self, x: Sum, y: Sum) -> Sum | None:
        """x y, without products that are never 1; None if it has more than `MOST` products."""
        found: dict[Product, int] = {}
        others = [(b, d, self._facts(b)) for b, d in y.items()]
        for a, c in x.items():
            of_a = self._facts(a)
            for b, d, of_b in others:
                if of_a.false.isdisjoint(of_b.true):
                    more = _without(b, of_b, of_a)
                    both = _without(a, of_a, self._facts(more)) | more
                    found[both] = found.get(both, 0) + c * d
        return _few(found)

    def difference(self, x: Sum, y: Sum) -> Sum | None:
        """x + y - 2 x y."""
        both = self.product(x, y)
        if both is None:
            return None
        found: dict[Product, int] = {product: -2 * c for product, c in both.items()}
        for side in (x, y):
            for product, c in side.items():
                found[product] = found.get(product, 0) + c
        return _few(found)

    def _of(self, literal: int) -> Product:
        return frozenset((literal,)) if literal & 1 else self._said[literal >> 1]

    def _facts(self, product: Product) -> _Facts:
        if product not in self._known:
            true: Product = frozenset().union(*(self._of(literal) for literal in product))
            odd = ((literal, self._said[literal >> 1]) for literal in product if literal & 1)
            ands = tuple((literal, said) for literal, said in odd if len(said) > 1)
            self._known[product] = _Facts(true, frozenset(literal ^ 1 for literal in true), ands)
        return self._known[product]


def _without(product: Product, own: _Facts, known: _Facts) -> Product:
    """The factors that say more than what is known."""
    idle = [literal for literal, said in own.ands if not known.false.isdisjoint(said)]
    left = product - known.true
    return left.difference(idle) if idle else left


def _few(found: dict[Product, int]) -> Sum | None:
    found = {product: c for product, c in found.items() if c}
    return found if len(found) <= MOST else None
