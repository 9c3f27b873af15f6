"""AIGER, ASCII (`aag`) and binary (`aig`): and-inverter graphs. Biere, Heljanko & Wieringa 2011, AIGER 1.9.

Header: M I L O A, the largest variable and the counts of inputs, latches, outputs and ANDs; 1.9 adds B C J F, which
have to do with time and are refused, like latches.
"""

import re
from collections.abc import Sequence

from holdfast.circuits.builder import Builder
from holdfast.circuits.formats.wires import Place, Wires, ports
from holdfast.circuits.netlist import Netlist
from holdfast.errors import HoldfastError


def read_aiger(data: bytes, file: str = "circuit") -> Netlist:
    """A circuit in either form; ports are named by the symbol table, else i0, i1, ..., o0, ...

    Raises:
        HoldfastError: not as the format says, a latch, a cycle, or a variable without one definition.
    """
    head, _, rest = data.partition(b"\n")
    place = Place(file, 1)
    words = head.decode("latin-1").split()
    if not words or words[0] not in ("aag", "aig"):
        raise place.wrong("Expected a header `aag M I L O A` or `aig M I L O A`.")
    counts = place.numbers(words[1:])
    if len(counts) < 5 or len(counts) > 9:
        raise place.wrong(f"Expected five numbers after {words[0]}, M I L O A; got {len(counts)}.")
    most, inputs, latches, outputs, ands = counts[:5]
    if latches or any(counts[5:]):
        raise place.wrong(
            f"The circuit has {latches} latches{' and properties over time' * any(counts[5:])}: only logic without "
            f"memory can be compiled. Cut it at its latches (their outputs as inputs)."
        )
    if most < inputs + ands or (words[0] == "aig" and most != inputs + ands):
        raise place.wrong(f"M = {most} does not go with {inputs} inputs and {ands} ANDs.")
    read = _ascii if words[0] == "aag" else _binary
    return read(file, rest, most, inputs, outputs, ands)


def _ascii(file: str, rest: bytes, most: int, inputs: int, outputs: int, ands: int) -> Netlist:
    lines = rest.decode("latin-1").split("\n")
    if len(lines) < inputs + outputs + ands:
        raise Place(file, len(lines) + 1).wrong(
            f"The file ends before its {inputs} inputs, {outputs} outputs and {ands} ANDs: it is cut off."
        )

    def row(at: int, count: int) -> tuple[Place, list[int]]:
        place = Place(file, at + 2)
        found = place.numbers(lines[at].split())
        if len(found) != count:
            raise place.wrong(f"Expected {count} literals; got {lines[at][:60]!r}.")
        if max(found) > 2 * most + 1:
            raise place.wrong(f"Literal {max(found)} is beyond the largest variable, {most}.")
        return place, found

    Place(file, 1).refuse_many(inputs)
    circuit = Wires()
    circuit.given(_wire(0), 0, Place(file, 1))
    given = [row(at, 1) for at in range(inputs)]
    asked = [row(inputs + at, 1) for at in range(outputs)]
    for at in range(inputs + outputs, inputs + outputs + ands):
        place, (gate, left, right) = row(at, 3)
        if gate & 1 or gate == 0:
            raise place.wrong(f"An AND defines an even literal, 2 or more; got {gate}.")
        circuit.drive(_wire(gate), [_wire(left), _wire(right)], _and(left & 1, right & 1), place)
    for place, (literal,) in given:
        if literal & 1 or literal == 0:
            raise place.wrong(f"An input is an even literal, 2 or more; got {literal}.")
    return _named(
        file, circuit, [(p, x[0]) for p, x in given], [(p, x[0]) for p, x in asked], lines[inputs + outputs + ands :]
    )


def _wire(literal: int) -> str:
    """What the wire of a variable is called: by the literal that defines it, as in the file."""
    return f"literal {literal & ~1}"


def _and(left: int, right: int):  # type: ignore[no-untyped-def]
    def make(builder: Builder, literals: Sequence[int]) -> int:
        return builder.both(literals[0] ^ left, literals[1] ^ right)

    return make


def _binary(file: str, rest: bytes, most: int, inputs: int, outputs: int, ands: int) -> Netlist:
    circuit = Wires()
    circuit.given(_wire(0), 0, Place(file, 1))
    place = Place(file, 1)
    place.refuse_many(inputs)
    given = [(place, 2 * (i + 1)) for i in range(inputs)]
    asked = []
    for at in range(outputs):
        line, found, rest = rest.partition(b"\n")
        place = Place(file, at + 2)
        numbers = place.numbers(line.decode("latin-1").split())
        if not found or len(numbers) != 1 or numbers[0] > 2 * most + 1:
            raise place.wrong(f"Expected an output's literal, up to {2 * most + 1}; got {line[:40]!r}.")
        asked.append((place, numbers[0]))
    place, at = Place(file, outputs + 2), 0
    for gate in range(inputs + 1, inputs + ands + 1):
        literals = [2 * gate]
        for _ in range(2):
            delta, at = _delta(place, rest, at)
            if delta > literals[-1]:
                raise place.wrong(f"AND {2 * gate} has a difference of {delta}, beyond {literals[-1]}.")
            literals.append(literals[-1] - delta)
        _, left, right = literals
        if left == 2 * gate:
            raise place.wrong(f"AND {2 * gate} reads itself.")
        circuit.drive(_wire(2 * gate), [_wire(left), _wire(right)], _and(left & 1, right & 1), place)
    return _named(file, circuit, given, asked, rest[at:].decode("latin-1").split("\n"))


def _delta(place: Place, data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, lowest first, of which all but the last have the eighth bit set."""
    value = shift = 0
    while True:
        if at >= len(data):
            raise place.wrong("The file ends in the middle of its ANDs: it is cut off.")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 35:
            raise place.wrong("A difference is longer than 32 bits: the file is damaged.")


def _named(
    file: str, circuit: Wires, given: list[tuple[Place, int]], asked: list[tuple[Place, int]], lines: list[str]
) -> Netlist:
    """The netlist, with the names of the symbol table."""
    names = {"i": [f"i{i}" for i in range(len(given))], "o": [f"o{i}" for i in range(len(asked))]}
    for line in lines:
        if line == "c" or not line:
            break  # a comment, to the end
        side, number, name = line[0], line[1:].partition(" ")[0], line.partition(" ")[2]
        known = names.get(side)
        if known is None or not re.fullmatch("[0-9]{1,9}", number) or int(number) >= len(known) or not name:
            raise HoldfastError(f"{file}: the symbol table has {line[:60]!r}; expected `i0 NAME` or `o0 NAME`.")
        known[int(number)] = name
    for port, positions in ports(names["i"]):
        for position, literal in zip(positions, circuit.builder.input(port, len(positions)), strict=True):
            place, read = given[position]
            circuit.given(_wire(read), literal, place)
    circuit.build_all()
    found = [circuit.literal(_wire(literal), place) ^ literal & 1 for place, literal in asked]
    return circuit.builder.netlist(file, [(port, [found[i] for i in at]) for port, at in ports(names["o"])])
