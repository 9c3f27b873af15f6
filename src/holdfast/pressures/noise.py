"""Noise on the weights."""

from dataclasses import dataclass
from typing import Literal

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Part, State, Term


@dataclass(frozen=True, kw_only=True)
class Noise(Term):
    """After every step each trained weight gets noise of its own: w <- w + scale e.

    e ~ N(0, 1) (`gaussian`) or U(-1, 1) (`uniform`, of variance 1/3), drawn anew at every step from the net's own
    stream. The noise stays: without a gradient that pulls back, a weight does a random walk, and after T steps its
    standard deviation is scale sqrt(T), or scale sqrt(T/3). Under SGD it is Langevin dynamics of temperature
    scale^2 / (2 lr) (Welling & Teh 2011), up to the gradient's own noise.

    When it misleads: the scale is absolute, so the same noise is much for a layer of many inputs, whose weights are
    small, and little for another.
    """

    scale: float
    kind: Literal["gaussian", "uniform"] = "gaussian"

    def __post_init__(self) -> None:
        number("Noise's scale", self.scale)
        if not 0 <= self.scale < float("inf"):
            raise UsageError(f"Noise needs a scale of 0 or more; got {self.scale}.")
        if self.kind not in ("gaussian", "uniform"):
            raise UsageError(f"Noise is 'gaussian' or 'uniform'; got kind={self.kind!r}.")

    @property
    def label(self) -> str:
        return f"{self.kind} noise {self.scale:g}"

    def after(self, part: Part, state: State, step: int) -> None:
        for k in range(len(part.streams)):
            generator = part.generator(k, "noise", step)
            for row in part.padded:
                e = row.new_empty(row.shape[1])
                if self.kind == "gaussian":
                    e.normal_(generator=generator)
                else:
                    e.uniform_(-1, 1, generator=generator)
                row[k].add_(e, alpha=self.scale)
