"""A digest of the code that decides a cell's result."""

import hashlib
import sys
from functools import lru_cache
from pathlib import Path

ROOMS = ("hosts", "tasks", "implants", "pressures", "training", "probes")


@lru_cache(maxsize=1)
def library_digest() -> str:
    """SHA-256 over the modules that `run` imports to plant, press and measure (not the command, store or report)."""
    package = Path(__file__).parent.parent
    files = [package / name for name in ("run.py", "cells.py", "experiment.py", "parts.py", "settings.py")]
    files += [path for room in ROOMS for path in sorted((package / room).rglob("*.py"))]
    return _digest(files, package)


def user_digest(recipe: Path) -> str:
    """SHA-256 over a recipe file and every loaded module that lies in its folder or below."""
    folder = recipe.resolve().parent
    files = {recipe.resolve()}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        # Some modules name a file that was never there (torch.classes) or one relative to nothing.
        if file and Path(file).suffix == ".py" and Path(file).is_absolute() and Path(file).is_file():
            files |= {Path(file).resolve()} if folder in Path(file).resolve().parents else set()
    outside = [f for f in files if "site-packages" not in f.parts]
    return _digest(sorted(outside), folder)


def _digest(files: list[Path], base: Path) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(str(file.relative_to(base)).encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()[:16]
