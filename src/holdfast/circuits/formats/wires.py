"""What all file formats share: wires that are driven by name, in any order, and turned into a netlist."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from holdfast.circuits.builder import Builder
from holdfast.circuits.netlist import MOST_INPUTS
from holdfast.errors import HoldfastError

Make = Callable[[Builder, Sequence[int]], int]
"""Builds a gate on the literals of its inputs, and returns the literal of its output."""
LARGEST = 10**8
"""Of the numbers in a file, at most: one that says more is taken for damaged."""
INDEXED = re.compile(r"(.+)\[([0-9]{1,9})\]")


def inverse(_: Builder, literals: Sequence[int]) -> int:
    """An inverter."""
    return literals[0] ^ 1


def same(_: Builder, literals: Sequence[int]) -> int:
    """A buffer."""
    return literals[0]


@dataclass(frozen=True)
class Place:
    """Where in a file something stands."""

    file: str
    line: int

    def wrong(self, what: str) -> HoldfastError:
        """An error at this place."""
        return HoldfastError(f"{self.file}, line {self.line}: {what}")

    def numbers(self, words: Sequence[str]) -> list[int]:
        """Whole numbers that stand here.

        Raises:
            HoldfastError: something else, or a number that no sound file has.
        """
        for word in words:
            if not (word.isascii() and word.isdecimal()) or len(word) > 9 or int(word) > LARGEST:
                raise self.wrong(f"Expected whole numbers from 0 to {LARGEST}; got {word[:40]!r}.")
        return [int(word) for word in words]

    def refuse_many(self, inputs: int) -> None:
        """Inputs that the file counts and does not list.

        Raises:
            HoldfastError: more than `MOST_INPUTS`.
        """
        if inputs > MOST_INPUTS:
            raise self.wrong(
                f"Expected up to {MOST_INPUTS:,} inputs; got {inputs:,}. The file is damaged, or too large."
            )


@dataclass(frozen=True)
class Gate:
    """What drives a wire."""

    inputs: tuple[str, ...]
    make: Make
    place: Place


class Wires:
    """Gates by the wire that they drive; turned into literals once all are known."""

    def __init__(self) -> None:
        self.builder = Builder()
        self._gates: dict[str, Gate] = {}
        self._literals: dict[str, int] = {}

    def given(self, wire: str, literal: int, place: Place) -> None:
        """An input of the circuit, or a constant."""
        self._refuse_second(wire, place)
        self._literals[wire] = literal

    def drive(self, wire: str, inputs: Sequence[str], make: Make, place: Place) -> None:
        """A gate's output.

        Raises:
            HoldfastError: the wire is driven already.
        """
        self._refuse_second(wire, place)
        self._gates[wire] = Gate(tuple(inputs), make, place)

    def literal(self, wire: str, place: Place) -> int:
        """The literal of a wire; whatever it depends on is built, depth first and without recursion.

        Raises:
            HoldfastError: a wire that nothing drives, or a cycle.
        """
        path, waiting = [wire], {wire}
        while path:
            top = path[-1]
            if top in self._literals:
                waiting.discard(path.pop())
                continue
            if top not in self._gates:
                user = self._gates[path[-2]].place if len(path) > 1 else place
                raise user.wrong(
                    f"{top} is used, and nothing drives it. Drive it by a gate or make it an input (the clock cannot "
                    f"be read as data)."
                )
            gate = self._gates[top]
            missing = next((name for name in gate.inputs if name not in self._literals), None)
            if missing is None:
                self._literals[top] = gate.make(self.builder, [self._literals[name] for name in gate.inputs])
                waiting.discard(path.pop())
            elif missing in waiting:
                cycle = " <- ".join([*path[path.index(missing) :], missing][:8])
                raise gate.place.wrong(
                    f"{top} depends on itself ({cycle}). Only logic without loops can be compiled: break it, or make "
                    f"one of these wires an input."
                )
            else:
                path.append(missing)
                waiting.add(missing)
        return self._literals[wire]

    def build_all(self) -> None:
        """Build every gate, also those that no output needs, so that what is wrong in them is said."""
        for wire, gate in self._gates.items():
            self.literal(wire, gate.place)

    def _refuse_second(self, wire: str, place: Place) -> None:
        if wire in self._literals or wire in self._gates:
            raise place.wrong(f"{wire} is driven twice. Every wire has one driver: rename one of them.")


def ports(names: Iterable[str]) -> list[tuple[str, list[int]]]:
    """Names of bits as words: those that read `word[0]`, `word[1]`, ... without a gap, in any order, are one port.

    Returns:
        (port, positions of its bits in `names`, least significant first), in order of first appearance.
    """
    names = list(names)
    words: dict[str, list[tuple[int, int]]] = {}
    for position, name in enumerate(names):
        if found := INDEXED.fullmatch(name):
            words.setdefault(found[1], []).append((int(found[2]), position))
    taken = set(names)
    whole = {w for w, at in words.items() if sorted(bit for bit, _ in at) == list(range(len(at))) and w not in taken}
    result: dict[object, tuple[str, list[int]]] = {}
    for position, name in enumerate(names):
        found = INDEXED.fullmatch(name)
        if found and found[1] in whole:
            result.setdefault(found[1], (found[1], [at for _, at in sorted(words[found[1]])]))
        else:
            result[position] = name, [position]
    return list(result.values())


def bit_names(port: str, width: int) -> list[str]:
    """Names of a port's bits as they are written."""
    return [port] if width == 1 else [f"{port}[{bit}]" for bit in range(width)]
