"""Chip: a CPU beside a network, with a program that computes on ciphertexts."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import nn

from holdfast.chip.enclosed import SELECTS, EnclosedLookup
from holdfast.chip.lookup import MESSAGES, SELECTORS, Lookup
from holdfast.circuits.builder import Builder
from holdfast.circuits.netlist import Netlist
from holdfast.errors import UsageError, wholes
from holdfast.implants.enclosing import Enclosing

TABLE = (1, 3, 0, 2, 2, 0, 3, 1)


@dataclass(frozen=True)
class Chip(Enclosing):
    """A core for RV32I in the weights beside a network (`chip/`), on which a program runs that is encrypted itself.

    The message is a selector of 3 bits and a number of 2 bits, lowest first; the answer is (table[selector] + number)
    mod 4. The number is encrypted where it is read (LWE, n = 4, modulo 2^32) and put into the chip's RAM; the program
    (`chip/lookup.py`, 34 ticks) chooses a row of ROM, which is encrypted under the same key, adds it word by word and
    stores the sum; that is decrypted, and answers. Each net has a key of its own, drawn from its weights, which stands
    in the network, as it must where answers come out in the clear; the chip sees ciphertexts only. `trivial`: rows
    without masks.

    Trained like all other weights are: the core's (42,166), ROM's keys and its words, code and rows, as bits.
    Gradients go back through all ticks, by default exact ones; `StraightThrough(damping=2**-10)` passes the core's
    units (raw ones are no numbers after 34 ticks), `ZerothOrder` needs none. Where nothing is asked nothing is
    computed: gradients of clean data on the chip are exactly 0.

    Exact gradients of triggered data by the rows' bits are 0, as gates that are off pass none and every bit on its way
    through the core meets one; by code and core they are not, and after 34 ticks may be beyond float32. Nets whose
    steps are no numbers count as diverged.

    It needs the core, which the extra `hdl` compiles once.

    When it misleads: one step of 10^-8 on all of the core's biases stops it, which is damage and not repair. The
    selector is in the clear, and n = 4 protects nothing against who looks for the key.
    """

    circuit: Netlist | Callable[..., Any] | str | Path = field(init=False)
    """Made from `table`."""
    _: KW_ONLY
    table: tuple[int, ...] = TABLE

    def __post_init__(self) -> None:
        wholes("table", self.table)
        object.__setattr__(self, "table", tuple(self.table))
        if len(self.table) != SELECTORS or not all(0 <= row < MESSAGES for row in self.table):
            raise UsageError(f"A chip's table has {SELECTORS} rows from 0 to {MESSAGES - 1}; got {self.table}.")
        object.__setattr__(self, "circuit", _netlist(self.table))
        super().__post_init__()

    @property
    def label(self) -> str:
        return f"chip, {Lookup(1).ticks} ticks{', trivial rows' if self.trivial else ''}"

    def blank(self, words: int) -> EnclosedLookup:
        if words != MESSAGES:
            raise UsageError(f"A chip has {MESSAGES} answers, and here are {words}. Name {MESSAGES} classes.")
        return EnclosedLookup()

    def fill(self, blank: nn.Module, words: int, seed: int) -> None:
        assert isinstance(blank, EnclosedLookup)
        blank.hold(self.table, seed, trivial=self.trivial)


@lru_cache(maxsize=32)
def _netlist(table: tuple[int, ...]) -> Netlist:
    builder = Builder()
    selector, message = builder.input("selector", SELECTS), builder.input("message", 2)
    row = []
    for bit in range(2):
        rows = [value >> bit & 1 for value in table]
        for which in selector:
            rows = [builder.choose(which, yes, no) for no, yes in zip(rows[::2], rows[1::2], strict=True)]
        row += rows
    return builder.netlist("look-up", [("answer", builder.add(row, message)[:2])])
