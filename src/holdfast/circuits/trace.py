"""From a plain Python function over words of bits to a netlist, by running it once on symbols."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Union

from holdfast.circuits.builder import Builder
from holdfast.circuits.netlist import FALSE, TRUE, Netlist
from holdfast.errors import UsageError

Operand = Union["Bits", int]


class Bits:
    """A word of bits whose values are not known yet, least significant first. Unsigned; sums wrap at its width.

    `& | ^ ~ + -`, comparisons, shifts by a known number, `x[i]`, `x[i:j]`, `rotl`, `rotr`, and the functions `mux`,
    `lookup` and `concat`. A word meets a Python int as a word of the same width. It can't steer Python: `if x:` is an
    error.
    """

    __slots__ = ("_bits", "_builder")

    def __init__(self, builder: Builder, bits: Sequence[int]) -> None:
        self._builder, self._bits = builder, tuple(bits)

    def __len__(self) -> int:
        return len(self._bits)

    def __repr__(self) -> str:
        return f"<{len(self)} bits>"

    def __iter__(self) -> Iterator["Bits"]:
        return (self._new([bit]) for bit in self._bits)

    def __getitem__(self, at: int | slice) -> "Bits":
        picked = self._bits[at]
        return self._new(picked if isinstance(picked, tuple) else [picked])

    def __invert__(self) -> "Bits":
        return self._new([bit ^ 1 for bit in self._bits])

    def __and__(self, other: Operand) -> "Bits":
        return self._each(self._builder.both, other)

    def __or__(self, other: Operand) -> "Bits":
        return self._each(self._builder.either, other)

    def __xor__(self, other: Operand) -> "Bits":
        return self._each(self._builder.differ, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __add__(self, other: Operand) -> "Bits":
        return self._new(self._builder.add(self._bits, self._same(other))[:-1])

    __radd__ = __add__

    def __sub__(self, other: Operand) -> "Bits":
        return self._new(self._difference(self._same(other))[:-1])

    def __rsub__(self, other: int) -> "Bits":
        return self._new(self._same(other)) - self

    def __lshift__(self, by: int) -> "Bits":
        by = self._known(by)
        return self._new(([FALSE] * by + list(self._bits))[: len(self)])

    def __rshift__(self, by: int) -> "Bits":
        by = self._known(by)
        return self._new((list(self._bits) + [FALSE] * by)[by : by + len(self)])

    def rotl(self, by: int) -> "Bits":
        """Rotated to the left (towards the most significant bit)."""
        return self.rotr(-self._known(by, below=True))

    def rotr(self, by: int) -> "Bits":
        """Rotated to the right."""
        by = self._known(by, below=True) % max(1, len(self))
        return self._new(self._bits[by:] + self._bits[:by])

    def __eq__(self, other: object) -> "Bits":  # type: ignore[override]
        return ~(self != other)

    def __ne__(self, other: object) -> "Bits":  # type: ignore[override]
        if not isinstance(other, Bits | int):
            raise UsageError(f"Words of bits are compared with words of bits or with ints; got {other!r}.")
        return self._new([self._builder.any((self ^ other)._bits)])

    def __lt__(self, other: Operand) -> "Bits":
        return ~(self >= other)

    def __ge__(self, other: Operand) -> "Bits":
        return self._new(self._difference(self._same(other))[-1:])

    def __gt__(self, other: Operand) -> "Bits":
        return ~(self <= other)

    def __le__(self, other: Operand) -> "Bits":
        return self._new(self._same(other)) >= self

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise UsageError(
            "A function that is traced can't branch on a bit, since the circuit has no branches: both sides are always "
            "computed. Write mux(condition, yes, no) for `if`, & | ~ for `and or not`."
        )

    def __index__(self) -> int:
        raise UsageError(
            "A bit's value is not known while a function is traced, so it can't index or be counted to. Write "
            "lookup(word, table) for `table[word]`."
        )

    __int__ = __index__

    def _new(self, bits: Sequence[int]) -> "Bits":
        return Bits(self._builder, bits)

    def _each(self, gate: Callable[[int, int], int], other: Operand) -> "Bits":
        return self._new([gate(x, y) for x, y in zip(self._bits, self._same(other), strict=True)])

    def _difference(self, other: Sequence[int]) -> list[int]:
        """self - other as self + ~other + 1; the carry out says self >= other."""
        return self._builder.add(self._bits, [bit ^ 1 for bit in other], TRUE)

    def _same(self, other: Operand) -> tuple[int, ...]:
        """Another operand's literals, at this width."""
        if isinstance(other, bool) or not isinstance(other, Bits | int):
            raise UsageError(f"Words of bits meet words of bits or ints; got {other!r}.")
        if isinstance(other, int):
            if not -(1 << len(self)) < other < 1 << len(self):
                raise UsageError(f"{other} does not fit in a word of {len(self)} bits.")
            return tuple(other >> i & 1 for i in range(len(self)))
        if other._builder is not self._builder:
            raise UsageError("These words are of two different traces. Give both to the function as arguments.")
        if len(other) != len(self):
            raise UsageError(
                f"Words of {len(self)} and {len(other)} bits meet. Cut or widen one: x[:n], concat(x, zeros(...))."
            )
        return other._bits

    def _known(self, by: object, below: bool = False) -> int:
        if isinstance(by, Bits) or not isinstance(by, int) or (by < 0 and not below):
            raise UsageError(
                f"Words are shifted by a known number of places, an int of 0 or more; got {by!r}. For a shift that "
                f"depends on bits chain mux(bit, x << 1, x)."
            )
        return by


def mux(condition: Bits, yes: Bits, no: Operand) -> Bits:
    """`yes` where the condition (one bit) is true, else `no`."""
    if len(condition) != 1:
        raise UsageError(f"mux chooses by one bit; got a word of {len(condition)}. Compare it: x != 0.")
    choose, which = condition._builder.choose, condition._bits[0]
    return yes._new([choose(which, y, n) for y, n in zip(yes._bits, yes._same(no), strict=True)])


def concat(*words: Bits) -> Bits:
    """One word, the first one's bits lowest."""
    return words[0]._new([bit for word in words for bit in word._bits])


def lookup(word: Bits, table: Sequence[int], width: int) -> Bits:
    """table[word] as a word of `width` bits, by a tree of multiplexers. The table has 2^len(word) entries."""
    if len(table) != 1 << len(word):
        raise UsageError(f"A word of {len(word)} bits looks up in {1 << len(word)} entries; got {len(table)}.")
    rows = [Bits(word._builder, [entry >> i & 1 for i in range(width)]) for entry in table]
    if any(not 0 <= entry < 1 << width for entry in table):
        raise UsageError(f"An entry of the table does not fit in {width} bits.")
    for bit in word:
        rows = [mux(bit, rows[i + 1], rows[i]) for i in range(0, len(rows), 2)]
    return rows[0]


def trace(function: Callable[..., Any], widths: Mapping[str, int] | None = None, *, name: str = "") -> Netlist:
    """Run a function once on symbols and return its circuit.

    Args:
        function: takes words of bits and returns one, a tuple of them, or a dict of them by name.
        widths: bits of each argument. Default: its annotations, `def f(a: 8, b: 8)`, or its defaults where they are
            ints, `def f(a=8)`.
        name: of the circuit; default the function's.

    Raises:
        UsageError: an argument without a width, or a result that is no word of bits.
    """
    builder = Builder()
    arguments = {
        argument: Bits(builder, builder.input(argument, width))
        for argument, width in _widths(function, widths or {}).items()
    }
    found = function(**arguments)
    if isinstance(found, Bits):
        found = {"out": found}
    elif isinstance(found, tuple | list):
        found = {f"out{i}": word for i, word in enumerate(found)}
    if not isinstance(found, dict) or not found or not all(isinstance(word, Bits) for word in found.values()):
        raise UsageError(
            f"{_named(function)} must return a word of bits, a tuple or a dict of them; got {found!r}. A result that "
            f"does not depend on the arguments is no circuit."
        )
    return builder.netlist(name or _named(function), [(port, word._bits) for port, word in found.items()])


def _widths(function: Callable[..., Any], widths: Mapping[str, int]) -> dict[str, int]:
    found = {}
    for argument in inspect.signature(function).parameters.values():
        said = [widths.get(argument.name), argument.annotation, argument.default]
        width = next((w for w in said if isinstance(w, int) and not isinstance(w, bool)), None)
        if width is None or width < 1:
            raise UsageError(
                f"{_named(function)} takes {argument.name}: say how many bits it has, 1 or more, by an annotation, "
                f"`{argument.name}: 8`, or in `widths`."
            )
        found[argument.name] = width
    if not found:
        raise UsageError(f"{_named(function)} takes no arguments: a circuit needs inputs.")
    return found


def _named(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
