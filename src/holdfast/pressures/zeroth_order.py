"""Descent by forward runs alone.

Shapes: K nets.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import UsageError, counted, number
from holdfast.pressures.terms import Compute, Gradients, Term
from holdfast.training.nets import Nets


@dataclass(frozen=True, kw_only=True)
class ZerothOrder(Term):
    """The gradient is estimated from losses: no derivative is taken.

    g = 1/P sum_p (L(w + r u_p) - L(w - r u_p)) / 2r u_p, u_p standard normal over the weights whose names match `at`;
    all other weights stand still. The batch is the same for all 2 P runs. After Spall 1992, "Multivariate stochastic
    approximation using a simultaneous perturbation gradient approximation".

    When it misleads: its error grows with the number of weights that are moved at once, so `at` is knowledge of where
    to look. The dose counts steps, each of 2 P forward runs.
    """

    alike: ClassVar[bool] = True

    at: str = "*"
    """Pattern of parameter names."""
    pairs: int = 8
    radius: float = 0.02

    def __post_init__(self) -> None:
        counted("ZerothOrder", pairs=self.pairs)
        number("ZerothOrder's radius", self.radius)
        if not 0 < self.radius < float("inf"):
            raise UsageError(f"ZerothOrder needs a radius above 0; got {self.radius}.")

    @property
    def label(self) -> str:
        return f"zeroth order, {self.pairs} pairs, radius {self.radius:g}" + ("" if self.at == "*" else f", {self.at}")

    def trains(self, nets: Nets, names: Sequence[str]) -> Sequence[str]:
        found = [name for name in names if fnmatch(name, self.at)]
        if not found:
            raise UsageError(f"ZerothOrder moves {self.at!r}, and no trained weight is called so: {', '.join(names)}.")
        return found

    def around(self, nets: Nets, compute: Compute) -> Gradients:
        moved = {name: p for name, p in nets.params.items() if fnmatch(name, self.at) and name not in nets.frozen}
        drawn = [torch.Generator(nets.device).manual_seed(seed) for seed in compute.seeds(type(self).__name__)]
        found = estimate(moved, compute.loss, drawn, self.pairs, self.radius)
        return {name: found.get(name, torch.zeros_like(p)) for name, p in nets.params.items()}


@torch.no_grad()
def estimate(
    weights: Mapping[str, Tensor],
    loss: Callable[[], Tensor],
    generators: Sequence[torch.Generator],
    pairs: int,
    radius: float,
) -> dict[str, Tensor]:
    """The estimate of `ZerothOrder`, of K nets at once.

    Args:
        weights: (K, ...) each, moved in place and put back.
        loss: loss_K at the weights as they are.
        generators: one a net.
    """
    before = {name: w.clone() for name, w in weights.items()}
    found = {name: torch.zeros_like(w) for name, w in weights.items()}
    for _ in range(pairs):
        way = {name: torch.stack([_normal(w[k], g) for k, g in enumerate(generators)]) for name, w in weights.items()}
        losses = []
        for sign in (1, -1):
            for name, w in weights.items():
                w.copy_(before[name] + sign * radius * way[name])
            losses.append(loss())
        slope_K = (losses[0] - losses[1]) / (2 * radius * pairs)
        for name, u in way.items():
            found[name] += u * slope_K.to(u).view(-1, *[1] * (u.dim() - 1))
    for name, w in weights.items():
        w.copy_(before[name])
    return found


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)
