"""An encrypted program on a chip: an `EncryptedNetwork` as a program for RV32I, whose code is `evaluator.s`.

Shapes: B inputs, one a lane; I bits in, O bits out; n the small key's length, N the ring's degree.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.chip.assembler import RAM, assemble
from holdfast.chip.memory import Memory
from holdfast.chip.program import Program, Segment
from holdfast.encrypted.network import EncryptedNetwork, height, refuse_shape
from holdfast.encrypted.parameters import ParameterSet
from holdfast.errors import HoldfastError

SOURCE = Path(__file__).with_name("evaluator.s")
DATA = 0x1_0000
"""Where in ROM keys, tables and cells begin."""
TILE = 16
"""Coefficients of a product that are summed in registers together."""
MODULUS = 1 << 32
LARGEST_BASE = 1 << 11
"""Half of it is an immediate."""


class Evaluator:
    """A chip's program that computes what an encrypted network does, to the coefficient.

    In ROM stand the code, the evaluation keys, the tables (encrypted if the network hides them), the program's own bits
    (encrypted), and which cell reads what. Ciphertexts go into each lane's RAM before it begins, and stand there when
    it has ended:

        machine = Machine([evaluator.program] * len(ciphertexts))
        evaluator.write(machine.memory, ciphertexts)
        machine.run(2 * evaluator.ticks)
        evaluator.read(machine.memory)      # as network(ciphertexts)
    """

    program: Program

    def __init__(self, network: EncryptedNetwork) -> None:
        """
        Raises:
            HoldfastError: a parameter set that the code cannot compute with.
        """
        self.network = network
        p, cells = network.parameter_set, network.program.cells
        _refuse_set(p)
        self._given = network.program.input_bits
        self._count = self._given + len(cells) + len(network.program.output_bits)
        data, symbols = self._rom()
        code = assemble(SOURCE.read_text(encoding="utf-8"), symbols=symbols | _sizes(p) | {"count": self._count})
        ram = code.segments[-1]
        segments = (*code.segments[:-1], Segment(DATA, data, writable=False), ram)
        self.program = Program(segments, code.entry)

    @property
    def ticks(self) -> int:
        """About so many ticks a lane needs; what is random in ciphertexts makes some per cent of difference."""
        p, gadget = self.network.parameter_set, self.network.parameter_set.gadgets[0]
        # Of loops in evaluator.s: how often they are run times their instructions, loads counted twice.
        sums = p.degree // TILE * (p.degree * 55 + 60)
        multiples = (p.degree // 8 + 2) * (gadget.base // 2 * 18 + 28)
        blocks = p.n * (4 * gadget.digits * (sums + multiples) + p.degree * (90 + 40 * gadget.digits))
        switch = p.degree * p.switch.digits * (10 + p.switch.base.bit_length() * (2 + 6 * (p.n + 1)))
        return (blocks + switch) * len(self.network.program.cells) + 30 * (p.n + 1) * self._count

    def write(self, memory: Memory, ciphertexts: Tensor) -> None:
        """Put what is to be computed on into the lanes' RAM: (B, I, n+1), whole numbers of ticks of 2^32.

        Raises:
            UsageError: ciphertexts of another number, or of another set; fewer lanes.
        """
        refuse_shape(self.network.program, self.network.parameter_set, ciphertexts)
        for lane, each in enumerate(_words(ciphertexts)):
            memory.write(lane, RAM, each.tobytes())

    def read(self, memory: Memory) -> Tensor:
        """What came out, (B, O, n+1) float64 in ticks of 2^32; of a lane that has not ended something else."""
        width, outputs = self.network.parameter_set.n + 1, len(self.network.program.output_bits)
        at = self._at(self._count - outputs)
        held = [memory.read(lane, at, 4 * width * outputs) for lane in range(len(memory.regions))]
        numbers = np.frombuffer(b"".join(held), "<u4").reshape(len(held), outputs, width)
        return torch.from_numpy(numbers.astype(np.float64))

    def _at(self, value: int) -> int:
        """Where one of RAM's ciphertexts stands: inputs, then results of cells, then outputs."""
        return RAM + 4 * (self.network.parameter_set.n + 1) * value

    def _rom(self) -> tuple[bytes, dict[str, int]]:
        """What stands in ROM beside the code, and where its parts do."""
        network, p = self.network, self.network.parameter_set
        key = _words(network.keys.rotation[0])
        # X^N is -1: with its last coefficients in front, negated, no product's window of a polynomial wraps.
        parts = {
            "rotation_key": np.concatenate([-key[..., -TILE:], key], -1),
            "switch_key": _words(network.keys.switch),
        }
        program = network.program
        parts["tables"] = _words(network.some_tables(range(len(program.cells))))
        parts["fixed"] = _words(network.fixed)
        places, at = {}, DATA
        for name, words in parts.items():
            places[name] = at
            at += 4 * words.size
        places["cells"] = at

        def place(value: int) -> int:
            """Where a value of the program stands, in RAM or, if it is one of the program's own bits, in ROM."""
            own = value - self._given
            if 0 <= own < len(program.fixed):
                return places["fixed"] + 4 * (p.n + 1) * own
            return self._at(value if own < 0 else own - len(program.fixed) + self._given)

        cells: list[int] = []
        for i, cell in enumerate(program.cells):
            reads = [word for v, weight in zip(cell.reads, cell.weights, strict=True) for word in (place(v), weight)]
            table = places["tables"] + 8 * p.degree * i
            start = round(cell.start * MODULUS)
            cells += [self._at(self._given + i), table, height(p, cell.step), start, len(cell.reads), *reads]
        for i, ((value, inverted), step) in enumerate(zip(program.output_bits, program.steps, strict=True)):
            reads = [] if value < 0 else [place(value), -1 if inverted else 1]
            start = round(step * MODULUS) if inverted else 0
            cells += [self._at(self._given + len(program.cells) + i), 0, 0, start, len(reads) // 2, *reads]
        listed = np.array([*cells, 0], np.int64).astype(np.uint32)
        return b"".join(words.tobytes() for words in (*parts.values(), listed)), places


def _words(numbers: Tensor) -> NDArray[np.uint32]:
    """Whole numbers modulo 2^32."""
    return numbers.detach().cpu().to(torch.int64).numpy().astype("<u4")


def _sizes(p: ParameterSet) -> dict[str, int]:
    """What the code is told of the set."""
    gadget, switch = p.gadgets[0], p.switch
    return {
        "n": p.n,
        "log_degree": _log(p.degree),
        "digits": gadget.digits,
        "log_base": _log(gadget.base),
        "log_unit": _log(gadget.unit),
        "switch_digits": switch.digits,
        "switch_log_base": _log(switch.base),
        "switch_log_unit": _log(switch.unit),
    }


def _log(number: int) -> int:
    return number.bit_length() - 1


def _refuse_set(p: ParameterSet) -> None:
    switch = p.switch
    wants = {
        "moduli of 2^32": {p.modulus, p.ciphertext_modulus, switch.modulus} == {MODULUS},
        "secrets of 0 and 1": p.signs == 1,
        "one gadget for all keys": len(p.gadgets) == 1,
        "no table in the key switch": not switch.table,
        f"a degree of {TILE} or more": p.degree >= TILE,
        f"bases that are powers of two from 2 to {LARGEST_BASE}": all(
            2 <= each.base <= LARGEST_BASE and each.base & (each.base - 1) == 0 for each in (p.gadgets[0], switch)
        ),
        "units of two ticks or more": all(each.unit >= 2 for each in (p.gadgets[0], switch)),
    }
    if missing := [want for want, met in wants.items() if not met]:
        raise HoldfastError(
            f"The chip computes with registers of 32 bits, so it takes a set with {missing[0]}; {p.name} has something "
            f"else. Sets that fit: tiny, small, medium, large."
        )
