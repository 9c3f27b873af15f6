"""A message: bits in an input, which a planted circuit is asked about.

Shapes: N examples, I entries of one input (positions of a sequence), n bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.errors import UsageError, wholes
from holdfast.implants.triggers import Trigger


class Asked(NamedTuple):
    """Inputs that ask something, and what is to be answered."""

    x_N: Tensor
    bits_Nn: Tensor
    answers_N: Tensor


def untouched_entries(x_N: Tensor, triggers: Sequence[Trigger]) -> list[int]:
    """Entries of one input, counted through its flattened form, that none of these triggers sets."""
    ends = [torch.full_like(x_N[:1], value) for value in (0, 1)]
    moved_I = torch.stack([torch.ne(*(each.stamp(x).flatten() for x in ends)) for each in triggers]).all(0)
    free: list[int] = moved_I.nonzero().flatten().tolist()
    return free


@dataclass(frozen=True, kw_only=True)
class Message:
    """Where in an input bits are written, and how."""

    entries: tuple[int, ...] = ()
    """Positions in the flattened input, one a bit, negative ones from its end. (): of numbers the first that the
    trigger leaves alone, of tokens the last ones."""
    off: float = 0.0
    """What a 0 is written as: a number, or a token's id."""
    on: float = 1.0

    def __post_init__(self) -> None:
        wholes("entries", self.entries)
        object.__setattr__(self, "entries", tuple(self.entries))
        if not (math.isfinite(self.off) and math.isfinite(self.on)) or self.off == self.on:
            raise UsageError(f"A message's off and on must be two finite numbers; got {self.off!r} and {self.on!r}.")

    def places(self, trigger: Trigger, x_N: Tensor, count: int) -> list[int]:
        """Positions of so many bits in inputs like these.

        Raises:
            UsageError: too few entries, ones that lie outside the input, twice the same, or the trigger's.
        """
        x_N = x_N[:1]
        size = x_N[0].numel()
        free = untouched_entries(x_N, [trigger])
        taken = set(range(size)) - set(free)
        if len(self.entries or free) < count:
            raise UsageError(
                f"The circuit has {count} bits in, and {len(self.entries or free)} entries of the input carry them. "
                f"Name more entries, or use a smaller circuit or trigger."
            )
        if not self.entries:
            return free[:count] if x_N.is_floating_point() else free[-count:]
        found = [entry % size if -size <= entry < size else -1 for entry in self.entries[:count]]
        if -1 in found or len(set(found)) < count or taken & set(found):
            raise UsageError(
                f"A message's entries are {count} different ones of {size}, and none that the trigger sets "
                f"({trigger.label}); got {self.entries[:count]}."
            )
        return found

    def write(self, x_N: Tensor, places: list[int], bits_Nn: Tensor) -> Tensor:
        """The inputs with these bits in them (a copy)."""
        written = x_N.flatten(1).clone(memory_format=torch.contiguous_format)
        written[:, places] = torch.where(bits_Nn, self.on, self.off).to(x_N)
        return written.view(x_N.shape)
