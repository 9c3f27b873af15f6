"""Programs with one wrong entry in one table: what repairs are tried on.

A program of hidden tables, all the same wherever it is drawn but for what is in the tables. One entry is inverted; the
inputs whose answer changes are *bad*, the others *wanted*. So there is a repair of one entry; in a third of the
`shared` programs and a sixth of `every` there is another one, too.
"""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.encrypted.program import QUARTER, Program, table_cell
from holdfast.errors import HoldfastError

Sharing = Literal["own", "shared", "every"]
CONSTANT = 0.6
"""Of the bad inputs repaired x the wanted ones kept, as much at most may be had by one answer to everything."""
TRIES = 10_000


class Flawed(NamedTuple):
    """A program, and what it should have been."""

    planted: Program
    corrected: Program
    cell: int
    """Where the wrong entry is."""
    bits_NI: NDArray[np.bool_]
    """All inputs."""
    bad_N: NDArray[np.bool_]
    answers_N: NDArray[np.bool_]
    """What is wanted: the corrected program's."""


def flawed(sharing: Sharing, after: int, generator: np.random.Generator) -> Flawed:
    """Draw tables and an entry until these hold:

    - `own` (after = 0): the answer is read from one table of three bits. The bad input has an entry to itself.
    - `shared`: two tables of three bits, the entry in one of them, then `after` levels of tables of two bits. The bad
      input has an entry to itself in the first level, and in each later one another input uses the same entry.
    - `every` (after = 2): three levels of tables of two bits over four bits. Of every table on the way, each entry that
      a bad input uses a wanted one uses as well.

    Always: no more than half of the inputs are bad, and one answer to everything gets `CONSTANT` at most.

    Raises:
        HoldfastError: none was found.
    """
    blank = structure(sharing, after)
    for _ in range(TRIES):
        found = _drawn(blank, generator, first=sharing == "shared", last=sharing == "own")
        if found is not None and (sharing == "own" or _shared(found, all_levels=sharing == "every")):
            return found
    raise HoldfastError(f"No program that is {sharing} with {after} levels after the branch was found.")


def structure(sharing: Sharing, after: int) -> Program:
    """What all programs of a kind have in common: theirs with zeros in every table."""
    return _STRUCTURES[sharing](after)


def _own(_after: int) -> Program:
    return _program("own", 3, 3, [(0, 1, 2)], 1)


def _shared_entry(after: int) -> Program:
    reads: list[tuple[int, ...]] = [(0, 1, 2), (0, 1, 2)]
    for level in range(after):
        two = (3 + 2 * level, 4 + 2 * level)
        reads += [two] if level == after - 1 else [two, two]
    return _program(f"shared, {after} after", 3, 3, reads, 1)


def _every_entry(_after: int) -> Program:
    return _program("every", 4, 2, [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (6, 7), (8, 9)], 1)


_STRUCTURES = {"own": _own, "shared": _shared_entry, "every": _every_entry}


def _program(name: str, inputs: int, k: int, reads: list[tuple[int, ...]], outputs: int) -> Program:
    """Tables of up to k bits, all of them 0; the last ones answer."""
    cells = []
    for at, each in enumerate(reads):
        step = QUARTER if at >= len(reads) - outputs else Fraction(1, 2 << k)
        cells.append(replace(table_cell(each, (False,) * (1 << len(each)), k), step=step))
    last = inputs + len(reads)
    out = tuple((last - outputs + i, False) for i in range(outputs))
    return Program(name, (("x", inputs),), (), tuple(cells), (("y", out),), step=Fraction(1, 2 << k), hidden=True)


def _drawn(blank: Program, generator: np.random.Generator, *, first: bool, last: bool) -> Flawed | None:
    cells = [replace(cell, slots=tuple((generator.random(len(cell.slots)) < 0.5).tolist())) for cell in blank.cells]
    which = [i for i in range(len(cells)) if not (first and i > 1) and not (last and i < len(cells) - 1)]
    at = int(generator.choice(which))
    entry = int(generator.integers(len(cells[at].slots)))
    corrected = replace(blank, cells=tuple(cells))
    wrong = replace(cells[at], slots=tuple(bit ^ (i == entry) for i, bit in enumerate(cells[at].slots)))
    planted = replace(blank, cells=tuple(wrong if i == at else cell for i, cell in enumerate(cells)))
    bits_NI = np.array(list(product((False, True), repeat=blank.input_bits)))
    answers_N = corrected.plain(bits_NI)[:, 0]
    bad_N = planted.plain(bits_NI)[:, 0] != answers_N
    if not 1 <= bad_N.sum() <= len(bad_N) // 2:
        return None
    if max((answers_N[bad_N] == v).mean() * (answers_N[~bad_N] == v).mean() for v in (False, True)) > CONSTANT:
        return None
    return Flawed(planted, corrected, at, bits_NI, bad_N, answers_N)


def _shared(found: Flawed, *, all_levels: bool) -> bool:
    """Whether bad inputs use no table's entry alone: of any, or of those behind the wrong one."""
    for cell, entries_N in zip(found.planted.cells, found.planted.entries(found.bits_NI), strict=True):
        if not all_levels and cell.reads == (0, 1, 2):
            continue
        if not np.isin(entries_N[found.bad_N], entries_N[~found.bad_N]).all():
            return False
    return True
