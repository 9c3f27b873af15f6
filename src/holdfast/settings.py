"""Settings as plain JSON: what is stored, shown and hashed."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from holdfast.errors import UsageError


def settings(part: Any) -> Any:
    """A part as plain JSON: every field, and the class it is of (`kind`). What is stored, shown and hashed.

    A field that decides nothing (where checked data lie, say) can be left out: `field(metadata={"stored": False})`.

    A function is stored by its name and a digest of its byte code, its defaults and what it closes over, so that two
    lambdas of one recipe differ; a file by name and SHA-256; an array or tensor by SHA-256.

    Raises:
        UsageError: something that can't be told from another of its kind.
    """
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        fields = {
            f.name: settings(getattr(part, f.name)) for f in dataclasses.fields(part) if f.metadata.get("stored", True)
        }
        label = getattr(part, "label", None)
        return {"kind": type(part).__name__, **fields, **({"label": label} if isinstance(label, str) else {})}
    if isinstance(part, Path) and part.is_dir():
        files = {f.relative_to(part).as_posix(): settings(f)["sha256"] for f in sorted(part.rglob("*")) if f.is_file()}
        return {"folder": part.name, "sha256": digest(files, length=64)}
    if isinstance(part, Path):
        return {"file": part.name, "sha256": hashlib.sha256(part.read_bytes()).hexdigest()}
    if isinstance(part, Mapping):
        return {str(k): settings(v) for k, v in part.items()}
    if isinstance(part, list | tuple | range):
        return [settings(v) for v in part]
    if isinstance(part, set | frozenset):
        return sorted((settings(v) for v in part), key=repr)
    if part is None or isinstance(part, bool | int | float | str):
        return part
    return _other(part)


def digest(value: Any, *, length: int = 16) -> str:
    """SHA-256 of a JSON value in canonical form, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _other(part: Any) -> Any:
    """Functions, classes, arrays, and objects that are told apart by their attributes."""
    if isinstance(part, FunctionType):
        return _function(part)
    if isinstance(part, MethodType):
        return {"method": settings(part.__func__), "of": settings(part.__self__)}
    if isinstance(part, partial):
        return {"partial": settings(part.func), "args": settings(part.args), "keywords": settings(part.keywords)}
    if isinstance(part, type) or (callable(part) and hasattr(part, "__qualname__")):
        return f"{part.__module__}:{part.__qualname__}"
    if hasattr(part, "__array__") and hasattr(part, "shape"):
        import numpy as np
        import torch

        shape = list(part.shape)
        if isinstance(part, torch.Tensor):
            part = part.detach().cpu().contiguous().view(-1).view(torch.uint8)
        return {"array": shape, "sha256": hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()}
    if isinstance(part, ModuleType):
        return f"module {part.__name__}"
    if getattr(part, "__dict__", None):
        return {"object": f"{type(part).__module__}:{type(part).__qualname__}", "attributes": settings(vars(part))}
    raise UsageError(f"{part!r} cannot be stored as a setting: use a dataclass, a function, a path or a plain value.")


_TAKEN: dict[FunctionType, Any] = {}


def take_anew() -> None:
    """Look at functions again: a new study begins, and what they hold or name may have changed since the last."""
    _TAKEN.clear()


def _function(function: FunctionType) -> Any:
    """Name and digest of a function, of what it closes over, and of what it names of its own module.

    Taken once a study: what a function holds may grow while it is used, and it is the same setting all the while.
    """
    if function not in _TAKEN:
        _TAKEN[function] = f"itself ({function.__qualname__})"  # what is found while it is being looked at: a circle
        _TAKEN[function] = _described(function)
    return _TAKEN[function]


def _described(function: FunctionType) -> Any:
    stored: dict[str, Any] = {
        "function": f"{function.__module__}:{function.__qualname__}",
        "code": hashlib.sha256(repr(_code(function.__code__)).encode()).hexdigest()[:16],
    }
    cells = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *cells]
    names = sorted(_names(function.__code__) & set(function.__globals__))
    named = {name: _named(function.__globals__[name], function) for name in names}
    found = {"holds": [_held(value) for value in held], "names": {n: v for n, v in named.items() if v is not None}}
    return {**stored, **{key: value for key, value in found.items() if value}}


def _held(value: Any) -> Any:
    """What a function closes over: whatever it is, it must not keep the function from being used."""
    try:
        return settings(value)
    except Exception:
        return f"{type(value).__module__}:{type(value).__qualname__}, not looked through"


def _named(value: Any, function: FunctionType) -> Any:
    """A global that a function names: a plain value, or a function or class of the same module; None for others, which
    are other people's, or too large to be looked through."""
    if isinstance(value, type) and value.__module__ == function.__module__:
        return [_function(member) for member in vars(value).values() if isinstance(member, FunctionType)]
    if isinstance(value, FunctionType) and value.__module__ == function.__module__:
        return _function(value)
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else [value]
    plain = len(values) > 0 and all(v is None or isinstance(v, bool | int | float | str) for v in values)
    return settings(value) if plain else None


def _names(code: CodeType) -> set[str]:
    """Names that a function looks up, those of functions inside it too."""
    inner = (c for c in code.co_consts if isinstance(c, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _code(code: CodeType) -> list[Any]:
    """What a function does, without where it stands; constants that have no order of their own are sorted."""
    constants = [
        _code(c) if isinstance(c, CodeType) else sorted(map(repr, c)) if isinstance(c, frozenset) else repr(c)
        for c in code.co_consts
    ]
    return [code.co_code.hex(), code.co_names, code.co_varnames, constants]
