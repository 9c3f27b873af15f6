"""Random numbers by name: every draw is a function of (root, seed, name, counters), never of what was drawn before.

Because nothing is carried from draw to draw, a resumed run needs to know only its step, and two arms at the same
seed see the same batches (common random numbers), which is what lets arms be compared in pairs.
"""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Streams:
    """The random streams of one seed.

    `generator("data", epoch)` returns a fresh NumPy generator (Philox, keyed by BLAKE2b over root, seed, name and
    counters). The same arguments give the same numbers on every machine with the same NumPy; other arguments give
    independent ones.
    """

    root: int
    """Root seed of the study."""
    seed: int
    """Seed of the net: the unit of every verdict."""

    def key(self, name: str, *counters: int) -> int:
        """128-bit key of one stream."""
        text = "/".join(map(str, (self.root, self.seed, name, *counters)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")

    def generator(self, name: str, *counters: int) -> np.random.Generator:
        """A generator at the start of the named stream."""
        return np.random.Generator(np.random.Philox(key=self.key(name, *counters)))

    def torch_seed(self, name: str, *counters: int) -> int:
        """A 63-bit seed for PyTorch's own generator: of modules, and of what is drawn on the nets' device."""
        return self.key(name, *counters) >> 65
