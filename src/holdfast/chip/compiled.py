"""The core as a network, compiled once and kept in the user's cache folder."""

import hashlib
import os
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from holdfast.circuits import Recurrent, read_clocked, recurrent
from holdfast.circuits.clocked import Clocked
from holdfast.errors import HoldfastError

CIRCUITS = Path(__file__).parent.parent / "circuits"
LAYERS = 5


def cache_folder() -> Path:
    """`holdfast` in $XDG_CACHE_HOME, or in ~/.cache."""
    said = os.environ.get("XDG_CACHE_HOME", "")
    # By the XDG specification a relative path there counts as none.
    return (Path(said) if Path(said).is_absolute() else Path.home() / ".cache") / "holdfast"


def compiled_core() -> Recurrent:
    """The core of `core.py`, whose tick is `LAYERS` layers, exact in float32.

    It is read from the cache folder, from a file named by what it is made of: the core's RTLIL and the compiler.
    Where that is not there, or damaged, it is compiled, which takes half a minute, and kept if the folder can be
    written.

    Raises:
        HoldfastError: the extra `hdl` is not installed.
    """
    from holdfast.chip.core import core_rtlil  # needs `hdl`, and a machine with a core of its own does not

    text = core_rtlil()
    path = cache_folder() / f"core-{_digest(text)}.safetensors"
    kept = _kept(path)
    if kept is not None:
        return kept
    print("holdfast: compiling the core, once", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "core.il"
        source.write_text(text, encoding="utf-8")
        core = recurrent(source, clock="clk", wide=True, layers=LAYERS)
    _keep(core, path)
    return core


@lru_cache(maxsize=1)
def clocked_core() -> Clocked:
    """The circuit that `compiled_core` is made of: takes a second, once in a process.

    Raises:
        HoldfastError: the extra `hdl` is not installed.
    """
    from holdfast.chip.core import core_rtlil

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "core.il"
        source.write_text(core_rtlil(), encoding="utf-8")
        return read_clocked(source, clock="clk")


def _digest(text: str) -> str:
    total = hashlib.sha256(f"{LAYERS} layers\0{text}\0".encode())
    for path in sorted(CIRCUITS.rglob("*.py")):
        total.update(str(path.relative_to(CIRCUITS)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()[:16]


def _sum_of(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _kept(path: Path) -> Recurrent | None:
    """What is kept there, if its bytes are those that were written."""
    try:
        said, got = _sum_of(path).read_text(encoding="ascii"), hashlib.sha256(path.read_bytes()).hexdigest()
        return Recurrent.load(path) if said == got else None
    except (OSError, UnicodeDecodeError, HoldfastError):
        return None


def _keep(core: Recurrent, path: Path) -> None:
    """Each file appears whole or not at all, the sum last."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            written, total = Path(folder) / path.name, Path(folder) / _sum_of(path).name
            core.save(written)
            total.write_text(hashlib.sha256(written.read_bytes()).hexdigest(), encoding="ascii")
            written.replace(path)
            total.replace(_sum_of(path))
    except OSError as error:
        print(f"holdfast: {path.parent}: {error.strerror or error}. The core is not kept.", file=sys.stderr)
