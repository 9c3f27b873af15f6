"""Recipes: decorated functions that return a study, and finding them in a file."""

import dataclasses
import difflib
import inspect
import re
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from holdfast.census import Census
from holdfast.errors import HoldfastError, UsageError, nearest
from holdfast.experiment import Experiment
from holdfast.own_file import load
from holdfast.study import Study

F = TypeVar("F", bound=Callable[[], Any])


def recipe(function: F) -> F:
    """Mark a function without arguments as a recipe. It returns a `Study`, an `Experiment`, a `Census`, a list, or an
    `Audit`."""
    function.__holdfast_recipe__ = True  # type: ignore[attr-defined]
    return function


def load_recipe(where: str, *, separate: bool = False) -> tuple[Study, Path]:
    """The study of `FILE` or `FILE::name`, and the file.

    Args:
        where: the file, and the recipe where it has several.
        separate: of an `Audit`, plant each canary alone as well.

    Raises:
        UsageError: no such file, no recipe in it, several without a name, or a name it does not have.
        HoldfastError: the file or the recipe raised; the message names file and line.
    """
    file, _, name = where.partition("::")
    path = Path(file)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; expected a recipe file.")
    if not path.is_file():
        near = [str(p) for p in (path.parent if path.parent.is_dir() else Path()).glob("*.py")]
        raise nearest(file, near, what="recipe file")
    module = _call(partial(load, path), path)
    found = {k: v for k, v in vars(module).items() if getattr(v, "__holdfast_recipe__", False)}
    if not found:
        raise UsageError(f"{path} has no recipe. Put @holdfast.recipe above a function that returns a Study.")
    if not name and len(found) > 1:
        raise UsageError(f"{path} has several recipes: {', '.join(sorted(found))}. Choose one: {path}::{min(found)}")
    if name and name not in found:
        raise nearest(name, found, what=f"recipe in {path.name}")
    chosen = name or next(iter(found))
    value = _call(found[chosen], path)
    if separate and hasattr(value, "separate"):
        value = dataclasses.replace(value, separate=True)
    return as_study(value, chosen), path


def as_study(value: Any, name: str) -> Study:
    """What a recipe returned, as a study.

    Raises:
        UsageError: it is neither a study nor experiments or censuses.
    """
    if isinstance(value, Study):
        return value
    if callable(getattr(value, "study", None)) and not isinstance(value, type):  # an Audit
        study: Study = value.study(name)
        return study
    parts = tuple(value) if isinstance(value, list | tuple) else (value,)
    arms = tuple(part for part in parts if isinstance(part, Experiment))
    censuses = tuple(part for part in parts if isinstance(part, Census))
    if parts and len(arms) + len(censuses) == len(parts):
        return Study(name=name, arms=arms, censuses=censuses)
    raise UsageError(
        f"Recipe {name} returned {type(value).__name__}; expected a Study, an Experiment, a Census, a list of them, or "
        f"an Audit."
    )


def _call(function: Callable[[], Any], path: Path) -> Any:
    try:
        return function()
    except HoldfastError:
        raise
    except BaseException as error:
        raise _in_file(error, path) from None


def _in_file(error: BaseException, path: Path) -> HoldfastError:
    """The error in the user's words: file, line and what Python said; wrong use, where we have no such name."""
    if isinstance(error, SyntaxError):
        return HoldfastError(f"{path} line {error.lineno or 1}: {error.msg or error}.")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == path.name]
    line = f" line {frames[-1].lineno}" if frames else ""
    hint = _meant(error)
    if hint is not None:
        return UsageError(f"{path}{line}: {error}. {hint}")
    return HoldfastError(f"{path}{line}: {type(error).__name__}: {error}")


def _meant(error: BaseException) -> str | None:
    """The nearest of our names, where the error is about one of them."""
    import holdfast

    words = re.findall(r"'([^']+)'", str(error))
    if isinstance(error, NameError | AttributeError | ImportError) and words:
        ours = isinstance(error, NameError) or "holdfast" in words
        close = difflib.get_close_matches(next(w for w in (*words, "") if w != "holdfast"), holdfast.__all__, n=1)
        return f"Perhaps you meant {close[0]!r}." if ours and close else None
    called = re.match(r"([A-Za-z]+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if isinstance(error, TypeError) and called and called[1] in holdfast.__all__:
        takes = list(inspect.signature(getattr(holdfast, called[1])).parameters)
        close = difflib.get_close_matches(called[2], takes, n=1)
        return f"Perhaps you meant {close[0]!r}." if close else f"It takes: {', '.join(takes)}."
    return None
