"""LLVM, by numba and llvmlite, or a sentence where they are not installed; and memory for what they compile."""

import math
from typing import Any

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

__all__ = ["intrinsic", "ir", "llvm", "njit", "types", "zeros"]
CACHE_LINE = 64


def zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """As of numpy, beginning where a line of cache does: a vector across two of them takes twice as long."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    held = np.zeros(size + CACHE_LINE, np.uint8)
    first = -held.ctypes.data % CACHE_LINE
    made: NDArray[Any] = held[first : first + size].view(dtype).reshape(shape)
    return made
