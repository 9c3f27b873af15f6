"""Pieces: a netlist cut up, of each piece the units that give it. What `lower.py` makes layers of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holdfast.circuits.cover import Cover
from holdfast.circuits.decompose import Units
from holdfast.circuits.netlist import Netlist

Decompose = Callable[[int, int], Units]
"""Units of a table of so many variables."""


@dataclass(frozen=True)
class Pieces:
    """What is to be computed of a netlist: units by node; adders stay as they are."""

    netlist: Netlist
    units: Mapping[int, tuple[tuple[int, ...], Units]]
    """Of each node that is needed and no input and no bit of an adder, in topological order: the nodes that its units
    read, and the units."""
    adders: tuple[int, ...]
    """Numbers of the adders that are needed."""


def tabled(cover: Cover, decompose: Decompose) -> Pieces:
    """The tables of a cover."""
    units = {node: (leaves, decompose(table, len(leaves))) for node, (leaves, table) in cover.tables.items()}
    return Pieces(cover.netlist, units, cover.adders)
