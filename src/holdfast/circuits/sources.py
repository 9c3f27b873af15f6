"""Where a circuit comes from: a file in one of four formats, a Python function in a file, or a built-in name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.circuits.clocked import Clocked
from holdfast.circuits.formats.aiger import read_aiger
from holdfast.circuits.formats.blif import read_blif
from holdfast.circuits.formats.bristol import read_bristol
from holdfast.circuits.formats.verilog import read_verilog, read_verilog_clocked
from holdfast.circuits.hashes import BUILT_IN
from holdfast.circuits.netlist import Netlist
from holdfast.circuits.trace import trace
from holdfast.errors import HoldfastError, UsageError, nearest
from holdfast.own_file import load

Source = Netlist | Callable[..., Any] | str | Path
"""However a circuit may be given."""
TEXT: dict[str, Callable[[str, str], Netlist]] = {".blif": read_blif, ".txt": read_bristol, ".bristol": read_bristol}
VERILOG, AIGER = (".v", ".sv"), (".aag", ".aig")
CLOCKED = (*VERILOG, ".il")


def read(source: str | Path, *, top: str | None = None) -> Netlist:
    """A circuit by what a user types.

    Args:
        source: a file (.v, .sv, .blif, .aag, .aig, .txt or .bristol), `FILE.py:function`, or a built-in name, with
            fewer rounds if it ends in a number (`sha256`, `sha256-8`, `keccak`).
        top: of Verilog, the module.

    Raises:
        UsageError: no such file, function or name.
        HoldfastError: the file is not as its format says.
    """
    if not isinstance(source, str | Path) or not isinstance(top, str | None):
        raise UsageError(f"A circuit is read from a file or by a name, and `top` is a name; got {source!r}, {top!r}.")
    source = str(source)
    name, _, rounds = source.partition("-")
    if name in BUILT_IN and (not rounds or rounds.isdecimal()):
        return BUILT_IN[name](int(rounds) if rounds else None)
    file, colon, function = source.rpartition(":")
    path = Path(file if colon and file.endswith(".py") else source)
    if path.is_dir():
        raise UsageError(f"{path} is a folder. Name a circuit file in it.")
    if not path.is_file():
        if "." in path.name or "/" in source:
            near = [str(p) for p in (path.parent if path.parent.is_dir() else Path()).iterdir() if p.is_file()]
            raise nearest(str(path), near, what="circuit file")
        raise nearest(source, BUILT_IN, what="built-in circuit (or give a file)")
    form = path.suffix.lower()
    if top is not None and form not in VERILOG:
        raise UsageError(f"--top names a module of Verilog; {path.name} is none.")
    if form == ".py":
        return trace(_function(path, function if colon else ""))
    if form in VERILOG:
        return read_verilog(path, top)
    if form in AIGER:
        return read_aiger(path.read_bytes(), path.name)
    if form not in TEXT:
        known = ", ".join([*VERILOG, *AIGER, *TEXT, ".py"])
        raise UsageError(f"{path.name}: expected a circuit in a file that ends in one of {known}.")
    try:
        return TEXT[form](path.read_text(encoding="utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        raise HoldfastError(f"{path.name} is not text ({error.reason} at byte {error.start}).") from None


def read_clocked(source: str | Path, *, clock: str, top: str | None = None) -> Clocked:
    """A synchronous circuit by a file of Verilog (.v, .sv) or RTLIL (.il).

    Args:
        source: the file.
        clock: its input whose rising edge sets all registers.
        top: the module. Default: the one that no other instantiates.

    Raises:
        UsageError: no such file, module or clock.
        HoldfastError: what is no circuit of one clock.
    """
    path = Path(source)
    if not path.is_file() or path.suffix.lower() not in CLOCKED:
        raise UsageError(f"A circuit with a clock is read from a file ({', '.join(CLOCKED)}); got {path}.")
    return read_verilog_clocked(path, top, clock)


def netlist_of(source: object) -> Netlist:
    """A circuit, however it is given: a netlist, a function over words of bits, or what `read` takes.

    Raises:
        UsageError: something else.
    """
    if isinstance(source, Netlist):
        return source
    if isinstance(source, str | Path):
        return read(source)
    if callable(source):
        return trace(source)
    raise UsageError(f"A circuit is a netlist, a function over words of bits, or a file; got {source!r}.")


def _function(path: Path, name: str) -> Callable[..., Any]:
    """A function out of a file, which is run."""
    try:
        module = load(path)
    except SystemExit:
        raise HoldfastError(f"{path} calls sys.exit() when run. Put that under if __name__ == '__main__'.") from None
    except Exception as error:
        raise HoldfastError(f"{path} could not be run: {type(error).__name__}: {error}.") from error
    found = {n: f for n, f in vars(module).items() if callable(f) and getattr(f, "__module__", "") == module.__name__}
    if not name:
        raise UsageError(f"{path} has the functions {', '.join(sorted(found)) or 'none'}. Choose one: {path}:NAME")
    if name not in found:
        raise nearest(name, found, what=f"function in {path.name}")
    function: Callable[..., Any] = found[name]
    return function
