"""A circuit as straight-line code on words of bits, a lane a bit: exact, and far faster than a network for long runs.

The same code in two languages: Python, whose integers are as wide as there are lanes; and C, where a compiler is at
hand, on vectors of 512 lanes.

Shapes: I input bits, O output bits, W words of 64 lanes.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.netlist import AND, FALSE, Netlist
from holdfast.errors import HoldfastError, UsageError

VECTOR = 8
"""Words that C computes on at once."""
STRETCH = 256
"""Gates of one C function: a compiler takes time that grows faster than a function's length."""
FLAGS = ("-O1", "-march=native", "-shared", "-fPIC", "-w")


class Step(NamedTuple):
    """value[to] = x op y; x and y are literals of values, 2 x number, + 1 for the inverse."""

    to: int
    op: str
    x: int
    y: int


class Bitwise:
    """A circuit in Python: each bit is an integer, whose bit l is what lane l has."""

    def __init__(self, netlist: Netlist) -> None:
        self.netlist = netlist

        def of(literal: int) -> str:
            return f"n{literal >> 1} ^ ones" if literal & 1 else f"n{literal >> 1}"

        whole = steps_of(netlist)
        lines = ["def step(x, ones):", " n0 = 0"]
        lines += [f" n{i + 1} = x[{i}]" for i in range(len(netlist.input_bits))]
        lines += [f" n{s.to} = ({of(s.x)}) {s.op} ({of(s.y)})" for s in whole.steps]
        lines.append(f" return [{', '.join(map(of, whole.outputs))}]")
        made: dict[str, Any] = {}
        exec(compile("\n".join(lines), "bitwise", "exec"), made)
        self._step = made["step"]

    def __call__(self, bits_I: Sequence[int], lanes: int) -> list[int]:
        """Output bits in the order of the ports, each an integer of so many lanes.

        Raises:
            UsageError: not as many bits as the circuit has inputs.
        """
        if len(bits_I) != len(self.netlist.input_bits):
            raise UsageError(f"{self.netlist.name} takes {len(self.netlist.input_bits)} bits; got {len(bits_I)}.")
        found: list[int] = self._step(bits_I, (1 << lanes) - 1)
        return found


class CompiledBitwise:
    """The same in C."""

    def __init__(self, netlist: Netlist) -> None:
        """
        Raises:
            HoldfastError: there is no C compiler (`compiler` tells), or it fails.
        """
        self.netlist = netlist
        self._library = _built(_in_c(netlist))
        self._library.step.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long]

    def __call__(self, words_IW: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """words_OW of the outputs, port after port: bit l of word w is what lane 64 w + l has.

        Args:
            words_IW: W a multiple of 8.

        Raises:
            UsageError: words of another shape.
        """
        inputs, outputs = len(self.netlist.input_bits), len(self.netlist.output_bits)
        if words_IW.ndim != 2 or len(words_IW) != inputs or words_IW.shape[1] % VECTOR:
            raise UsageError(
                f"{self.netlist.name} takes words of shape ({inputs}, a multiple of {VECTOR}); got {words_IW.shape}."
            )
        words_IW = np.ascontiguousarray(words_IW, np.uint64)
        out_OW = np.empty((outputs, words_IW.shape[1]), np.uint64)
        self._library.step(words_IW.ctypes.data, out_OW.ctypes.data, words_IW.shape[1] // VECTOR)
        return out_OW


def compiler() -> str | None:
    """The C compiler that is at hand: $CC, cc, gcc or clang."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


class Steps(NamedTuple):
    """A circuit gate by gate, its adders as full adders. Value 0 is false, and the next ones are the inputs."""

    steps: list[Step]
    outputs: list[int]
    """Literals."""
    values: int


def steps_of(netlist: Netlist) -> Steps:
    """All of a circuit's gates."""
    found: list[Step] = []
    inputs = {bit >> 1: 2 * (1 + i) for i, bit in enumerate(netlist.input_bits)}
    values = {0: FALSE, **inputs}

    def of(literal: int) -> int:
        return values[literal >> 1] ^ literal & 1

    def add(op: str, x: int, y: int) -> int:
        found.append(Step(len(inputs) + len(found) + 1, op, x, y))
        return 2 * found[-1].to

    def gate(_node: int, kind: int, left: int, right: int) -> int:
        return add("&" if kind == AND else "^", of(left), of(right))

    def summed(number: int) -> list[int]:
        adder = netlist.adders[number]
        carry, bits = of(adder.carry), []
        for x, y in zip(map(of, adder.a), map(of, adder.b), strict=True):
            one = add("^", x, y)
            bits.append(add("^", one, carry))
            carry = add("|", add("&", x, y), add("&", one, carry))
        return [*bits, carry]

    netlist.walk(values, gate, summed)
    return Steps(found, [of(bit) for bit in netlist.output_bits], 1 + len(inputs) + len(found))


def _in_c(netlist: Netlist) -> str:
    """`step(in, out, count)`: for each of so many vectors, in (I, W) and out (O, W) words."""
    every, outputs, values = steps_of(netlist)

    def of(literal: int) -> str:
        return f"~n[{literal >> 1}]" if literal & 1 else f"n[{literal >> 1}]"

    parts: list[str] = []
    for at in range(0, len(every), STRETCH):
        body = " ".join(f"n[{s.to}] = {of(s.x)} {s.op} {of(s.y)};" for s in every[at : at + STRETCH])
        parts.append(f"static __attribute__((noinline)) void part{len(parts)}(v *restrict n) {{ {body} }}")
    reads = " ".join(f"n[{i + 1}] = in[{i} * count + w];" for i in range(len(netlist.input_bits)))
    writes = " ".join(f"out[{o} * count + w] = {of(bit)};" for o, bit in enumerate(outputs))
    calls = " ".join(f"part{i}(n);" for i in range(len(parts)))
    return "\n".join(
        [
            f"typedef unsigned long long v __attribute__((vector_size({8 * VECTOR}), aligned(8)));",
            f"static v n[{values}];",
            *parts,
            "void step(const v *in, v *out, long count) {",
            f"for (long w = 0; w < count; w++) {{ {reads} {calls} {writes} }} }}",
        ]
    )


@lru_cache(maxsize=8)
def _built(source: str) -> ctypes.CDLL:
    """The code, compiled in a folder that is gone afterwards.

    Raises:
        HoldfastError: there is no compiler, or it fails.
    """
    found = compiler()
    if found is None:
        raise HoldfastError("A C compiler was expected (cc, gcc, clang or $CC); there is none. Bitwise does without.")
    with tempfile.TemporaryDirectory() as folder:
        code, library = Path(folder) / "bitwise.c", Path(folder) / "bitwise.so"
        code.write_text(source)
        done = subprocess.run([found, *FLAGS, str(code), "-o", str(library)], capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise HoldfastError(f"{found} failed on generated code ({said[0] if said else done.returncode}).")
        return ctypes.CDLL(str(library))
