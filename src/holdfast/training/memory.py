"""Memory that a step frees is kept for the next step."""

import ctypes
from functools import lru_cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's names for them, in malloc.h."""
KEPT = 1 << 30
"""Bytes that may lie free before they are given back."""
FROM_HEAP = 1 << 25
"""Bytes of the largest block that is taken from the heap, and so kept; glibc allows no more everywhere."""


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Ask the C library not to give freed memory back to the system after every step; for the whole process.

    A step frees its activations and gradients, some megabytes, and the next allocates the same. glibc returns them in
    between, so that each page is mapped and cleared anew: about a twentieth of the time of a batch of small nets. No
    result depends on it. Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(MMAP_THRESHOLD, FROM_HEAP)
    mallopt(TRIM_THRESHOLD, KEPT)
