"""Digests of the code that decides a result."""

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOMS = (
    "hosts",
    "tasks",
    "circuits",
    "encrypted",
    "chip",
    "implants",
    "pressures",
    "pruning",
    "training",
    "probes",
    "samples",
)
FILES = (
    "run.py",
    "cells.py",
    "experiment.py",
    "census.py",
    "study.py",
    "parts.py",
    "settings.py",
    "own_file.py",
    "engines/base.py",
)
RULES = ("stats", "judging")
PACKAGE = Path(__file__).parent.parent


@lru_cache(maxsize=1)
def library_digest() -> str:
    """SHA-256 over the modules that plant, press and measure (not the command, store or report)."""
    files = [PACKAGE / name for name in FILES]
    return _digest(files + [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))], PACKAGE)


@lru_cache(maxsize=1)
def rules_digest() -> str:
    """SHA-256 over the modules that turn measures into verdicts. A verdict by other rules is judged again."""
    return _digest([path for room in RULES for path in sorted((PACKAGE / room).rglob("*.py"))], PACKAGE)


def user_digest(recipe: Path) -> str:
    """SHA-256 over a recipe file and every module in its folder that it imports, or that those import.

    Found by reading the import statements, also those inside functions: what happens to be loaded at the time would
    make the digest depend on when it is asked for. A module that is imported by a computed name is not seen.
    """
    recipe = recipe.resolve()
    found, left = {recipe}, [recipe]
    while left:
        new = {file for file in _imported(left.pop(), recipe.parent) if file not in found}
        found |= new
        left += sorted(new)
    return _digest(sorted(found), recipe.parent)


def _imported(file: Path, folder: Path) -> Iterator[Path]:
    """Files in the folder that the import statements of one file name."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = file.parent
            for _ in range(node.level - 1):
                base = base.parent
            inside = ".".join((*base.relative_to(folder).parts, node.module or "")) if node.level else node.module or ""
            names = [inside, *(f"{inside}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            yield from _files(name.strip(".").split("."), folder)


def _files(parts: list[str], folder: Path) -> Iterator[Path]:
    """The packages on the way to a module, and the module, where they lie in the folder (and are not ours)."""
    for end in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:end])
        for file in (path.with_suffix(".py") if parts[end - 1] else path, path / "__init__.py"):
            if file.is_file() and PACKAGE not in file.resolve().parents:
                yield file.resolve()


def _digest(files: list[Path], base: Path) -> str:
    total = hashlib.sha256()
    for file in files:
        name = file.relative_to(base) if base in file.parents else Path(file.name)
        total.update(str(name).encode() + b"\0" + file.read_bytes() + b"\0")
    return total.hexdigest()[:16]
