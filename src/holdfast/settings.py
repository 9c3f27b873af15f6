"""Settings as plain JSON: what is stored, shown and hashed."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.errors import UsageError


def settings(part: Any) -> Any:
    """A part as plain JSON: every field, and the class it is of (`kind`). What is stored, shown and hashed.

    Functions are stored by name (the digest of the code tells versions apart), files by name and SHA-256.
    """
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        fields = {f.name: settings(getattr(part, f.name)) for f in dataclasses.fields(part)}
        label = getattr(part, "label", None)
        return {"kind": type(part).__name__, **fields, **({"label": label} if isinstance(label, str) else {})}
    if isinstance(part, Path):
        return {"file": part.name, "sha256": hashlib.sha256(part.read_bytes()).hexdigest()}
    if isinstance(part, Mapping):
        return {str(k): settings(v) for k, v in part.items()}
    if isinstance(part, list | tuple | range):
        return [settings(v) for v in part]
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if callable(part):
        return f"{part.__module__}:{part.__qualname__}"
    raise UsageError(f"{part!r} cannot be stored as a setting: use a dataclass, a function, a path or a plain value.")


def digest(value: Any, *, length: int = 16) -> str:
    """SHA-256 of a JSON value in canonical form, in hex."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]
