"""Sharpness-aware minimisation.

Shapes: K nets.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Compute, Gradients, Term
from holdfast.training.nets import Nets


@dataclass(frozen=True, kw_only=True)
class SAM(Term):
    """The gradient is taken a step uphill: at w + rho g / |g|, g the gradient at w, |g| its norm over the whole
    net.

    `adaptive`: at w + rho w^2 g / |w g|, products by entries, so that a weight is moved in proportion to its size.

    Foret et al. 2021, Sharpness-Aware Minimization, arXiv 2010.01412; adaptive: ASAM, Kwon et al. 2021, arXiv
    2102.11600 (w^2 without their .01 beside |w|). As a defence FT-SAM, Zhu et al. 2023, arXiv 2304.11823, which
    is adaptive; with BackdoorBench's settings for CIFAR-10 (GTSRB: rho 8, no smoothing), but for their cosine
    schedule:

        Fit(SGD(lr=0.01, momentum=0.9), SAM(rho=2.0, adaptive=True), LabelSmoothing(rate=0.1),
            WeightDecay(rate=5e-3), steps=1000, batch=256)

    It costs two gradients a step, and the dose counts them as one. When it misleads: rho is a distance in
    weight space, so one that suits a net is large for a smaller one. Adaptive, a weight of zero is never moved
    uphill.
    """

    alike: ClassVar[bool] = True

    rho: float = 0.05
    adaptive: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.adaptive, bool):
            raise UsageError(f"SAM is adaptive or not: True or False; got adaptive={self.adaptive!r}.")
        number("SAM's rho", self.rho)
        if not 0 < self.rho < float("inf"):
            raise UsageError(f"SAM needs rho above 0; got {self.rho}.")

    @property
    def label(self) -> str:
        return f"{'adaptive ' if self.adaptive else ''}SAM rho {self.rho:g}"

    def around(self, nets: Nets, compute: Compute) -> Gradients:
        up = compute()
        if self.adaptive:
            up = {name: g * nets.params[name].abs() for name, g in up.items()}
        square_K = torch.stack([g.flatten(1).square().sum(1) for g in up.values()]).sum(0)
        scale_K = self.rho / square_K.sqrt().clamp(min=1e-12)
        before = {name: nets.rows[name].clone() for name in up}
        for name, g in up.items():
            g = g * nets.params[name].abs() if self.adaptive else g
            nets.params[name].add_(g * scale_K.view(-1, *[1] * (g.dim() - 1)))
        uphill = compute()
        for name, row in before.items():
            nets.rows[name].copy_(row)
        return uphill
