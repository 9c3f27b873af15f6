"""A circuit as straight-line code on words of bits, a lane a bit: exact, and far faster than a network.

The code is LLVM's, compiled by llvmlite in the process itself. Both come with numba, that is with the extra
`encrypted`; no C compiler is needed.

Shapes: I input bits, O output bits, W words of 64 lanes.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.compiler import intrinsic, ir, llvm, types
from holdfast.circuits.netlist import AND, FALSE, Netlist
from holdfast.errors import UsageError

LANES = 64
"""Of a word."""
WORDS = (1, 2, 4, 8)
"""How many can be computed on at once: what LLVM lays out as vectors without gaps, up to the widest registers."""
STRETCH = 256
"""Gates of one compiled function: a compiler takes time that grows faster than a function's length."""
OPS = {"&": "and", "^": "xor", "|": "or"}


class Bitwise:
    """A circuit, compiled for so many words at once.

    With 8 a lane costs least. One is compiled in less time: 13,000 gates in half a second, and 3 seconds for 8.
    """

    address: int
    """Of the compiled function, to which are given the addresses of (I, W) words in and of (O, W) words out."""

    def __init__(self, netlist: Netlist, words: int = 1) -> None:
        """
        Raises:
            UsageError: another number of words than in `WORDS`.
        """
        if words not in WORDS:
            raise UsageError(f"Bitwise computes on {', '.join(map(str, WORDS))} words at once; got {words!r}.")
        self.netlist, self.words = netlist, words
        self._code, self.address = _compiled(netlist, words)
        self._step = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(self.address)

    def __call__(self, words_IW: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """words_OW of the outputs, port after port: bit l of word w is what lane 64 w + l has.

        Raises:
            UsageError: words of another shape.
        """
        shape = len(self.netlist.input_bits), self.words
        if words_IW.shape != shape:
            raise UsageError(f"{self.netlist.name} takes words of shape {shape}; got {words_IW.shape}.")
        words_IW = np.ascontiguousarray(words_IW, np.uint64)
        out_OW = np.empty((len(self.netlist.output_bits), self.words), np.uint64)
        self._step(words_IW.ctypes.data, out_OW.ctypes.data)
        return out_OW


class Step(NamedTuple):
    """value[to] = x op y; x and y are literals of values, 2 x number, + 1 for the inverse."""

    to: int
    op: str
    x: int
    y: int


class Steps(NamedTuple):
    """A circuit gate by gate, its adders as full adders. Value 0 is false, and the next ones are the inputs."""

    steps: list[Step]
    outputs: list[int]
    """Literals."""


def steps_of(netlist: Netlist) -> Steps:
    """The gates that outputs depend on, each soon after what it reads: so that few values wait for one."""
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
    outputs = [of(bit) for bit in netlist.output_bits]
    return Steps(_by_use({step.to: step for step in found}, outputs), outputs)


def _by_use(steps: dict[int, Step], outputs: Sequence[int]) -> list[Step]:
    """Output after output, what it needs, and what that needs before."""
    ordered: dict[int, Step] = {}
    for output in outputs:
        asked = [output >> 1]
        while asked:
            step = steps.get(asked[-1])
            if step is None or step.to in ordered:
                asked.pop()
                continue
            missing = [at for at in (step.y >> 1, step.x >> 1) if at in steps and at not in ordered]
            if missing:
                asked += missing
            else:
                ordered[asked.pop()] = step
    return list(ordered.values())


class _Function:
    """Lines of a function in LLVM's language, and which values are at hand in it. Values are vectors of words."""

    def __init__(self, head: str, words: int) -> None:
        self._lines = [f"define {head} nounwind {{"]
        self.vector, zero, self._ones = "i64", "0", "-1"
        if words > 1:
            self.vector, zero = f"<{words} x i64>", "zeroinitializer"
            self._ones = f"<{', '.join(['i64 -1'] * words)}>"
        self._held = {0: zero}

    def add(self, line: str) -> None:
        self._lines.append(line)

    def let(self, value: int, is_: str) -> None:
        self.add(f"%v{value} = {is_}")
        self._held[value] = f"%v{value}"

    def at(self, base: str, place: int, name: str) -> str:
        """The address of a vector behind another."""
        self.add(f"%{name} = getelementptr {self.vector}, ptr {base}, i64 {place}")
        return f"ptr %{name}, align 8"

    def operand(self, literal: int, place: Callable[[int], tuple[str, int]]) -> str:
        """A literal; if its value is not at hand it is read from its place."""
        value = literal >> 1
        if value not in self._held:
            self.let(value, f"load {self.vector}, {self.at(*place(value), f'r{value}')}")
        if not literal & 1:
            return self._held[value]
        inverse = -value - 1
        if inverse not in self._held:
            self.add(f"%i{value} = xor {self.vector} {self._held[value]}, {self._ones}")
            self._held[inverse] = f"%i{value}"
        return self._held[inverse]

    def store(self, operand: str, base: str, place: int, name: str) -> None:
        self.add(f"store {self.vector} {operand}, {self.at(base, place, name)}")

    def text(self) -> str:
        return "\n".join([*self._lines, "ret void", "}"])


def _in_llvm(netlist: Netlist, words: int) -> str:
    """`step(in, out)`, which calls one function for each stretch of gates.

    What one stretch leaves for later ones stands in slots, taken again when its last reader is through: so that
    few are needed, which stay near the processor.
    """
    gates, outputs = steps_of(netlist)
    inputs = len(netlist.input_bits)
    parts = [gates[at : at + STRETCH] for at in range(0, len(gates), STRETCH)]
    read = {literal >> 1: number for number, part in enumerate(parts) for s in part for literal in (s.x, s.y)}
    read |= {literal >> 1: len(parts) for literal in outputs}
    slots: dict[int, int] = {}
    free: list[int] = []
    count = 0

    def place(value: int) -> tuple[str, int]:
        return ("%in", value - 1) if value <= inputs else ("%held", slots[value])

    texts = []
    for number, part in enumerate(parts):
        made = _Function(f"internal void @part{number}(ptr noalias %in, ptr noalias %held) noinline", words)
        for step in part:
            x, y = made.operand(step.x, place), made.operand(step.y, place)
            made.let(step.to, f"{OPS[step.op]} {made.vector} {x}, {y}")
        for value in (step.to for step in part if read[step.to] > number):
            if not free:
                free, count = [count], count + 1
            slots[value] = free.pop()
            made.store(f"%v{value}", "%held", slots[value], f"w{value}")
        free += [slot for value, slot in slots.items() if read[value] == number]
        texts.append(made.text())
    made = _Function("void @step(ptr noalias %in, ptr noalias %out)", words)
    made.add(f"%held = alloca {made.vector}, i64 {max(1, count)}, align 64")
    for number in range(len(parts)):
        made.add(f"call void @part{number}(ptr %in, ptr %held)")
    for at, literal in enumerate(outputs):
        made.store(made.operand(literal, place), "%out", at, f"o{at}")
    return "\n".join([*texts, made.text()])


@lru_cache(maxsize=8)
def _compiled(netlist: Netlist, words: int) -> tuple[Any, int]:
    """The code, which lives as long as the first of these, and the address of `step`."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(_in_llvm(netlist, words))
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=1, jit=True
    )
    code = llvm.create_mcjit_compiler(module, machine)
    code.finalize_object()
    return code, code.get_function_address("step")


@intrinsic
def call(typing: Any, address: Any, words_in: Any, words_out: Any) -> Any:
    """In compiled functions: what `Bitwise` does, given its `address` and those of words in and out."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(each, pointer) for each in arguments[1:]])
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), build
