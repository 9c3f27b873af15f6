"""From a plain Python function over words of bits to a netlist, by running it once on symbols."""

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Union

from holdfast.circuits import builder as building
from holdfast.circuits.builder import Builder
from holdfast.circuits.netlist import FALSE, MOST_INPUTS, TRUE, Netlist
from holdfast.errors import HoldfastError, UsageError

Operand = Union["Bits", int]


class Bits:
    """A word of bits whose values are not known yet, least significant first. Unsigned; sums wrap at its width.

    `& | ^ ~ + -`, comparisons, shifts by a known number, `x[i]`, `x[i:j]`, `rotl`, `rotr`, `widened`, and the functions
    `mux`, `lookup` and `concat`. A word meets a Python int as a word of the same width, 0 <= int < 2^width; in + and -,
    which wrap, the int may be negative, down to -2^(width - 1). It can't steer Python: `if x:` is an error. `sum` of
    single bits is one too, since it would wrap at one bit: `sum(bit.widened(4) for bit in x)`.
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
        try:
            picked = self._bits[at]
        except (IndexError, TypeError):
            raise UsageError(
                f"A word of {len(self)} bits has x[0] to x[{len(self) - 1}] and x[i:j]; got x[{at!r}]."
            ) from None
        return self._new(picked if isinstance(picked, tuple) else [picked])

    def __setitem__(self, at: object, value: object) -> NoReturn:
        raise UsageError("A word's bits can't be set in place. Put a new word together: concat(x[:i], bit, x[i + 1:]).")

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
        return self._new(self._builder.add(self._bits, self._same(other, signed=True))[:-1])

    def __radd__(self, other: int) -> "Bits":
        if len(self) == 1 and other == 0:
            raise UsageError(
                "A sum of single bits, such as sum(x), would wrap at one bit and be their parity. Widen them: "
                "sum(bit.widened(4) for bit in x)."
            )
        return self + other

    def __sub__(self, other: Operand) -> "Bits":
        return self._new(self._difference(self._same(other, signed=True))[:-1])

    def __rsub__(self, other: int) -> "Bits":
        return self._new(self._same(other, signed=True)) - self

    def _no_gates(self, other: object) -> NoReturn:
        raise UsageError(
            "Words of bits have & | ^ ~ + - and comparisons, and no * / // % **. A product is a sum of shifted words: "
            "mux(b[i], a << i, 0) for each i; or write it in Verilog."
        )

    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _no_gates
    __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = __divmod__ = __rdivmod__ = _no_gates

    def __lshift__(self, by: int) -> "Bits":
        by = min(self._known(by), len(self))
        return self._new([FALSE] * by + list(self._bits[: len(self) - by]))

    def __rshift__(self, by: int) -> "Bits":
        by = min(self._known(by), len(self))
        return self._new(list(self._bits[by:]) + [FALSE] * by)

    def __rlshift__(self, other: object) -> NoReturn:
        raise _shifted_by(self)

    __rrshift__ = __rlshift__

    def widened(self, width: int) -> "Bits":
        """The same number as a word of so many bits, with zeros above."""
        _refuse_width(width, least=len(self))
        return self._new([*self._bits, *[FALSE] * (width - len(self))])

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

    def _same(self, other: Operand, *, signed: bool = False) -> tuple[int, ...]:
        """Another operand's literals, at this width; `signed`: ints may be negative, for in sums they wrap."""
        if isinstance(other, bool) or not isinstance(other, Bits | int):
            raise UsageError(f"Words of bits meet words of bits or ints; got {other!r}.")
        if isinstance(other, int):
            least = -(1 << len(self) >> 1) if signed else 0
            if not least <= other < 1 << len(self):
                raise UsageError(
                    f"{_short(other)} does not fit in a word of {len(self)} bits, which are unsigned: expected "
                    f"{_short(least)} to 2^{len(self)} - 1. Widen the word, or write a negative mask as ~x."
                )
            return tuple(other >> i & 1 for i in range(len(self)))
        if other._builder is not self._builder:
            raise UsageError("These words are of two different traces. Give both to the function as arguments.")
        if len(other) != len(self):
            raise UsageError(f"Words of {len(self)} and {len(other)} bits meet. Cut or widen one: x[:n], x.widened(n).")
        return other._bits

    def _known(self, by: object, below: bool = False) -> int:
        if isinstance(by, bool) or not isinstance(by, int) or (by < 0 and not below):
            raise _shifted_by(by)
        return by


def _shifted_by(by: object) -> UsageError:
    return UsageError(
        f"Words are shifted by a known number of places, an int of 0 or more; got {by!r}. For a shift that depends on "
        f"bits chain mux(bit, x << 1, x)."
    )


def mux(condition: Bits, yes: Operand, no: Operand) -> Bits:
    """`yes` where the condition (one bit) is true, else `no`; one of them may be an int."""
    if not isinstance(condition, Bits) or len(condition) != 1:
        got = f"a word of {len(condition)}. Compare it: x != 0" if isinstance(condition, Bits) else repr(condition)
        raise UsageError(f"mux chooses by one bit; got {got}.")
    word = yes if isinstance(yes, Bits) else no
    if not isinstance(word, Bits):
        raise UsageError(f"mux chooses between words of bits, one of which may be an int; got {yes!r} and {no!r}.")
    choose, which = condition._builder.choose, condition._bits[0]
    return word._new([choose(which, y, n) for y, n in zip(word._same(yes), word._same(no), strict=True)])


def concat(*words: Bits) -> Bits:
    """One word, the first one's bits lowest."""
    if not words or not all(isinstance(word, Bits) for word in words):
        raise UsageError(
            f"concat puts words of bits together, one or more; got {', '.join(map(repr, words)) or 'none'}. An int has "
            f"no width: (x[:2] & 0) | 3 is 3 as a word of two bits, of any x."
        )
    return words[0]._new([bit for word in words for bit in word._bits])


def lookup(word: Bits, table: Sequence[int], width: int) -> Bits:
    """table[word] as a word of `width` bits, by a tree of multiplexers. The table has 2^len(word) entries."""
    if not isinstance(word, Bits) or not hasattr(table, "__len__"):
        raise UsageError(f"lookup takes a word of bits, a table and a width; got {word!r} and {table!r}.")
    _refuse_width(width)
    if len(table) != 1 << len(word):
        raise UsageError(f"A word of {len(word)} bits looks up in {1 << len(word)} entries; got {len(table)}.")
    if wrong := [entry for entry in table if isinstance(entry, bool | Bits) or not hasattr(entry, "__index__")]:
        raise UsageError(f"A table's entries are known ints; got {wrong[0]!r}. For words of bits chain mux.")
    table = [int(entry) for entry in table]
    rows = [Bits(word._builder, [entry >> i & 1 for i in range(width)]) for entry in table]
    if any(not 0 <= entry < 1 << width for entry in table):
        raise UsageError(f"An entry of the table does not fit in {width} bits.")
    for bit in word:
        rows = [mux(bit, rows[i + 1], rows[i]) for i in range(0, len(rows), 2)]
    return rows[0]


def _refuse_width(width: object, *, least: int = 1) -> None:
    if isinstance(width, bool) or not isinstance(width, int) or not least <= width <= MOST_INPUTS:
        raise UsageError(f"Expected a width of {least} to {MOST_INPUTS:,} bits, an int; got {width!r}.")


def _short(number: int) -> str:
    """An int as it is said: of a very long one, how long it is."""
    return str(number) if number.bit_length() < 100 else f"An int of {number.bit_length()} bits"


def trace(function: Callable[..., Any], widths: Mapping[str, int] | None = None, *, name: str = "") -> Netlist:
    """Run a function once on symbols and return its circuit.

    Args:
        function: takes words of bits and returns one, a tuple of them, or a dict of them by name.
        widths: bits of each argument. Default: its annotations, `def f(a: 8, b: 8)`, or its defaults where they are
            ints, `def f(a=8)`.
        name: of the circuit; default the function's.

    Raises:
        UsageError: an argument without a width, a result that is no word of bits, or whatever goes wrong in the
            function; its line is named.
    """
    builder = Builder()
    placed, named = [], {}
    for argument, width in _widths(function, widths or {}).items():
        word = Bits(builder, builder.input(argument.name, width))
        if argument.kind is argument.POSITIONAL_ONLY:
            placed.append(word)
        else:
            named[argument.name] = word
    try:
        found = function(*placed, **named)
    except SystemExit:
        raise UsageError(f"{_named(function)} calls sys.exit(). Return a word of bits.") from None
    except Exception as error:
        what = str(error) if isinstance(error, HoldfastError) else f"{type(error).__name__}: {error}. {OPERATIONS}"
        raise UsageError(f"{_named(function)}{_line(error)}: {what}") from error
    if isinstance(found, Bits):
        found = {"out": found}
    elif isinstance(found, tuple | list):
        found = {f"out{i}": word for i, word in enumerate(found)}
    if (
        not isinstance(found, dict)
        or not found
        or not all(isinstance(port, str) and isinstance(word, Bits) for port, word in found.items())
    ):
        raise UsageError(
            f"{_named(function)} must return a word of bits, a tuple or a dict of them; got {found!r}. A result that "
            f"does not depend on the arguments is no circuit."
        )
    return builder.netlist(name or _named(function), [(port, word._bits) for port, word in found.items()])


OPERATIONS = "Words of bits have & | ^ ~ + - < <= > >= == != << >>, x[i], x[i:j], rotl, rotr, mux, lookup, concat."


def _line(error: Exception) -> str:
    """Where in the user's file an error comes from: the innermost call outside of the tracer."""
    ours = (__file__, building.__file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in ours]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _widths(function: Callable[..., Any], widths: Mapping[str, int]) -> dict[inspect.Parameter, int]:
    found = {}
    for argument in _signature(function).parameters.values():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            raise UsageError(
                f"{_named(function)} takes {argument}: a circuit's inputs are fixed. Name each, with its bits: `a: 8`."
            )
        said = [widths.get(argument.name), _evaluated(function, argument.annotation), argument.default]
        width = next((w for w in said if isinstance(w, int) and not isinstance(w, bool)), None)
        if width is None or width < 1:
            raise UsageError(
                f"{_named(function)} takes {argument.name}: say how many bits it has, 1 or more, by an annotation, "
                f"`{argument.name}: 8`, or in `widths`."
            )
        found[argument] = width
    if not found:
        raise UsageError(f"{_named(function)} takes no arguments: a circuit needs inputs.")
    return found


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{_named(function)} does not say what it takes ({error}). Wrap it: def f(a: 8)") from None


def _evaluated(function: Callable[..., Any], annotation: object) -> object:
    """An annotation, which is a string at first under `from __future__ import annotations`."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))
    except Exception:
        return None


def _named(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
