"""Verilog, by Yosys: elaborated, flattened, and taken apart into gates and adders.

Yosys comes from the package index: pip install "holdfast[hdl]". It runs in a process of its own.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.circuits.builder import Builder
from holdfast.circuits.formats.wires import Place, Wires, inverse, same
from holdfast.circuits.netlist import FALSE, TRUE, Netlist
from holdfast.errors import HoldfastError

SECONDS = 600
"""How long Yosys may take."""
RUN = "import sys\nfrom pyosys import libyosys as ys\nd = ys.Design()\nfor p in sys.argv[1:]: ys.run_pass(p, d)"
ABSENT = "No module named 'pyosys'"
# Arithmetic becomes $alu cells (sums, differences and comparisons), which stay words; all else becomes gates.
READ = (
    "read_verilog -sv {path}",
    "hierarchy -check {top}",
    "proc",
    "flatten",
    "check",
    "write_json {early}",
    "write_rtlil {rtlil}",
)
PASSES = (
    "opt -full",
    "wreduce",
    "memory -nomap",
    "memory_map",
    "opt -full",
    "alumacc",
    *["techmap t:* t:$alu %d"] * 3,  # products become sums, which have cells of their own
    "opt_clean",
    "write_json {late}",
)
DRIVERS = ("multiple conflicting drivers", "used but has no driver")
"""Warnings of `check` that are errors here. What it says of loops is not: words may look like one that bits are not
in."""
CONSTANTS = {"0": FALSE, "1": TRUE, "x": FALSE, "z": FALSE}
DRIVE = "Every wire has one driver: an assignment, a gate or an input."
TWO_INPUTS = ("$_AND_", "$_OR_", "$_XOR_", "$_XNOR_", "$_NAND_", "$_NOR_", "$_ANDNOT_", "$_ORNOT_")


def read_verilog(path: Path, top: str | None = None) -> Netlist:
    """A module of a Verilog file, and what it instantiates from the same file.

    A bit that is assigned x or z may be anything: Yosys chooses, and 0 is taken where it does not.

    Args:
        path: the file.
        top: name of the module. Default: the one that no other instantiates.

    Raises:
        HoldfastError: Yosys is not installed, or what it says is wrong; a register or a latch.
    """
    if wrong := next((c for c in str(path) if c in " \"';#\\" or not c.isprintable()), None):
        raise HoldfastError(f"Yosys can't read a path with {wrong!r} in it: rename {path}.")
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / name for name in ("early", "rtlil", "late")}
        chosen = f"-top {top}" if top else "-auto-top"
        _yosys([p.format(path=path, top=chosen, **files) for p in READ + PASSES], path)
        try:
            early, rtlil, late = (files[name].read_text(encoding="utf-8") for name in ("early", "rtlil", "late"))
        except UnicodeDecodeError as error:
            raise HoldfastError(
                f"{path} has a name or a string that is not UTF-8 ({error.object[error.start]:#x} "
                f"in it). Rename it; comments may hold anything."
            ) from None
        _refuse_second_drivers(rtlil, path)
        # As it is before anything is optimised: a latch may become a constant.
        _refuse_registers(_top(early)[1], path)
        name, module = _top(late)
        return _netlist(name, _named(module), path)


def _top(design: str) -> tuple[str, dict[str, Any]]:
    modules = json.loads(design)["modules"]
    for name, module in modules.items():
        if int(module["attributes"].get("top", "0"), 2) or len(modules) == 1:
            return name, module
    raise HoldfastError(f"There is no top module among {', '.join(modules) or 'none'}. Name it: --top MODULE.")


def _refuse_second_drivers(rtlil: str, path: Path) -> None:
    """Two continuous assignments to one wire: Yosys joins them without a word."""
    driven: dict[str, list[range]] = {}
    for sides in re.findall(r"^  connect (.*)$", rtlil, re.MULTILINE):
        left = re.match(r"\{.*?\}|\S+(?: \[[\d:]+\])?", sides)
        for wire, high, low in re.findall(r"(\S+)(?: \[(\d+)(?::(\d+))?\])?", left[0].strip("{ }") if left else ""):
            bits = range(int(low or high), int(high) + 1) if high else range(1 << 30)
            if any(max(bits[0], old[0]) <= min(bits[-1], old[-1]) for old in driven.get(wire, [])):
                raise HoldfastError(f"{path}: {wire.lstrip(chr(92))} is assigned twice. {DRIVE}")
            driven.setdefault(wire, []).append(bits)


def _refuse_registers(module: dict[str, Any], path: Path) -> None:
    for cell in module["cells"].values():
        kind = cell["type"]
        if "dff" in kind or "latch" in kind or kind in ("$ff", "$sr", "$memwr", "$memwr_v2"):
            raise _place(cell, path).wrong(
                f"A register or latch ({kind}): only logic without memory can be compiled. Make its output an input "
                f"and its input an output, or assign it in every branch."
            )


def _yosys(passes: Sequence[str], path: Path) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUN, *passes], capture_output=True, timeout=SECONDS, check=False,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise HoldfastError(
            f"Yosys took more than {SECONDS} seconds over {path} and was stopped. Is there a loop without end in it, "
            f"or a word of millions of bits? Else run Yosys yourself, and give the circuit as BLIF."
        ) from None
    said = done.stdout + done.stderr
    if ABSENT in said:
        raise HoldfastError(
            'Verilog is read by Yosys, which is not installed. Install it: pip install "holdfast[hdl]". Or give the '
            "circuit as BLIF, AIGER or Bristol Fashion."
        )
    wrong = [line for line in said.split("\n") if "ERROR" in line or any(w in line for w in DRIVERS)]
    if wrong or done.returncode != 0:
        what = (wrong or said.strip().split("\n")[-1:])[0].strip()
        mend = DRIVE if any(w in what for w in DRIVERS) else ""
        raise HoldfastError(
            f"Yosys refuses {path}: {what.removeprefix('Warning: ').rstrip(':.')}{mend and f'. {mend}'}"
        )


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
    return {"ports": ports, "cells": cells}


def _netlist(name: str, module: dict[str, Any], path: Path) -> Netlist:
    circuit, here = Wires(), Place(str(path), 1)
    for constant, literal in CONSTANTS.items():
        circuit.given(f"constant {constant}", literal, here)
    asked: list[tuple[str, list[str]]] = []
    for port, of in module["ports"].items():
        bits = of["bits"]
        if of["direction"] == "input":
            for bit, literal in zip(bits, circuit.builder.input(port, len(bits)), strict=True):
                circuit.given(bit, literal, here)
        elif of["direction"] == "output":
            asked.append((port, bits))
        else:
            raise here.wrong(f"{port} is an inout. Split it into an input and an output.")
    for cell in module["cells"].values():
        _cell(circuit, cell, _place(cell, path))
    circuit.build_all()
    return circuit.builder.netlist(name, [(port, [circuit.literal(bit, here) for bit in bits]) for port, bits in asked])


def _place(cell: dict[str, Any], path: Path) -> Place:
    found = re.match(r"(.*?):(\d+)", cell["attributes"].get("src", ""))
    return Place(found[1], int(found[2])) if found else Place(str(path), 1)


def _cell(circuit: Wires, cell: dict[str, Any], place: Place) -> None:
    kind, pins = cell["type"], cell["connections"]
    if kind == "$alu":
        read = [*pins["A"], *pins["B"], *pins["CI"], *pins["BI"]]
        width = len(pins["Y"])
        extend = [int(cell["parameters"][f"{side}_SIGNED"], 2) for side in "AB"]
        for pin in ("Y", "X", "CO"):
            for at, wire in enumerate(pins[pin]):
                make = partial(_alu, pin, at, (len(pins["A"]), len(pins["B"]), width), extend)
                circuit.drive(wire, read, make, place)
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


def _alu(
    pin: str, at: int, widths: tuple[int, int, int], extend: Sequence[int], builder: Builder, literals: Sequence[int]
) -> int:
    """Yosys's $alu: Y = A + (B xor BI) + CI, X = A xor B xor BI, CO the carry out of every bit."""
    of_a, of_b, width = widths
    a, b, (carry, invert) = literals[:of_a], literals[of_a : of_a + of_b], literals[of_a + of_b :]
    a, b = (
        [*word, *[(word[-1] if signed and word else FALSE)] * width][:width]
        for word, signed in ((a, extend[0]), (b, extend[1]))
    )
    b = [builder.differ(bit, invert) for bit in b]
    if pin == "X":
        return builder.differ(a[at], b[at])
    sums = builder.add(a, b, carry)
    if pin == "Y" or at == width - 1:
        return sums[at if pin == "Y" else width]
    # The carry into the next bit is what makes its sum.
    return builder.differ(builder.differ(a[at + 1], b[at + 1]), sums[at + 1])
