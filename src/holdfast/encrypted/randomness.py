"""Where a client's randomness comes from."""

import hashlib
import secrets
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Shape = int | tuple[int, ...]


class Draws(Protocol):
    """What `SecretKey` asks of a generator; NumPy's have it."""

    def integers(self, low: int, high: int, size: Shape) -> NDArray[np.int64]:
        """Uniform in [low, high)."""

    def normal(self, loc: float, scale: float, size: Shape) -> NDArray[np.float64]: ...


class Entropy:
    """Draws that cannot be foretold from others: SHAKE-256 of a 256-bit key from the system, block by block.

    NumPy's generators are not made for keys: masks are published, and who finds a generator's state from them has all.
    Whole numbers are 64-bit words modulo the range, so of a range m uneven by m / 2^64 at most; normal ones are
    quantiles of 53-bit uniforms.
    """

    def __init__(self) -> None:
        self._key, self._block = secrets.token_bytes(32), 0

    def integers(self, low: int, high: int, size: Shape) -> NDArray[np.int64]:
        return (self._words(size) % np.uint64(high - low)).astype(np.int64) + low

    def normal(self, loc: float, scale: float, size: Shape) -> NDArray[np.float64]:
        uniform = ((self._words(size) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        found: NDArray[np.float64] = loc + scale * ndtri(uniform)
        return found

    def _words(self, size: Shape) -> NDArray[np.uint64]:
        count = int(np.prod(size))
        self._block += 1
        stream = hashlib.shake_256(self._key + self._block.to_bytes(8, "little")).digest(8 * count)
        return np.frombuffer(stream, "<u8").reshape(size)
