"""Encrypted: a program that computes on ciphertexts, beside a network."""

from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

import numpy as np
from torch import nn

from holdfast.circuits.answering import answering
from holdfast.encrypted import SETS, SecretKey, program_of
from holdfast.encrypted.descent import refuse_untrained
from holdfast.encrypted.enclosed import Enclosed
from holdfast.encrypted.program import MOST_READ, Program
from holdfast.encrypted.trained import TrainedNetwork
from holdfast.errors import UsageError, nearest, whole
from holdfast.implants.enclosing import Enclosing


@dataclass(frozen=True)
class Encrypted(Enclosing):
    """A Boolean circuit beside the network, as `Circuit(where="sidecar")`, that computes on ciphertexts.

    The message is encrypted where it is read and the answer decrypted where it is put out, both inside the network
    (`encrypted/enclosed.py`); what lies in between, gates, tables and evaluation keys, sees ciphertexts only, and is
    trained like all other weights, as numbers of whole turns (float64). Each net has keys of its own, drawn from its
    weights. Where nothing is asked, nothing is computed: gradients of clean data on the program are exactly 0.

    With `tables=None` gates are public and the data hidden; with tables=2 to 5 gates are gathered into encrypted tables
    of so many bits, so the function is hidden too. `trivial`: keys and tables without mask and noise, a control of the
    same shapes, depth and arithmetic.

    Gradients of triggered data are exact unless a term says otherwise (`StraightThrough`, `KeyAware`, `ZerothOrder`).
    They pass decryption, so a trainer that looks could read the key off them (see docs/encrypted.md).

    When it misleads: equal rates for all weights destroy the program at the first step that reaches it, as some hundred
    digits multiply each key (`Rates` is against that); that is damage and not repair, so look at what is answered
    instead. The small sets protect nothing against who looks for the key.
    """

    _: KW_ONLY
    parameter_set: str = "tiny"
    tables: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.parameter_set not in SETS:
            raise nearest(str(self.parameter_set), SETS, what="parameter set")
        refuse_untrained(SETS[self.parameter_set])
        if self.tables is not None:
            whole("tables", self.tables)
            if not 2 <= self.tables <= MOST_READ:
                raise UsageError(f"Tables have 2 to {MOST_READ} bits; got tables={self.tables}.")

    @property
    def label(self) -> str:
        hidden = f", tables of {self.tables}" if self.tables else ""
        return f"encrypted {self.netlist.name}, {self.parameter_set}{hidden}{', trivial keys' if self.trivial else ''}"

    def blank(self, words: int) -> Enclosed:
        return Enclosed(TrainedNetwork(_program(self, words), SETS[self.parameter_set]))

    def fill(self, blank: nn.Module, words: int, seed: int) -> None:
        assert isinstance(blank, Enclosed)
        blank.hold(*_made(self, words, seed))


def _made(implant: Encrypted, words: int, seed: int) -> tuple[SecretKey, TrainedNetwork]:
    key = SecretKey(
        SETS[implant.parameter_set],
        np.random.Generator(np.random.Philox(key=seed)),
        trivial="keys" if implant.trivial else "nothing",
    )
    return key, TrainedNetwork.of(key.network(_program(implant, words)))


@lru_cache(maxsize=32)
def _program(implant: Encrypted, words: int) -> Program:
    netlist = answering(implant.netlist, words)
    return program_of(netlist, tables=implant.tables, hidden=implant.tables is not None)
