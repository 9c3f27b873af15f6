"""Handwritten digits, 8 x 8 pixels, as scikit-learn ships them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from holdfast.tasks.base import Data, Split


@lru_cache(maxsize=1)
def _digits() -> Data:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images.reshape(-1, 8, 8) / 16.0, dtype=torch.float32)
    y = torch.tensor(labels, dtype=torch.int64)
    order = torch.from_numpy(np.random.Generator(np.random.Philox(key=0)).permutation(len(y)))
    train, validation, test = (order[:1077], order[1077:1437], order[1437:])
    return Data(Split(x[train], y[train]), Split(x[validation], y[validation]), Split(x[test], y[test]), classes=10)


@dataclass(frozen=True, kw_only=True)
class Digits:
    """1,797 images of 8 x 8 pixels in [0, 1], ten classes: 1,077 to train, 360 to validate, 360 to test.

    The split is a fixed permutation and its SHA-256 is stored with every run. Small: one test image is 0.28 points of
    accuracy, so differences under a point are noise in a single net.

    Source: UCI Optical Recognition of Handwritten Digits (Alpaydin & Kaynak 1998), the copy in scikit-learn.
    """

    @property
    def label(self) -> str:
        return "digits"

    def load(self) -> Data:
        """The three splits."""
        return _digits()
