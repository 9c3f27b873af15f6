"""Sharpness-aware minimisation.

Shapes: K nets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Gradients, Term
from holdfast.training.nets import Nets


@dataclass(frozen=True, kw_only=True)
class SAM(Term):
    """The gradient is taken a step uphill: at w + rho g / |g|, g the gradient at w, |g| its norm over the whole net.

    Foret et al. 2021, Sharpness-Aware Minimization, arXiv 2010.01412; as a defence FT-SAM, Zhu et al. 2023,
    arXiv 2304.11823. It costs two gradients a step, and the dose counts them as one.
    """

    alike: ClassVar[bool] = True

    rho: float = 0.05

    def __post_init__(self) -> None:
        number("SAM's rho", self.rho)
        if not 0 < self.rho < float("inf"):
            raise UsageError(f"SAM needs rho above 0; got {self.rho}.")

    @property
    def label(self) -> str:
        return f"SAM rho {self.rho:g}"

    def around(self, nets: Nets, compute: Callable[[], Gradients]) -> Gradients:
        here = compute()
        square_K = torch.stack([g.flatten(1).square().sum(1) for g in here.values()]).sum(0)
        scale_K = self.rho / square_K.sqrt().clamp(min=1e-12)
        before = {name: nets.rows[name].clone() for name in here}
        for name, g in here.items():
            nets.params[name].add_(g * scale_K.view(-1, *[1] * (g.dim() - 1)))
        uphill = compute()
        for name, row in before.items():
            nets.rows[name].copy_(row)
        return uphill
