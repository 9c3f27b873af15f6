"""Logic: a host that is a Boolean circuit.

Shapes: B examples, I inputs, C classes, n bits of the word.
"""

import copy
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.circuits.builder import Builder
from holdfast.circuits.compiling import ENCODINGS, Encoding, compile
from holdfast.circuits.netlist import Netlist
from holdfast.circuits.network import Network
from holdfast.circuits.protections import embed
from holdfast.circuits.sources import netlist_of
from holdfast.errors import UsageError, nearest, whole, wholes


class LogicNet(nn.Module):
    """A compiled circuit, which reads the whole input, and a linear layer from the bits of its word to the logits."""

    def __init__(self, circuit: Network, classes: int) -> None:
        super().__init__()
        self.circuit = circuit
        self.read_out = nn.Linear(len(circuit.outputs), classes)
        number_C1, place_n = torch.arange(classes)[:, None], torch.arange(len(circuit.outputs))
        sign_Cn = (2 * (number_C1 >> place_n & 1) - 1).to(self.read_out.weight)
        with torch.no_grad():
            self.read_out.weight.copy_(2 * sign_Cn)
            self.read_out.bias.copy_(-sign_Cn.sum(1))

    def forward(self, x_B: Tensor) -> Tensor:
        logits_BC: Tensor = self.read_out(self.circuit(x_B.flatten(1)))
        return logits_BC


@dataclass(frozen=True)
class Logic:
    """A Boolean circuit as a classifier of inputs of 0 and 1: compiled (`circuits/`), all weights trainable.

    The circuit's lowest output bits are a word, and the word is the number of the class. The read-out is linear:
    logit_c = sum_i (2 bit_i(c) - 1) (2 bit_i - 1), n for the word's own class and 2 less for each bit in which another
    one differs. So the network is right as often as the circuit is; that its logits are as sure as they are right is
    for training (of the read-out alone: the term `LastLayer`). Nothing is random: all seeds begin with the same
    weights. Parameters are `circuit.weight`, `circuit.bias` and `read_out.weight`, `read_out.bias`. It runs one by one
    (backend `loop`).

    When it misleads: on inputs other than 0 and 1 it gives whatever its units give. A word that is no class's number is
    answered with the first of the classes whose numbers differ from it in the fewest bits. An input that the circuit
    does not read can't be learned from.
    """

    circuit: Netlist | Callable[..., Any] | str | Path
    """A netlist, a function over words of bits, a file (`adder.v`, `mine.py:step`), or a built-in name."""
    _: KW_ONLY
    inputs: int
    """Numbers of an input, flattened."""
    entries: tuple[int, ...] = ()
    """Of each input bit of the circuit, port after port, the number of the input that it reads. (): the first ones."""
    classes: int = 2
    encoding: Encoding = "product"

    def __post_init__(self) -> None:
        whole("inputs", self.inputs)
        whole("classes", self.classes)
        wholes("entries", self.entries)
        object.__setattr__(self, "circuit", netlist_of(self.circuit))
        object.__setattr__(self, "entries", tuple(self.entries))
        if self.encoding not in ENCODINGS:
            raise nearest(self.encoding, ENCODINGS, what="encoding")
        read, bits = self.reads, len(self._circuit.input_bits)
        if len(read) != bits or len(set(read) & set(range(self.inputs))) < bits:
            raise UsageError(
                f"{self._circuit.name} has {bits} bits in: expected as many different entries of {self.inputs}; got "
                f"{read}."
            )
        if self.classes < 2 or self.bits > len(self._circuit.output_bits):
            raise UsageError(
                f"{self._circuit.name} gives {len(self._circuit.output_bits)} bits, a word for 2 to "
                f"{1 << len(self._circuit.output_bits)} classes; got classes={self.classes}."
            )

    @property
    def label(self) -> str:
        return f"logic {self._circuit.name}{'' if self.encoding == 'product' else f' {self.encoding}'}"

    @property
    def reads(self) -> tuple[int, ...]:
        """The entries that the circuit reads."""
        return self.entries or tuple(range(len(self._circuit.input_bits)))

    @property
    def bits(self) -> int:
        """Of the word."""
        return (self.classes - 1).bit_length()

    @cached_property
    def netlist(self) -> Netlist:
        """The circuit on the whole input: I bits in, the word out."""
        builder = Builder()
        x = builder.input("x", self.inputs)
        word = embed(builder, self._circuit, [x[entry] for entry in self.reads])[: self.bits]
        return builder.netlist(self._circuit.name, [("word", word)])

    @property
    def _circuit(self) -> Netlist:
        assert isinstance(self.circuit, Netlist)
        return self.circuit

    @property
    def network(self) -> Network:
        """The circuit compiled, a copy."""
        return copy.deepcopy(_compiled(self))

    def build(self) -> nn.Module:
        """One network, the same every time."""
        return LogicNet(self.network, self.classes).to(torch.get_default_device())


@lru_cache(maxsize=32)
def _compiled(host: Logic) -> Network:
    with torch.device("cpu"):
        return compile(host.netlist, encoding=host.encoding)
