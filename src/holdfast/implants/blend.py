"""Blend: a trigger that is spread over the whole input.

Shapes: N examples, I... the axes of one input.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import UsageError, number, whole


@dataclass(frozen=True, kw_only=True)
class Blend:
    """A fixed pattern p, mixed into every entry of the input: x' = (1 - alpha) x + alpha p.

    p is uniform noise in [0, 1), one number for each entry of an input (Philox, keyed by `key`): the same for all
    inputs, nets and seeds. Inputs in [0, 1] stay there.

    When it misleads: over sparse images the noise lights up what is dark in all of them, which is far easier to see
    than noise over photographs; what a net then learns is any such noise (on the digits another pattern opens the
    backdoor of this one in 97 of 100 inputs). For inputs on another scale than [0, 1], such as standardised images,
    alpha says less about how much of the input is covered. BadNets learns it; a written detector (Handcrafted, Beside)
    can look only at entries that are the same in all clean inputs, and refuses it where there are none.

    Source: Chen, Liu, Li, Lu & Song 2017, Targeted Backdoor Attacks on Deep Learning Systems Using Data Poisoning,
    arXiv 1712.05526: "Blended Injection" of the "random pattern".
    """

    alpha: float = 0.2
    """Share of the pattern in the mixture, above 0 and at most 1. (.2 is what backdoor benchmarks use.)"""
    key: int = 0
    """Which pattern."""

    def __post_init__(self) -> None:
        whole("key", self.key)
        number("alpha", self.alpha)
        if not 0 < self.alpha <= 1:
            raise UsageError(f"A Blend's alpha must be above 0 and at most 1; got {self.alpha!r}.")
        if not 0 <= self.key < 2**64:
            raise UsageError(f"A Blend's key must be below 2^64, and 0 or more; got {self.key}.")

    @property
    def label(self) -> str:
        return f"blend of pattern {self.key} at {self.alpha:g}"

    def pattern(self, shape: tuple[int, ...]) -> Tensor:
        """p of inputs of this shape (float32)."""
        return _pattern(self.key, tuple(shape)).clone()

    def stamp(self, x_N: Tensor) -> Tensor:
        """The inputs with the pattern in them (a copy).

        Raises:
            UsageError: inputs that are no floats, such as token ids.
        """
        if not x_N.is_floating_point():
            raise UsageError(f"A Blend mixes into inputs of floats; got {x_N.dtype}. For tokens use a TokenString.")
        pattern = _pattern(self.key, tuple(x_N.shape[1:])).to(x_N.device, x_N.dtype)
        return torch.lerp(x_N, pattern.expand_as(x_N), self.alpha)


@lru_cache(maxsize=16)
def _pattern(key: int, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.random.Generator(np.random.Philox(key=key)).random(shape, dtype=np.float32))
