"""BLIF: logic as truth tables with don't-cares (`.names`). Berkeley Logic Interchange Format, University of California.

One model of combinational logic. Latches and subcircuits are refused with a word on how to get rid of them.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from holdfast.circuits.builder import Builder
from holdfast.circuits.formats.wires import Place, Wires, bit_names, ports
from holdfast.circuits.netlist import AND, FALSE, TRUE, Netlist
from holdfast.errors import HoldfastError

TABLE = 8
"""Inputs up to which a table is built from its truth table; wider ones as a sum of products, as it is written."""
Row = tuple[str, str]


def read_blif(text: str, file: str = "circuit") -> Netlist:
    """The first model of a BLIF file.

    Raises:
        HoldfastError: not as the format says, a latch, a subcircuit, a cycle, or a wire without one driver.
    """
    circuit, name = Wires(), ""
    inputs: list[str] = []
    outputs: list[str] = []
    table: tuple[Place, list[str], list[Row]] | None = None
    place, ended = Place(file, 1), False
    for place, words in _lines(text, file):
        if words[0][0] != ".":
            if table is None:
                raise place.wrong(f"A row of a table stands outside .names: {' '.join(words)[:60]!r}.")
            table[2].append(_row(place, words, len(table[1]) - 1))
            continue
        _close(circuit, table)
        table = None
        keyword, *rest = words
        if keyword == ".model":
            if name:
                break  # the next model
            name = rest[0] if rest else file
        elif keyword == ".inputs":
            inputs += rest
        elif keyword == ".outputs":
            outputs += rest
        elif keyword == ".names":
            if not rest:
                raise place.wrong(".names needs the wire that it drives.")
            table = (place, rest, [])
        elif keyword == ".end":
            ended = True
            break
        else:
            raise place.wrong(_unknown(keyword, rest))
    _close(circuit, table)
    if not name:
        raise place.wrong("Expected `.model NAME` and `.end`; there is no model.")
    if not ended:
        raise place.wrong("The file ends before `.end`: it is cut off.")
    for port, positions in ports(inputs):
        literals = circuit.builder.input(port, len(positions))
        for position, literal in zip(positions, literals, strict=True):
            circuit.given(inputs[position], literal, Place(file, 1))
    circuit.build_all()
    found = {wire: circuit.literal(wire, place) for wire in outputs}
    return circuit.builder.netlist(name, [(port, [found[outputs[i]] for i in at]) for port, at in ports(outputs)])


def _lines(text: str, file: str) -> Iterator[tuple[Place, list[str]]]:
    """Lines that say something, with continued ones (`\\`) joined; the number is that of the first."""
    words: list[str] = []
    first, continued = 1, False
    for number, line in enumerate(text.split("\n"), start=1):
        first = first if continued else number
        line = line.partition("#")[0].rstrip()
        continued = line.endswith("\\")
        words += line.removesuffix("\\").split()
        if not continued:
            if words:
                yield Place(file, first), words
            words = []
    if words:
        raise Place(file, first).wrong("The file ends in a continued line: it is cut off.")


def _unknown(keyword: str, rest: Sequence[str]) -> str:
    if keyword in (".latch", ".mlatch"):
        return (
            f"A latch ({' '.join(rest[:2])}): only logic without memory can be compiled. Cut the design at its "
            f"registers, their outputs as inputs and their inputs as outputs."
        )
    if keyword in (".subckt", ".gate"):
        return (
            f"Unknown cell {rest[0] if rest else ''}: expected .names only. Flatten the design first, for instance "
            f"with "
            f"Yosys: flatten; techmap; abc -g AND,XOR; write_blif."
        )
    return f"Unknown statement {keyword}: expected .model, .inputs, .outputs, .names or .end."


def _row(place: Place, words: list[str], width: int) -> Row:
    inputs, output = ("", words[0]) if len(words) == 1 else (words[0], words[1])
    if len(words) > 2 or len(inputs) != width or set(inputs) - set("01-") or output not in ("0", "1"):
        raise place.wrong(f"Expected {width} of 0, 1 or - and, after a space, 0 or 1; got {' '.join(words)[:60]!r}.")
    return inputs, output


def _close(circuit: Wires, table: tuple[Place, list[str], list[Row]] | None) -> None:
    if table is None:
        return
    place, (*inputs, output), rows = table
    if len({value for _, value in rows}) > 1:
        raise place.wrong(f"The rows of {output} end in 0 and in 1: all must state where it is on, or where it is off.")
    circuit.drive(output, inputs, partial(_build, rows), place)


def _build(rows: Sequence[Row], builder: Builder, literals: Sequence[int]) -> int:
    off = bool(rows) and rows[0][1] == "0"
    if len(literals) <= TABLE:
        on = 0
        for row, _ in rows:
            on |= _minterms(row)
        return from_table(builder, literals, on) ^ off
    found = FALSE
    for row, _ in rows:
        product = TRUE
        for literal, value in zip(literals, row, strict=True):
            product = product if value == "-" else builder.both(product, literal ^ (value == "0"))
        found = builder.either(found, product)
    return found ^ off


def _minterms(row: str) -> int:
    """The inputs that a row matches, one bit each; input i counts 2^i."""
    found = 1
    for i, value in enumerate(row):
        found = {"0": found, "1": found << (1 << i), "-": found | found << (1 << i)}[value]
    return found


def from_table(builder: Builder, literals: Sequence[int], on: int) -> int:
    """A gate given by its truth table (bit m of `on` is its value at minterm m), by splitting at the last input."""
    size = 1 << len(literals)
    if on == 0 or on == (1 << size) - 1:
        return TRUE if on else FALSE
    *rest, last = literals
    low, high = on & (1 << size // 2) - 1, on >> size // 2
    return builder.choose(last, from_table(builder, rest, high), from_table(builder, rest, low))


def write_blif(netlist: Netlist) -> str:
    """The circuit in BLIF, for other tools to check: adders as full adders, names of ports kept."""
    text = [f".model {_word(netlist.name)}"]
    names: dict[int, str] = {0: "false"}
    sides = []
    for side in (netlist.inputs, netlist.outputs):
        sides.append([name for port in side for name in bit_names(_word(port.name), len(port.bits))])
    if len(set(sides[0] + sides[1])) < len(sides[0]) + len(sides[1]):
        raise HoldfastError(f"{netlist.name} has an input and an output of one name, which BLIF can't say. Rename one.")
    text += [f".inputs {' '.join(sides[0])}", f".outputs {' '.join(sides[1])}", ".names false"]
    names |= {bit >> 1: name for bit, name in zip(netlist.input_bits, sides[0], strict=True)}
    taken = {*sides[0], *sides[1], "false"}

    def table(name: str, literals: Sequence[int | str], *rows: str) -> None:
        """A table whose columns are inverted where a literal is."""
        wires = [literal if isinstance(literal, str) else names[literal >> 1] for literal in literals]
        text.append(f".names {' '.join(wires)} {name}")
        for row in rows:
            columns = [
                value if value == "-" or isinstance(literal, str) else str(int(value) ^ literal & 1)
                for literal, value in zip(literals, row, strict=True)
            ]
            text.append("".join(columns) + " 1")

    def new(stem: str) -> str:
        while stem in taken:
            stem += "_"
        taken.add(stem)
        return stem

    def gate(node: int, kind: int, left: int, right: int) -> str:
        name = new(f"n{node}")
        table(name, (left, right), *(("11",) if kind == AND else ("10", "01")))
        return name

    def summed(number: int) -> list[str]:
        adder = netlist.adders[number]
        carry: int | str = adder.carry
        found = []
        for bit, (x, y) in enumerate(zip(adder.a, adder.b, strict=True)):
            found.append(new(f"add{number}_{bit}"))
            table(found[-1], (x, y, carry), "100", "010", "001", "111")
            after = new(f"add{number}_c{bit}")
            table(after, (x, y, carry), "11-", "1-1", "-11")
            carry = after
        return [*found, str(carry)]

    netlist.walk(names, gate, summed)
    for bit, name in zip(netlist.output_bits, sides[1], strict=True):
        table(name, (bit,), "1")
    return "\n".join([*text, ".end"]) + "\n"


def _word(name: str) -> str:
    """A name as BLIF can hold it."""
    return "".join(c if c.isprintable() and c not in ' \t#\\="' else "_" for c in name) or "_"
