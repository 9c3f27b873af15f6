"""Verilog, by Yosys: elaborated, flattened, and taken apart into gates and adders.

Yosys comes from the package index: pip install "holdfast[hdl]". It runs in a process of its own.
"""

import json
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.circuits.builder import Builder
from holdfast.circuits.clocked import Clocked, Register
from holdfast.circuits.formats.wires import INDEXED, Place, Wires, inverse, same
from holdfast.circuits.netlist import FALSE, TRUE, Netlist
from holdfast.errors import HoldfastError, UsageError, nearest

SECONDS = 600
"""How long Yosys may take."""
WIDEST = 1 << 13
"""Bits of a word, at most: Yosys takes time that grows with its square."""
RUN = "import sys\nfrom pyosys import libyosys as ys\nd = ys.Design()\nfor p in sys.argv[1:]: ys.run_pass(p, d)"
ABSENT = "No module named 'pyosys'"
SOURCE = "source"
"""What Yosys sees the file as, in a folder of its own: it takes some names for commands, patterns or options."""
READERS = {".v": "read_verilog -sv", ".sv": "read_verilog -sv", ".il": "read_rtlil"}
# Arithmetic becomes $alu cells (sums, differences and comparisons), which stay words; all else becomes gates.
READ = (f"{{read}} {SOURCE}{{suffix}}", "write_rtlil read", "hierarchy -check {top}", "write_rtlil elaborated")
PASSES = (
    "proc",
    "flatten",
    "check",
    "write_json early",
    "write_rtlil joined",
    "{opt}",
    "wreduce",
    "memory -nomap",
    "memory_map",
    "{opt}",
    "dffunmap",  # enables and resets of registers become gates, and no `opt` may take them back
    "alumacc",
    *["techmap t:* t:$alu %d"] * 3,  # products become sums, which have cells of their own
    "opt_clean",
    "write_json late",
)
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
REACHES_OUT = re.compile(r'`include\b|\$readmem[bh]\b|"DPI')
"""What would have Yosys open another file, or run what is no Verilog."""
UNKNOWN = re.compile(r"(?!\\(?:CLK|EN) ).*?'[01xzm-]*([xz])")
"""A value that is or has x or z; of a read-only memory's clock and enable it is Yosys's own."""
LITERAL = re.compile(r"'s?[bodh][0-9a-f?_]*[xz]|'[xz]\b", re.IGNORECASE)
DRIVERS = ("multiple conflicting drivers", "conflicting with a constant", "used but has no driver")
SELECTS = ("out of bounds", "to undef")
"""Warnings that are errors here, since without the error the circuit would be another one. What `check` says of loops
is none: words may look like one that bits are not in. Tri-states are looked for in what was read."""
HARMLESS = ("logic loop", "limited support for tri-state")
CONSTANTS = {"0": FALSE, "1": TRUE, "x": FALSE, "z": FALSE}
DRIVE = "Every wire has one driver: an assignment, a gate or an input."
REGISTER = "$_DFF_P_"
"""A register of one bit, set at the rising edge, as `dffunmap` and `techmap` leave it."""
BETWEEN_EDGES = ("$adff", "$adffe", "$aldff", "$aldffe", "$dffsr", "$dffsre")
TWO_INPUTS = ("$_AND_", "$_OR_", "$_XOR_", "$_XNOR_", "$_NAND_", "$_NOR_", "$_ANDNOT_", "$_ORNOT_")


def read_verilog(path: Path, top: str | None = None) -> Netlist:
    """A module of a Verilog file, and what it instantiates from the same file.

    What Verilog leaves undefined for some inputs only (an index beyond a word, a division by 0) is what Yosys makes of
    it, with a Python warning; so is all else that Yosys warns of, unless it changes the circuit: that is refused.

    Args:
        path: the file.
        top: name of the module. Default: the one that no other instantiates.

    Raises:
        UsageError: no such module, or several that may be meant.
        HoldfastError: Yosys is not installed, or what it says is wrong; a register or a latch; x or z as a value; a
            select beyond a word; a word that is too wide; another file that is asked for.
    """
    return _read(path, top, None).tick


def read_verilog_clocked(path: Path, top: str | None, clock: str) -> Clocked:
    """The same of a module with registers, all of them set at the rising edge of one clock. Memories become registers.

    Args:
        path: the file; RTLIL (.il), too.
        top: name of the module.
        clock: its input port that is the clock.

    Raises:
        UsageError: as above, or no such clock.
        HoldfastError: as above, but for registers; one with another clock, with a falling edge, or that is set between
            edges; a latch.
    """
    return _read(path, top, clock)


def _read(path: Path, top: str | None, clock: str | None) -> Clocked:
    if top is not None and not IDENTIFIER.fullmatch(top):
        raise UsageError(f"--top: expected the name of a Verilog module (letters, digits, _ and $); got {top!r}.")
    source = path.read_bytes()
    text = source.decode("utf-8", "replace")
    if found := REACHES_OUT.search(text):
        raise _at(text, found.start(), path).wrong(
            f"{found[0].strip(chr(34))} is not read: a circuit is what stands in its file. Put it in here."
        )
    with tempfile.TemporaryDirectory() as folder:
        suffix = path.suffix.lower()
        (Path(folder) / f"{SOURCE}{suffix}").write_bytes(source)
        chosen = f"-top {top}" if top else "-auto-top"
        steps = [step.format(top=chosen, read=READERS[suffix], suffix=suffix) for step in READ]
        said = _yosys(steps, folder, path)
        if (Path(folder) / "read").exists():
            _refuse_top(_text(folder, "read", path), top, path)
        _refuse_said(said, path)
        _refuse_unknown(_text(folder, "elaborated", path), text, path)
        # With -full, sums behind a multiplexer share one adder: fewer gates, and a longer way through a tick.
        opt = "opt -full" if clock is None else "opt"
        said = _yosys([*steps, *(each.replace("{opt}", opt) for each in PASSES)], folder, path)
        if (Path(folder) / "joined").exists():
            _refuse_second_drivers(_text(folder, "joined", path), text, path)
        _refuse_said(said, path)
        # As it is before anything is optimised: a latch may become a constant.
        early = _top(_text(folder, "early", path))[1]
        if clock is None:
            _refuse_registers(early, path)
        else:
            _refuse_clocks(early, clock, path)
        _warn(said, early, path)
        name, module = _top(_text(folder, "late", path))
        return _clocked(name, _named(module), clock, path)


def _text(folder: str, name: str, path: Path) -> str:
    """What Yosys wrote."""
    try:
        return (Path(folder) / name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise HoldfastError(
            f"{path} has a name or a string that is not UTF-8 ({error.object[error.start]:#x} "
            f"in it). Rename it; comments may hold anything."
        ) from None


def _at(text: str, position: int, path: Path) -> Place:
    return Place(str(path), 1 + text.count("\n", 0, position))


def _top(design: str) -> tuple[str, dict[str, Any]]:
    modules: dict[str, Any] = json.loads(design)["modules"]
    return next((m for m in modules.items() if int(m[1]["attributes"].get("top", "0"), 2)), None) or modules.popitem()


def _refuse_top(rtlil: str, top: str | None, path: Path) -> None:
    """A file in which it is not plain which module is meant."""
    modules = re.findall(r"^module \\(\S+)", rtlil, re.MULTILINE)
    if not modules:
        raise HoldfastError(f"{path} has no module. Expected: module NAME(input ..., output ...); ... endmodule")
    if top is not None:
        if top not in modules:
            raise nearest(top, modules, what=f"module of {path.name}")
        return
    used = set(re.findall(r"^  cell \\(\S+) ", rtlil, re.MULTILINE))
    tops = [module for module in modules if module not in used]
    if len(tops) != 1:
        raise UsageError(
            f"{path} has {len(tops)} modules that no other instantiates, and one circuit is wanted. Name it: "
            f"--top {' or --top '.join(tops or modules)}."
        )


def _refuse_unknown(rtlil: str, text: str, path: Path) -> None:
    """Words that are too wide, and values x and z, as they stand before `proc`, which has x for what never is read; so
    has a memory's port while it does not write."""
    place: Place | None = None
    for line in rtlil.split("\n"):
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "attribute" and (found := re.match(r'\\src "[^":]*:(\d+)', rest)):
            place = Place(str(path), int(found[1]))
        elif keyword == "wire" and (found := re.match(r"width (\d+)", rest)) and int(found[1]) > WIDEST:
            raise (place or Place(str(path), 1)).wrong(
                f"Expected words of up to {WIDEST:,} bits; got one of {int(found[1]):,}. Split it."
            )
        elif keyword in ("connect", "assign", "switch") and "$memwr$" not in rest and (found := UNKNOWN.match(rest)):
            written = LITERAL.search(text)
            of_its_own = line.startswith("    ") and place
            place = of_its_own or (_at(text, written.start(), path) if written else Place(str(path), 1))
            what = "z: the circuit has no tri-state wires" if found[1] == "z" else "x, which is no value of a bit"
            raise place.wrong(f"A wire is given {what}. Give it 0 or 1 there.")
        elif keyword == "end" and not line.startswith("    "):
            place = None


def _refuse_second_drivers(rtlil: str, text: str, path: Path) -> None:
    """Two continuous assignments to one wire: Yosys joins them without a word."""
    driven: dict[str, list[range]] = {}
    for sides in re.findall(r"^  connect (.*)$", rtlil, re.MULTILINE):
        left = re.match(r"\{.*?\}|\S+(?: \[[\d:]+\])?", sides)
        for wire, high, low in re.findall(r"(\S+)(?: \[(\d+)(?::(\d+))?\])?", left[0].strip("{ }") if left else ""):
            bits = range(int(low or high), int(high) + 1) if high else range(1 << 30)
            if any(max(bits[0], old[0]) <= min(bits[-1], old[-1]) for old in driven.get(wire, [])):
                name = wire.lstrip("\\")
                written = [found.start() for found in re.finditer(rf"\bassign\s+{re.escape(name)}(?![\w$])", text)]
                where = f"{path}, line {_at(text, written[1], path).line}" if len(written) > 1 else str(path)
                raise HoldfastError(f"{where}: {name} is assigned twice. {DRIVE}")
            driven.setdefault(wire, []).append(bits)


def _refuse_registers(module: dict[str, Any], path: Path) -> None:
    for cell in module["cells"].values():
        kind = cell["type"]
        if "dff" in kind or "latch" in kind or kind in ("$ff", "$sr", "$memwr", "$memwr_v2"):
            raise _place(cell, path).wrong(
                f"A register or latch ({kind}): without a clock only logic without memory is compiled. Name the clock "
                f"(--clock NAME); make its output an input and its input an output; or assign it in every branch."
            )


def _refuse_clocks(module: dict[str, Any], clock: str, path: Path) -> None:
    """Registers that are not all set at the rising edge of this clock."""
    inputs = [name for name, port in module["ports"].items() if port["direction"] == "input"]
    if clock not in inputs:
        raise nearest(clock, inputs, what="input port to be the clock")
    edge = module["ports"][clock]["bits"]
    names = {bit: name for name, net in module["netnames"].items() for bit in net["bits"]}
    for cell in module["cells"].values():
        kind, of = cell["type"], cell["parameters"]
        if "latch" in kind or kind in ("$ff", "$sr"):
            raise _place(cell, path).wrong(f"A latch ({kind}), which no clock sets. Assign it in every branch.")
        if kind in BETWEEN_EDGES:
            raise _place(cell, path).wrong(
                f"A register that is set or reset between the clock's edges ({kind}). Reset it at the edge: "
                f"always @(posedge {clock})."
            )
        if "CLK" in cell["connections"] and int(of.get("CLK_ENABLE", "1"), 2):
            if cell["connections"]["CLK"] != edge:
                other = names.get(cell["connections"]["CLK"][0], "a constant")
                raise _place(cell, path).wrong(f"A register with another clock: expected {clock}; got {other}.")
            if not int(of["CLK_POLARITY"], 2):
                raise _place(cell, path).wrong(f"A register that is set when {clock} falls. Take its rising edge.")


def _yosys(passes: Sequence[str], folder: str, path: Path) -> str:
    """What Yosys prints, and an error as its last line if it stops."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUN, *passes], capture_output=True, timeout=SECONDS, check=False, cwd=folder,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HoldfastError(
            f"Yosys took more than {SECONDS} seconds over {path} and was stopped. Is there a loop without end in it, "
            f"or a very wide word? Else run Yosys yourself, and give the circuit as BLIF."
        ) from None
    said = done.stdout + done.stderr
    if ABSENT in said:
        raise HoldfastError(
            'Verilog is read by Yosys, which is not installed. Install it: pip install "holdfast[hdl]". Or give the '
            "circuit as BLIF, AIGER or Bristol Fashion."
        )
    said = re.sub(rf"\b{SOURCE}\.(v|sv|il)\b", lambda _: str(path), said).strip()
    if done.returncode and "ERROR" not in said:
        said += f"\nERROR: {said.splitlines()[-1] if said else f'Yosys stopped with status {done.returncode}'}"
    return said


def _refuse_said(said: str, path: Path) -> None:
    """Errors, and warnings that mean another circuit."""
    lines = said.splitlines()
    errors = [line for line in lines if "ERROR" in line]
    wrong = errors or [line for line in lines if any(words in line for words in (*DRIVERS, *SELECTS))]
    if wrong:
        mend = ""
        if not errors:
            mend = DRIVE if any(words in wrong[0] for words in DRIVERS) else "Select bits that there are."
        if "WIDTH_LIMIT" in wrong[0]:
            mend = f"Expected words of up to {WIDEST:,} bits: split what is wider."
        what = wrong[0].strip().replace("Warning: ", "", 1).rstrip(":.")
        raise HoldfastError(f"Yosys refuses {path}: {what}{mend and f'. {mend}'}")


def _warn(said: str, early: dict[str, Any], path: Path) -> None:
    """What Yosys warns of, and what is undefined for some inputs."""
    warned = [line.replace("Warning: ", "", 1) for line in said.splitlines() if "Warning: " in line]
    told = [f"Yosys warns of {path}: {line}" for line in warned if not any(words in line for words in HARMLESS)]
    for place, what in dict.fromkeys(_undefined(early, path)):
        told.append(f"{place.file}, line {place.line}: {what} is x in Verilog; here it is what Yosys makes of it.")
    for sentence in dict.fromkeys(told):
        warnings.warn(sentence, stacklevel=3)


def _undefined(module: dict[str, Any], path: Path) -> Iterator[tuple[Place, str]]:
    for cell in module["cells"].values():
        kind, pins = cell["type"], cell["connections"]
        if kind == "$shiftx" and 1 << min(len(pins["B"]), 30) > len(pins["A"]):
            yield _place(cell, path), f"an index beyond the {len(pins['A'])} bits of its word"
        elif kind in ("$div", "$mod", "$divfloor", "$modfloor") and set(pins["B"]) - {"0", "1"}:
            yield _place(cell, path), "a division by 0"


def _named(module: dict[str, Any]) -> dict[str, Any]:
    """The same with wires called as the file calls them, in place of numbers, and constants by what no wire is
    called."""
    names: dict[int | str, str] = {constant: f"constant {constant}" for constant in CONSTANTS}
    taken: set[str] = set()
    for name, net in module["netnames"].items():
        for at, bit in enumerate(net["bits"]):
            called = f"{name}[{at + net.get('offset', 0)}]" if len(net["bits"]) > 1 else name
            if bit not in names and called not in taken and not net["hide_name"]:
                names[bit] = called
                taken.add(called)

    def rename(bits: Sequence[int | str]) -> list[str]:
        return [names.get(bit, f"wire {bit}") for bit in bits]

    ports = {name: {**port, "bits": rename(port["bits"])} for name, port in module["ports"].items()}
    cells = {
        name: {**cell, "connections": {pin: rename(bits) for pin, bits in cell["connections"].items()}}
        for name, cell in module["cells"].items()
    }
    initial = {}
    for net in module["netnames"].values():
        for bit, value in zip(net["bits"], reversed(net["attributes"].get("init", "")), strict=False):
            initial[rename([bit])[0]] = value == "1"
    return {"ports": ports, "cells": cells, "initial": initial}


def _clocked(name: str, module: dict[str, Any], clock: str | None, path: Path) -> Clocked:
    circuit, here = Wires(), Place(str(path), 1)
    for constant, literal in CONSTANTS.items():
        circuit.given(f"constant {constant}", literal, here)
    asked: list[tuple[str, list[str]]] = []
    for port, of in module["ports"].items():
        bits = of["bits"]
        if port == clock:
            continue
        if of["direction"] == "input":
            for bit, literal in zip(bits, circuit.builder.input(port, len(bits)), strict=True):
                circuit.given(bit, literal, here)
        elif of["direction"] == "output":
            asked.append((port, bits))
        else:
            raise here.wrong(f"{port} is an inout. Split it into an input and an output.")
    becomes = {
        c["connections"]["Q"][0]: c["connections"]["D"][0] for c in module["cells"].values() if c["type"] == REGISTER
    }
    registers = []
    for register, bits in _words(becomes):
        for bit, literal in zip(bits, circuit.builder.input(register, len(bits)), strict=True):
            circuit.given(bit, literal, here)
        asked.append((f"{register}'", [becomes[bit] for bit in bits]))
        at_first = sum(module["initial"].get(bit, False) << i for i, bit in enumerate(bits))
        registers.append(Register(register, len(bits), at_first))
    for cell in module["cells"].values():
        if cell["type"] != REGISTER:
            _cell(circuit, cell, _place(cell, path))
    circuit.build_all()
    outputs = [(port, [circuit.literal(bit, here) for bit in bits]) for port, bits in asked]
    return Clocked(circuit.builder.netlist(name, outputs), tuple(registers))


def _words(bits: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Bits under the names of words: `x[0]`, ..., `x[7]` are x; where some of a word are missing, each run of them is a
    word of its own, as `x[7:2]`."""
    found: dict[str, dict[int, str]] = {}
    alone = []
    for bit in bits:
        if parts := INDEXED.fullmatch(bit):
            found.setdefault(parts[1], {})[int(parts[2])] = bit
        else:
            alone.append((bit, [bit]))
    words = []
    for name, of in found.items():
        places = sorted(of)
        starts = [at for at in places if at - 1 not in of]
        for first in starts:
            last = next(at for at in places if at >= first and at + 1 not in of)
            whole = len(starts) == 1 and first == 0
            words.append((name if whole else f"{name}[{last}:{first}]", [of[at] for at in range(first, last + 1)]))
    return [*alone, *words]


def _place(cell: dict[str, Any], path: Path) -> Place:
    found = re.match(r"[^:]*:(\d+)", cell["attributes"].get("src", ""))
    return Place(str(path), int(found[1]) if found else 1)


def _cell(circuit: Wires, cell: dict[str, Any], place: Place) -> None:
    kind, pins = cell["type"], cell["connections"]
    if kind == "$alu":
        read = [*pins["A"], *pins["B"], *pins["CI"], *pins["BI"]]
        extend = [int(cell["parameters"][f"{side}_SIGNED"], 2) for side in "AB"]
        words = f"words of {pins['Y'][0]}"  # no wire is called so
        alu = Alu(len(pins["A"]), len(pins["B"]), len(pins["Y"]), extend)
        circuit.drive(words, read, alu.add, place)
        for pin in ("Y", "X", "CO"):
            for at, wire in enumerate(pins[pin]):
                circuit.drive(wire, [words], partial(alu.bit, pin, at), place)
    elif kind in TWO_INPUTS:
        circuit.drive(pins["Y"][0], [pins["A"][0], pins["B"][0]], partial(_gate, kind), place)
    elif kind == "$_MUX_":
        circuit.drive(pins["Y"][0], [pins["S"][0], pins["B"][0], pins["A"][0]], _mux, place)
    elif kind in ("$_NOT_", "$_BUF_"):
        circuit.drive(pins["Y"][0], [pins["A"][0]], inverse if kind == "$_NOT_" else same, place)
    elif kind not in ("$scopeinfo", "$print", "$check"):
        raise place.wrong(f"Unknown cell {kind}: it has no meaning as gates.")


def _gate(kind: str, builder: Builder, literals: Sequence[int]) -> int:
    x, y = literals
    if kind in ("$_XOR_", "$_XNOR_"):
        return builder.differ(x, y) ^ (kind == "$_XNOR_")
    if kind in ("$_ANDNOT_", "$_ORNOT_"):
        y ^= 1
    if kind in ("$_AND_", "$_NAND_", "$_ANDNOT_"):
        return builder.both(x, y) ^ (kind == "$_NAND_")
    return builder.either(x, y) ^ (kind == "$_NOR_")


def _mux(builder: Builder, literals: Sequence[int]) -> int:
    return builder.choose(*literals)


class Alu:
    """Yosys's $alu: Y = A + (B xor BI) + CI, X = A xor B xor BI, CO the carry out of every bit."""

    def __init__(self, of_a: int, of_b: int, width: int, extend: Sequence[int]) -> None:
        self.of_a, self.of_b, self.width, self.extend = of_a, of_b, width, extend

    def add(self, builder: Builder, literals: Sequence[int]) -> int:
        """Both words at the width of the result, and their sum; what its bits wait for."""
        a, b = literals[: self.of_a], literals[self.of_a : self.of_a + self.of_b]
        carry, invert = literals[self.of_a + self.of_b :]
        self.a, b = (
            [*word, *[(word[-1] if signed and word else FALSE)] * self.width][: self.width]
            for word, signed in zip((a, b), self.extend, strict=True)
        )
        self.b = [builder.differ(bit, invert) for bit in b]
        self.sums = builder.add(self.a, self.b, carry)
        return self.sums[0]

    def bit(self, pin: str, at: int, builder: Builder, _: Sequence[int]) -> int:
        """A bit of one of the outputs."""
        if pin == "X":
            return builder.differ(self.a[at], self.b[at])
        if pin == "Y" or at == self.width - 1:
            return self.sums[at if pin == "Y" else self.width]
        # The carry into the next bit is what makes its sum.
        return builder.differ(builder.differ(self.a[at + 1], self.b[at + 1]), self.sums[at + 1])
