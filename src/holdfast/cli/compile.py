"""`holdfast compile`."""

import json
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from holdfast.cli.aside import aside


@dataclass(frozen=True, kw_only=True)
class Compile:
    """Turn a Boolean circuit into a network with the same outputs, and compare the two."""

    circuit: tyro.conf.Positional[str]
    """A file (.v, .sv, .blif, .aag, .aig, .txt or .bristol), FILE.py:function, or a built-in name (sha256, sha256-8,
    keccak)."""
    to: Path | None = None
    """Write the network here, as safetensors; as .blif or .bristol, the circuit."""
    top: str | None = None
    """Of Verilog: the module."""
    clock: str | None = None
    """Of Verilog (or RTLIL, .il) with registers: its clock. What is compiled is one tick, which takes the registers
    behind the inputs and gives what they become behind the outputs."""
    k: int = 3
    """Inputs of a table, 2 to 6: more make fewer layers."""
    encoding: Literal["product", "restoring"] = "product"
    """`product`: the fewest units. `restoring`: units that bring values back to 0 and 1."""
    adder_bits: int | None = None
    """Bits of a sum that are added in one layer. Default: 16, restoring 1."""
    wide: bool = False
    """As few layers as possible: sums of products of any number of bits, in place of tables."""
    layers: int = 0
    """Of --wide: how many there may be. One more than the fewest often halves the units."""
    copies: int = 1
    """3, 5, ...: so many copies of the network, and a majority vote."""
    dtype: Literal["float64", "float32", "float16", "bfloat16"] = "float32"
    """Of the weights. What would not be exact is refused."""
    checks: int = 1024
    """Random inputs to compare on; circuits of up to 12 input bits are compared on all."""
    json: bool = False
    """Print one JSON object. Its `neurons` are the text's units, its `wires` the linear rows (sums without
    ReLU)."""

    def run(self) -> int:
        """Compile, compare, write. Exit status 1 if a bit differs."""
        from holdfast.circuits.compiling import build
        from holdfast.circuits.formats.blif import write_blif
        from holdfast.circuits.formats.bristol import write_bristol
        from holdfast.circuits.recurrent import Recurrent
        from holdfast.circuits.sources import read, read_clocked
        from holdfast.errors import printable

        writers = {".blif": write_blif, ".bristol": write_bristol}
        if self.to is not None:
            _refuse_place(self.to, self.circuit, (".safetensors", *writers))
        with warnings.catch_warnings(record=True) as told, aside() if self.json else nullcontext():
            warnings.simplefilter("always")
            clocked = None if self.clock is None else read_clocked(self.circuit, clock=self.clock, top=self.top)
            netlist = clocked.tick if clocked else read(self.circuit, top=self.top)  # a user's file may print
        for warning in told:
            print(f"holdfast: {printable(str(warning.message))}", file=sys.stderr)
        compiled = build(
            netlist,
            k=self.k,
            encoding=self.encoding,
            adder_bits=self.adder_bits,
            copies=self.copies,
            wide=self.wide,
            layers=self.layers,
            dtype=self.dtype,
            checks=self.checks,
        )
        if self.to is not None and not compiled.wrong_bits:
            if self.to.suffix.lower() in writers:
                self.to.write_text(writers[self.to.suffix.lower()](netlist), encoding="utf-8")
            elif clocked:
                Recurrent(compiled.network, clocked.registers).save(self.to)
            else:
                compiled.network.save(self.to)
        record = compiled.record() | ({"state": clocked.state_bits} if clocked else {})
        print(json.dumps(record | {"to": str(self.to)} if self.to else record) if self.json else _said(record, self.to))
        return 1 if compiled.wrong_bits else 0


def _refuse_place(to: Path, source: str, suffixes: Sequence[str]) -> None:
    """Before anything is compiled, a place where nothing can, or should, be written."""
    from holdfast.errors import UsageError

    if to.suffix.lower() not in suffixes:
        raise UsageError(f"--to {to}: expected a name that ends in {', '.join(suffixes[:-1])} or {suffixes[-1]}.")
    if to.is_dir():
        raise UsageError(f"--to {to} is a folder. Name a file in it.")
    if not to.parent.is_dir():
        raise UsageError(f"--to {to}: there is no folder {to.parent}. Make it first, or name another.")
    if to.exists() and Path(source).exists() and to.samefile(source):
        raise UsageError(f"--to {to} is the circuit's own file, which would be lost. Name another.")


def _said(record: dict, to: Path | None) -> str:  # type: ignore[type-arg]
    lines = [
        f"{record['circuit']}: {record['inputs']} bits in, {record['outputs']} out"
        + (f", {record['state']} of each its state" if "state" in record else "")
        + f"; {record['gates']:,} gates, depth {record['depth']}",
        f"network   {record['neurons']:,} units in {record['layers']:,} layers, {record['weights']:,} weights, "
        f"{record['wires']:,} linear rows",
        f"          {record['pass_throughs']:,} pass-through units more if no layer may be skipped",
        f"exact in  {', '.join(record['exact_in'])}: sums reach {record['bound']:,.0f} steps",
        f"checked   {record['wrong_bits']} wrong bits on {record['checked']:,} inputs",
        f"compiled  in {record['seconds']:.1f} s",
    ]
    return "\n".join([*lines, f"written   {to}"] if to and not record["wrong_bits"] else lines)
