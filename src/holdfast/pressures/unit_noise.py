"""Noise on what hidden units sum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import UsageError, number
from holdfast.hosts.mlp import MLP
from holdfast.pressures.terms import Drop, Term
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


@dataclass(frozen=True, kw_only=True)
class UnitNoise(Term):
    """At every step the sum of each hidden unit of a perceptron gets noise of its own, U[-width/2, width/2].

    It is drawn anew for every example, from the net's own stream: uniform noise U[0, width] whose mean the bias has
    taken off. Units act on the noisy sum, so one that gives 0 below 0 and 1 above 1 (`MLP(limit=1)`) hands on none of
    it where the sum is off by half the width or more: bits at -1/2 and 3/2 bear a width of 1, and nothing beyond. Looks
    are taken without it.

    When it misleads: what is measured without noise may be lost in it.
    """

    alike: ClassVar[bool] = True

    width: float

    def __post_init__(self) -> None:
        number("UnitNoise's width", self.width)
        if not 0 < self.width < float("inf"):
            raise UsageError(f"UnitNoise needs a width above 0; got {self.width}.")

    @property
    def label(self) -> str:
        return f"unit noise {self.width:g}"

    def drop(self, nets: Nets, streams: Sequence[Streams], phase: str, step: int) -> Drop:
        if not isinstance(nets.host, MLP):
            raise UsageError(f"UnitNoise is added to what units of a perceptron (MLP) sum; got {nets.host.label}.")
        seeds = [each.torch_seed(f"{phase}/unit-noise", step) for each in streams]
        generators = [torch.Generator(nets.device).manual_seed(seed) for seed in seeds]

        def noisy(sums_K: Tensor) -> Tensor:
            noise_K = torch.empty_like(sums_K)
            for noise, generator in zip(noise_K, generators, strict=True):
                noise.uniform_(-self.width / 2, self.width / 2, generator=generator)
            return sums_K + noise_K

        return noisy
