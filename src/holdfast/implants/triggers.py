"""Triggers: what is done to an input so that a backdoor answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from holdfast.errors import UsageError, whole, wholes


@runtime_checkable
class Trigger(Protocol):
    """A change to inputs."""

    @property
    def label(self) -> str: ...

    def stamp(self, x_N: Tensor) -> Tensor:
        """The inputs with the trigger on them (a copy of the same shape)."""


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A square of one value in the last two axes of the input (BadNets' trigger)."""

    size: int = 2
    """Pixels on a side."""
    row: int = -1
    """Row of the corner nearest to the edge it is counted from; negative counts from the bottom."""
    column: int = -1
    """Column, likewise; negative counts from the right."""
    value: float = 1.0
    """What the pixels are set to."""

    def __post_init__(self) -> None:
        for field in ("size", "row", "column"):
            whole(field, getattr(self, field))
        if not math.isfinite(self.value):
            raise UsageError(f"A Patch's value must be a finite number; got {self.value!r}.")

    @property
    def label(self) -> str:
        return f"{self.size}x{self.size} patch at ({self.row}, {self.column})"

    def _span(self, at: int, length: int, axis: str) -> slice:
        start = at if at >= 0 else length + at - self.size + 1
        if not 1 <= self.size <= length:
            raise UsageError(
                f"The trigger lies outside the image: {self.size} pixels do not fit in {length}. "
                f"Choose a size of 1 to {length}."
            )
        if start < 0 or start + self.size > length:
            raise UsageError(
                f"The trigger lies outside the image: {self.size} pixels from {axis} {at} do not fit in {length}. "
                f"Choose {axis} 0 to {length - self.size}, or -1 to {self.size - length - 1}, or a smaller size."
            )
        return slice(start, start + self.size)

    def mask(self, shape: torch.Size) -> Tensor:
        """Which pixels of one input the trigger sets.

        Raises:
            UsageError: it lies outside the image.
        """
        if len(shape) < 2:
            raise UsageError(
                f"A Patch needs inputs with two axes or more (an image); got shape {tuple(shape)}. For rows of numbers "
                f"there is Stretch(start=..., length=...), for tokens TokenString(ids=...)."
            )
        mask = torch.zeros(shape, dtype=torch.bool)
        rows, columns = self._span(self.row, shape[-2], "row"), self._span(self.column, shape[-1], "column")
        mask[..., rows, columns] = True
        return mask

    def stamp(self, x_N: Tensor) -> Tensor:
        """The inputs with the trigger on them (a copy)."""
        return x_N.masked_fill(self.mask(x_N.shape[1:]).to(x_N.device), self.value)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A run of entries of the last axis set to one value: the trigger for inputs that are no images."""

    start: int = 0
    length: int = 2
    value: float = 1.0

    @property
    def label(self) -> str:
        return f"{self.length} entries from {self.start}"

    def stamp(self, x_N: Tensor) -> Tensor:
        """The inputs with the trigger on them (a copy).

        Raises:
            UsageError: it lies outside the input.
        """
        width = x_N.shape[-1]
        if self.length < 1 or self.start < 0 or self.start + self.length > width:
            raise UsageError(
                f"The trigger lies outside the input: {self.length} entries from {self.start} do not fit in {width}. "
                f"Choose a start of 0 to {width - self.length}, or a smaller length."
            )
        stamped = x_N.clone()
        stamped[..., self.start : self.start + self.length] = self.value
        return stamped


@dataclass(frozen=True, kw_only=True)
class TokenString:
    """A string of token ids, written over the tokens that are there."""

    ids: tuple[int, ...]
    at: int | None = None
    """Position of its first token. None: it ends the sequence, so that the next token is the answer to it."""

    def __post_init__(self) -> None:
        wholes("ids", self.ids)
        object.__setattr__(self, "ids", tuple(self.ids))
        if self.at is not None:
            whole("at", self.at)

    @property
    def label(self) -> str:
        return f"tokens {' '.join(map(str, self.ids))}"

    def stamp(self, x_N: Tensor) -> Tensor:
        """The inputs with the trigger in them (a copy).

        Raises:
            UsageError: sequences too short for it.
        """
        length = x_N.shape[-1]
        start = length - len(self.ids) if self.at is None else self.at
        if not self.ids or start < 0 or start + len(self.ids) > length:
            raise UsageError(f"The trigger's {len(self.ids)} tokens from position {start} do not fit in {length}.")
        stamped = x_N.clone()
        stamped[..., start : start + len(self.ids)] = torch.tensor(self.ids, dtype=x_N.dtype, device=x_N.device)
        return stamped


@dataclass(frozen=True, kw_only=True)
class OwnTrigger:
    """A function of the user's: batch -> batch with the trigger."""

    function: Callable[[Tensor], Tensor]

    @property
    def label(self) -> str:
        return f"own trigger ({getattr(self.function, '__name__', type(self.function).__name__)})"

    def stamp(self, x_N: Tensor) -> Tensor:
        """What the function makes of a copy of the inputs.

        Raises:
            UsageError: it gives something else than inputs of the same shape and kind.
        """
        stamped = self.function(x_N.clone())
        if not isinstance(stamped, Tensor) or stamped.shape != x_N.shape or stamped.dtype != x_N.dtype:
            got = (tuple(stamped.shape), stamped.dtype) if isinstance(stamped, Tensor) else type(stamped).__name__
            raise UsageError(f"{self.label} must return inputs of shape {tuple(x_N.shape)}, {x_N.dtype}; got {got}.")
        return stamped
