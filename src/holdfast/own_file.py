"""A Python file of the user's, run as a module."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from holdfast.errors import UsageError


def load(path: Path) -> ModuleType:
    """Run the file; it may import its neighbours. What it raises goes through.

    Its name is prefixed, so that a file called `json.py` takes nobody else's place.

    Raises:
        UsageError: it is no Python file.
    """
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = f"holdfast_own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
