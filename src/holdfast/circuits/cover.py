"""Netlist -> cover: gates gathered into look-up tables of up to k inputs, so that few units give them.

Cut enumeration with priority cuts and area flow (Mishchenko, Cho, Chatterjee & Brayton 2007, Combinational and
Sequential Mapping with Priority Cuts, ICCAD), with the units of a table in place of its area.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from holdfast.circuits.netlist import ADD, AND, INPUT, Netlist, operands

KEPT = 5
"""Cuts that are kept a node."""
Cut = tuple[tuple[int, ...], int]
"""Leaves (nodes, ascending) and the truth table over them, leaf i counting 2^i."""
Cost = Callable[[int, int], int]
"""Units of a table of so many variables."""


@dataclass(frozen=True)
class Cover:
    """What is to be computed of a netlist: tables by node; adders stay as they are."""

    netlist: Netlist
    tables: dict[int, Cut]
    """Of each node that is needed and no input and no bit of an adder, in topological order."""
    adders: tuple[int, ...]
    """Numbers of the adders that are needed."""


def cover(netlist: Netlist, k: int, cost: Cost, *, shallow: bool = False) -> Cover:
    """The cover with tables of up to k inputs that takes few units; of those with the fewest levels, where it is to be
    `shallow`. k = 2 takes the gates as they are."""
    rows = list(netlist.rows())
    cuts = _gates(rows) if k == 2 else _best(netlist, rows, k, cost, shallow)
    return _needed(netlist, rows, cuts)


def _gates(rows: list[tuple[int, int, int]]) -> dict[int, Cut]:
    found = {}
    for node, (kind, left, right) in enumerate(rows):
        if kind not in (INPUT, ADD):
            found[node] = _merge(kind, left, right, ((left >> 1,), 2), ((right >> 1,), 2), 2)
    return {node: cut for node, cut in found.items() if cut is not None}


def _best(netlist: Netlist, rows: list[tuple[int, int, int]], k: int, cost: Cost, shallow: bool) -> dict[int, Cut]:
    """Of each gate the cut with the least area flow: units of the table and of what it stands on, shared out over the
    gates that read a node. `shallow`: of those of least depth."""
    readers = [0] * netlist.nodes
    for kind, left, right in rows:
        if kind not in (INPUT, ADD):
            readers[left >> 1] += 1
            readers[right >> 1] += 1
    for bit in (*netlist.output_bits, *(bit for adder in netlist.adders for bit in operands(adder))):
        readers[bit >> 1] += 1
    flow, depth = [0.0] * netlist.nodes, [0] * netlist.nodes
    kept: list[list[Cut]] = [[((node,), 2)] for node in range(netlist.nodes)]
    kept[0] = [((), 0)]
    best: dict[int, Cut] = {}
    for node, (kind, left, right) in enumerate(rows):
        if kind == ADD:
            depth[node] = 1 + max(depth[bit >> 1] for bit in operands(netlist.adders[left]))
        if kind in (INPUT, ADD):
            continue
        found: dict[tuple[int, ...], tuple[float, int, int]] = {}
        for x in kept[left >> 1]:
            for y in kept[right >> 1]:
                cut = _merge(kind, left, right, x, y, k)
                if cut is None or cut[0] in found:
                    continue
                leaves, table = cut
                units = cost(table, len(leaves)) + sum(flow[leaf] for leaf in leaves)
                found[leaves] = (units, 1 + max((depth[leaf] for leaf in leaves), default=0), table)
        first, second = (1, 0) if shallow else (0, 1)
        ranked = sorted(found.items(), key=lambda item: (item[1][first], item[1][second], len(item[0])))
        (leaves, (units, _level, table)), depth[node] = ranked[0], ranked[0][1][1]
        best[node] = leaves, table
        flow[node] = units / max(1, readers[node])
        kept[node] = [((node,), 2), *((leaves, of[2]) for leaves, of in ranked[:KEPT])]
    return best


def _merge(kind: int, left: int, right: int, x: Cut, y: Cut, k: int) -> Cut | None:
    """The cut of a gate over cuts of what it reads; None if it has more than k leaves."""
    leaves = x[0] if x[0] == y[0] else tuple(sorted({*x[0], *y[0]}))
    size = len(leaves)
    if size > k:
        return None
    ones = (1 << (1 << size)) - 1
    a = x[1] if x[0] == leaves else _spread(x[1], tuple(leaves.index(leaf) for leaf in x[0]), size)
    b = y[1] if y[0] == leaves else _spread(y[1], tuple(leaves.index(leaf) for leaf in y[0]), size)
    if left & 1:
        a ^= ones
    if right & 1:
        b ^= ones
    return leaves, a & b if kind == AND else a ^ b


@lru_cache(maxsize=1 << 18)
def _spread(table: int, places: tuple[int, ...], size: int) -> int:
    """A table over some variables as one over `size` of them, its variable i at places[i]."""
    found = 0
    for m in range(1 << size):
        at = sum(1 << i for i, place in enumerate(places) if m >> place & 1)
        found |= (table >> at & 1) << m
    return found


def _needed(netlist: Netlist, rows: list[tuple[int, int, int]], cuts: dict[int, Cut]) -> Cover:
    wanted = {bit >> 1 for bit in netlist.output_bits}
    adders: set[int] = set()
    for node in range(netlist.nodes - 1, -1, -1):
        if node not in wanted:
            continue
        kind, left, _ = rows[node]
        if kind == ADD:
            if left not in adders:
                adders.add(left)
                wanted |= {bit >> 1 for bit in operands(netlist.adders[left])}
        elif kind != INPUT:
            wanted |= set(cuts[node][0])
    tables = {node: cuts[node] for node in range(netlist.nodes) if node in wanted and node in cuts}
    return Cover(netlist, tables, tuple(sorted(adders)))
