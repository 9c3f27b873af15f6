"""The user's own data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from holdfast.errors import HoldfastError
from holdfast.tasks.base import Data, Split

EXAMPLES = 256
"""Held-out examples that looks measure on, so that looking costs little beside training."""
SHAPE = "data() must return ((inputs, targets), (held-out inputs, held-out targets))"


@dataclass(frozen=True, kw_only=True)
class OwnData:
    """Training and held-out examples, from a function `data() -> ((inputs, targets), (inputs, targets))`.

    Inputs are float tensors, or integer tokens (N, T). Targets are classes (N), or the next token at each position
    (N, T); targets that equal the inputs, as Hugging Face has its labels, are shifted by one. Of the held-out examples,
    in a fixed random order, up to `examples` are measured on (`test`), and as many others serve for choices
    (`validation`). Looks see all of `test` every time: small, so one example in 256 is 0.4 points.
    """

    make: Callable[[], Any]
    examples: int = EXAMPLES

    @property
    def label(self) -> str:
        return f"own data ({getattr(self.make, '__name__', type(self.make).__name__)})"

    def load(self) -> Data:
        """The three splits; the function is called once.

        Raises:
            HoldfastError: it raised, or returned something else.
        """
        return _loaded(self.make, self.examples)


@lru_cache(maxsize=4)
def _loaded(make: Callable[[], Any], examples: int) -> Data:
    try:
        found = make()
        if not isinstance(found, tuple | list) or any(not isinstance(part, tuple | list) for part in found):
            got = [type(part).__name__ for part in found] if isinstance(found, tuple | list) else type(found).__name__
            raise HoldfastError(f"{SHAPE}, as tensors; got {got}. Take the examples out of a dataset or loader first.")
        (x, y), (x_held, y_held) = found
        train, held = _split(x, y, "training"), _split(x_held, y_held, "held-out")
    except HoldfastError:
        raise
    except Exception as error:
        raise HoldfastError(f"{SHAPE}; got {type(error).__name__}: {error}.") from error
    if train.x.shape[1:] != held.x.shape[1:] or train.x.dtype != held.x.dtype:
        raise HoldfastError(
            f"Training inputs are {tuple(train.x.shape[1:])}, {train.x.dtype}, but held-out ones "
            f"{tuple(held.x.shape[1:])}, {held.x.dtype}. They must be alike."
        )
    order = torch.from_numpy(np.random.Generator(np.random.Philox(key=0)).permutation(len(held)))
    count = min(examples, len(held) // 2)
    if count < 20:
        raise HoldfastError(f"{len(held)} held-out examples are too few to measure on: 40 at least, better 500.")
    test, validation = order[:count], order[count : 2 * count]
    classes = int(max(train.y.max(), held.y.max())) + 1
    judged, chosen = (Split(held.x[rows], held.y[rows], classes) for rows in (test, validation))
    return Data(Split(train.x, train.y, classes), chosen, judged, classes)


def _split(x: Any, y: Any, which: str) -> Split:
    try:
        x, y = torch.as_tensor(x).detach().clone(), torch.as_tensor(y).detach().clone()  # theirs may change in place
    except (TypeError, ValueError, RuntimeError) as error:
        raise HoldfastError(f"{SHAPE} as tensors or arrays; the {which} part is something else ({error}).") from None
    y = y.long() if not y.is_floating_point() else y
    if y.is_floating_point() or len(x) != len(y) or y.dim() not in (1, 2) or not len(x):
        raise HoldfastError(
            f"Expected {which} targets of whole numbers, (N,) classes or (N, T) next tokens, one for each input; got "
            f"inputs {tuple(x.shape)} and targets {tuple(y.shape)}, {y.dtype}."
        )
    x = x.float() if x.is_floating_point() else x.long()
    if not x.is_floating_point() and x.dim() != 2:
        raise HoldfastError(
            f"The {which} inputs are whole numbers of shape {tuple(x.shape)}; tokens are (N, T). Images go in as "
            f"floats: x.float() / 255."
        )
    if x.is_floating_point() and not bool(x.isfinite().all()):
        raise HoldfastError(f"The {which} inputs hold numbers that are not finite. Mend or leave out those examples.")
    if y.dim() == 2 and y.shape != x.shape:
        raise HoldfastError(
            f"The {which} targets are {tuple(y.shape)} for inputs {tuple(x.shape)}: expected (N,) classes, or next "
            f"tokens in the shape of the inputs."
        )
    if y.dim() == 2 and x.shape == y.shape and torch.equal(x, y):
        x, y = x[:, :-1].contiguous(), y[:, 1:].contiguous()
    if bool((y < 0).any()):
        raise HoldfastError(
            f"The {which} targets hold {int(y.min())}. Leave out what is masked: cut or drop those examples."
        )
    return Split(x, y)
