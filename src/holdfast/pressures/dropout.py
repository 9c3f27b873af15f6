"""Dropout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Drop, Term
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


@dataclass(frozen=True, kw_only=True)
class Dropout(Term):
    """At every step each hidden activation is set to zero with probability `rate`, the others divided by 1 - rate.

    Where a host drops (after which layers) its own page says; before a ReLU is the same as after it. Masks come from
    the net's own stream. Looks are taken without it. Srivastava et al. 2014.
    """

    alike: ClassVar[bool] = True

    rate: float

    def __post_init__(self) -> None:
        number("Dropout's rate", self.rate)
        if not 0 <= self.rate < 1:
            raise UsageError(f"Dropout needs a rate of at least 0 and below 1; got {self.rate}.")

    @property
    def label(self) -> str:
        return f"dropout {self.rate:g}"

    def drop(self, nets: Nets, streams: Sequence[Streams], phase: str, step: int) -> Drop:
        generators = [torch.Generator(nets.device).manual_seed(s.torch_seed(f"{phase}/dropout", step)) for s in streams]

        def dropped(activation_K: Tensor) -> Tensor:
            keep_K = torch.empty_like(activation_K)
            for keep, generator in zip(keep_K, generators, strict=True):
                keep.bernoulli_(1 - self.rate, generator=generator)
            return activation_K * keep_K / (1 - self.rate)

        return dropped
