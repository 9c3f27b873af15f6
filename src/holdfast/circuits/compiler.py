"""LLVM, by numba and llvmlite, or a sentence where they are not installed."""

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

__all__ = ["intrinsic", "ir", "llvm", "njit", "types"]
