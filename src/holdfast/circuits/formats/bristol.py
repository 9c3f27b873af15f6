"""Bristol Fashion: one gate a line, wires by number. https://nigelsmart.github.io/MPC-Circuits/

The first line has gates and wires, the second the inputs' count and widths, the third the outputs'. Input wires are
numbered first, output wires last.
"""

from collections.abc import Sequence

from holdfast.circuits.builder import Builder
from holdfast.circuits.formats.wires import Place, Wires, inverse, same
from holdfast.circuits.netlist import AND, Netlist
from holdfast.errors import HoldfastError

INPUTS_OF = {"AND": 2, "XOR": 2, "INV": 1, "EQW": 1, "EQ": 1}


def read_bristol(text: str, file: str = "circuit") -> Netlist:
    """A circuit in Bristol Fashion; its ports are called in0, in1, ..., out0, ...

    Raises:
        HoldfastError: not as the format says; file and line are named.
    """
    lines = [(number, line.split()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if len(lines) < 3:
        raise Place(file, len(lines) + 1).wrong(
            "The file ends in its header. Expected: gates and wires; inputs and their widths; outputs and theirs."
        )
    (at, head), *widths = lines[:3]
    numbers = Place(file, at).numbers(head)
    if len(numbers) != 2:
        raise Place(file, at).wrong(f"Expected two numbers, gates and wires; got {' '.join(head)}.")
    gates, wires = numbers
    inputs, outputs = (_ports(Place(file, at), row) for at, row in widths)
    for side, (at, _) in zip((inputs, outputs), widths, strict=True):
        if sum(side) > wires:
            raise Place(file, at).wrong(f"{sum(side)} wires do not fit in the {wires} of the first line.")
    Place(file, widths[0][0]).refuse_many(sum(inputs))
    if len(lines) - 3 != gates:
        raise Place(file, lines[-1][0]).wrong(
            f"The header says {gates} gates, and {len(lines) - 3} follow: the file is cut off or was changed."
        )
    circuit = Wires()
    first = 0
    for number, width in enumerate(inputs):
        for wire, literal in enumerate(circuit.builder.input(f"in{number}", width), start=first):
            circuit.given(str(wire), literal, Place(file, widths[0][0]))
        first += width
    for at, row in lines[3:]:
        _gate(circuit, Place(file, at), row, wires)
    circuit.build_all()
    literals, last = [], wires - sum(outputs)
    for number, width in enumerate(outputs):
        place = Place(file, widths[1][0])
        literals.append((f"out{number}", [circuit.literal(str(last + i), place) for i in range(width)]))
        last += width
    return circuit.builder.netlist(file, literals)


def _ports(place: Place, row: Sequence[str]) -> list[int]:
    count, *widths = place.numbers(row)
    if count != len(widths) or not all(widths):
        raise place.wrong(f"Expected a count and as many widths of 1 or more; got {' '.join(row[:20])}.")
    return widths


def _gate(circuit: Wires, place: Place, row: Sequence[str], wires: int) -> None:
    *numbers, kind = row
    if kind not in INPUTS_OF:
        raise place.wrong(f"Unknown gate {kind!r}: expected one of {', '.join(INPUTS_OF)}.")
    found = place.numbers(numbers)
    if len(found) != 3 + INPUTS_OF[kind] or found[:2] != [INPUTS_OF[kind], 1]:
        raise place.wrong(
            f"{kind} is written `{INPUTS_OF[kind]} 1 {'IN ' * INPUTS_OF[kind]}OUT {kind}`; got {' '.join(row)}."
        )
    *inputs, output = found[2:]
    constant = kind == "EQ"  # its input is the value itself
    for wire in (output,) if constant else (*inputs, output):
        if wire >= wires:
            raise place.wrong(f"Wire {wire} is beyond the {wires} wires of the header.")
    if constant:
        if inputs[0] > 1:
            raise place.wrong(f"EQ sets a wire to 0 or 1; got {inputs[0]}.")
        circuit.given(str(output), inputs[0], place)
    else:
        circuit.drive(str(output), [str(wire) for wire in inputs], _MAKE[kind], place)


def _and(builder: Builder, literals: Sequence[int]) -> int:
    return builder.both(*literals)


def _xor(builder: Builder, literals: Sequence[int]) -> int:
    return builder.differ(*literals)


_MAKE = {"AND": _and, "XOR": _xor, "INV": inverse, "EQW": same}


def write_bristol(netlist: Netlist) -> str:
    """The circuit in Bristol Fashion; adders as XOR and AND gates. Names of ports are not kept, for there are none."""
    rows: list[str] = []
    wire: dict[int, int] = {bit >> 1: number for number, bit in enumerate(netlist.input_bits)}
    count = len(wire)

    def new(kind: str, *inputs: int) -> int:
        nonlocal count
        rows.append(f"{len(inputs)} 1 {' '.join(map(str, inputs))} {count} {kind}")
        count += 1
        return count - 1

    inverted: dict[int, int] = {}

    def of(literal: int) -> int:
        if literal >> 1 == 0 and literal not in inverted:
            inverted[literal] = new("EQ", literal)
        if literal & 1 and literal not in inverted:
            inverted[literal] = new("INV", wire[literal >> 1])
        return inverted[literal] if literal in inverted else wire[literal >> 1]

    def gate(_: int, kind: int, left: int, right: int) -> int:
        return new("AND" if kind == AND else "XOR", of(left), of(right))

    def summed(number: int) -> list[int]:
        adder = netlist.adders[number]
        carry, bits = of(adder.carry), []
        for x, y in zip(map(of, adder.a), map(of, adder.b), strict=True):
            half = new("XOR", x, y)
            bits.append(new("XOR", half, carry))
            carry = new("XOR", x, new("AND", half, new("XOR", x, carry)))
        return [*bits, carry]

    netlist.walk(wire, gate, summed)
    last = [of(bit) for bit in netlist.output_bits]
    for bit in last:  # outputs are the last wires, each its own
        new("EQW", bit)
    widths = [[len(port.bits) for port in side] for side in (netlist.inputs, netlist.outputs)]
    if not all(widths):
        raise HoldfastError(f"{netlist.name} has no inputs or no outputs, which Bristol Fashion can't say.")
    head = [f"{len(rows)} {count}", *(f"{len(side)} {' '.join(map(str, side))}" for side in widths), ""]
    return "\n".join([*head, *rows]) + "\n"
