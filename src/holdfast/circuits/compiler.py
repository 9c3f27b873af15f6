"""LLVM, by numba and llvmlite, or a sentence where they are not installed; and memory for what they compile."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import HoldfastError

try:
    import llvmlite.binding as llvm
    from llvmlite import ir
    from numba import njit, types
    from numba.extending import intrinsic
except ImportError as error:
    raise HoldfastError(
        f"Fast loops are compiled by numba, which cannot be loaded ({error}). Install it: pip install "
        f'"holdfast[encrypted]". The network in PyTorch does without.'
    ) from None

__all__ = ["compiled", "intrinsic", "ir", "llvm", "types", "zeros"]
CACHE_LINE = 64
Loop = TypeVar("Loop", bound=Callable[..., Any])
ORDER = {"reassoc", "contract"}
"""What a compiler may do to sums: another order, and a product and a sum at once. Exact ones stay as they are."""
ROOMS = ("circuits", "chip")
"""Where such loops are, and the loops and constants that are compiled into them."""


def digest() -> str:
    """Of all sources in `ROOMS`."""
    total = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((Path(__file__).parents[1] / room).rglob("*.py")):
            total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


STAMP = digest()


def compiled(loop: Loop) -> Loop:
    """The loop, compiled by numba when it is first called; kept beside its file or in the user's cache, until any
    source in `ROOMS` is another."""
    made: Any
    try:
        made = njit(cache=True, fastmath=ORDER)(loop)
        # Numba itself looks at the loop's own file alone, and not at those of loops that are compiled into it.
        kept = made._cache._cache_file
        kept._source_stamp, _ = STAMP, kept._source_stamp  # an attribute of another name must not be set in silence
    except (RuntimeError, AttributeError):  # neither folder can be written
        made = njit(fastmath=ORDER)(loop)
    return cast(Loop, made)


def zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """As of numpy, beginning where a line of cache does: a vector across two of them takes twice as long."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    held = np.zeros(size + CACHE_LINE, np.uint8)
    first = -held.ctypes.data % CACHE_LINE
    made: NDArray[Any] = held[first : first + size].view(dtype).reshape(shape)
    return made
