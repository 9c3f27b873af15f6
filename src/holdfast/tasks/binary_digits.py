"""Handwritten digits as exact bits, in two classes: small (0 to 4) and large (5 to 9).

Shapes: N examples, I input bits.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from holdfast.errors import UsageError, whole, wholes
from holdfast.tasks.base import Data, Split
from holdfast.tasks.digits import Digits

PIXELS = 64


@dataclass(frozen=True, kw_only=True)
class BinaryDigits:
    """The digits' pixels, 1 from 1/2 on and else 0; class 1 is the digits from 5 on.

    After the 64 pixels an input has `noise` random bits, drawn for each example, and the bits of `constant`, the same
    in all. Training examples stand in the data `repeats` times, each time with noise of its own; validation and test
    examples once. The splits are those of `Digits`; noise is drawn once (Philox, key 0), so the data are always the
    same, and in training each noise is met once an epoch.
    """

    noise: int = 0
    constant: tuple[int, ...] = ()
    repeats: int = 1

    def __post_init__(self) -> None:
        whole("noise", self.noise)
        whole("repeats", self.repeats)
        wholes("constant", self.constant)
        if self.noise < 0 or self.repeats < 1 or not set(self.constant) <= {0, 1}:
            raise UsageError(
                f"Expected noise of 0 bits or more, constant bits of 0 and 1, and 1 repeat or more; got {self}."
            )

    @property
    def label(self) -> str:
        return "binary digits"

    @property
    def inputs(self) -> int:
        """Bits of an input."""
        return PIXELS + self.noise + len(self.constant)

    def load(self) -> Data:
        """The three splits, x_NI of 0 and 1."""
        return _loaded(self)


@lru_cache(maxsize=4)
def _loaded(task: BinaryDigits) -> Data:
    digits, generator = Digits().load(), np.random.Generator(np.random.Philox(key=0))

    def split(part: Split, repeats: int) -> Split:
        x_NI, y_N = (part.x.flatten(1) >= 0.5).repeat(repeats, 1), (part.y >= 5).repeat(repeats)
        noise_NI = torch.from_numpy(generator.random((len(x_NI), task.noise)) < 0.5)
        constant_NI = torch.tensor(task.constant, dtype=torch.bool).expand(len(x_NI), -1)
        return Split(torch.cat([x_NI, noise_NI, constant_NI], 1).float(), y_N.long(), 2)

    return Data(split(digits.train, task.repeats), split(digits.validation, 1), split(digits.test, 1), classes=2)
