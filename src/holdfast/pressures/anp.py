"""ANP: units that make a net fail when they are perturbed are pruned.

Shapes: K nets, U units of a layer, B examples.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from holdfast.errors import UsageError, number, whole
from holdfast.pressures.base import Checkpoint
from holdfast.pressures.stepped import Stepped
from holdfast.pruning.units import removable
from holdfast.training.gradients import gradients
from holdfast.training.nets import Nets
from holdfast.training.site import Site

Scales = dict[str, tuple[Tensor, Tensor]]
"""By layer: what is said of each unit's weights and of its bias, KU both."""


@dataclass(frozen=True, kw_only=True)
class ANP:
    """Adversarial neuron pruning: a mask in [0, 1] on what each hidden unit reads is trained to bear
    perturbations of all units, and units whose mask falls below a threshold are pruned.

        min_m  alpha L(m w, b) + (1 - alpha) max_{d, x in [-eps, eps]} L((m + d) w, (1 + x) b)

    with m, d, x one number a unit (of a convolution, a channel), w the weights it reads, b its bias, L the mean
    cross-entropy of a batch of clean training examples. Inner maximum: from a uniform start, `ascents` steps of
    eps / ascents by the sign of the gradient, kept in [-eps, eps]. Outer: SGD with momentum, m back into [0, 1].
    Weights are not trained. A pruned unit keeps its bias, so it gives a constant.

    A look is at the net as it would be pruned then, and the dose is counted in steps of the masks. Randomness:
    batches from `Fit`'s streams, starts of the perturbations from each net's own stream `<phase>/anp`.

    Wu & Wang 2021, Adversarial Neuron Pruning Purifies Backdoored Deep Models, arXiv 2110.14430, and its
    settings, as its code has them, but for the threshold, which it tries from .05 to .9 and leaves to whoever looks
    at the outcome. Its code masks batch norm's weights, of which the hosts here have none, takes 500 images, and
    leaves the perturbations where the last step puts them, up to 2 eps away.

    When it misleads: a net with few units to spare is pruned to pieces; look at clean accuracy. A unit that stays
    silent on clean data however it is perturbed has a gradient of zero, and keeps its mask of 1.
    """

    eps: float = 0.4
    alpha: float = 0.2
    threshold: float = 0.2
    lr: float = 0.2
    """Of the masks."""
    momentum: float = 0.9
    ascents: int = 1
    steps: int = 2000
    batch: int = 128

    def __post_init__(self) -> None:
        for field in ("ascents", "steps", "batch"):
            whole(f"ANP's {field}", getattr(self, field))
        for field in ("eps", "alpha", "threshold", "lr", "momentum"):
            number(f"ANP's {field}", getattr(self, field))
        if min(self.ascents, self.steps, self.batch) < 1:
            raise UsageError(
                f"ANP needs 1 or more of ascents, steps and examples a step; got ascents={self.ascents}, "
                f"steps={self.steps}, batch={self.batch}."
            )
        if not (0 <= self.alpha <= 1 and 0 <= self.threshold <= 1 and 0 <= self.momentum < 1):
            raise UsageError(
                f"ANP needs alpha and threshold between 0 and 1, and a momentum below 1; got alpha={self.alpha}, "
                f"threshold={self.threshold}, momentum={self.momentum}."
            )
        if not (0 <= self.eps < float("inf") and 0 < self.lr < float("inf")):
            raise UsageError(f"ANP needs eps of 0 or more and lr above 0; got eps={self.eps}, lr={self.lr}.")

    @property
    def name(self) -> str:
        return "ANP"

    @property
    def label(self) -> str:
        return f"ANP eps {self.eps:g} alpha {self.alpha:g} threshold {self.threshold:g} lr {self.lr:.3g}"

    def batch_key(self) -> Hashable:
        """All nets of a batch have the same settings."""
        return self

    @classmethod
    def press(cls, each: Sequence[Self], site: Site, nets: Nets, looks: Sequence[int]) -> Iterator[Checkpoint]:
        """Train masks, and prune nets[k] in place as they stand at every step of `looks` (ascending)."""
        return Masking(each[0], site, nets).press(looks)


class Masking(Stepped):
    """Nets, and the masks of their units."""

    def __init__(self, asked: ANP, site: Site, nets: Nets) -> None:
        super().__init__(site, nets, asked.batch)
        self.asked, self.whole, self.scaled = asked, nets.copy(), nets.copy()
        layers = [at.layer for at in removable(nets.host)]
        self.masks = {layer: torch.ones_like(nets.params[f"{layer}.bias"]) for layer in layers}
        self.moving = {layer: torch.zeros_like(mask) for layer, mask in self.masks.items()}

    @property
    def state(self) -> Mapping[str, Tensor]:
        return {
            **{f"whole/{name}": row for name, row in self.whole.rows.items()},
            **{f"masks/{layer}": mask for layer, mask in self.masks.items()},
            **{f"moving/{layer}": v for layer, v in self.moving.items()},
        }

    def show(self) -> None:
        for name, row in self.nets.rows.items():
            row.copy_(self.whole.rows[name])
        for layer, mask_KU in self.masks.items():
            w_KU = self.nets.params[f"{layer}.weight"]
            w_KU.masked_fill_(_over(mask_KU < self.asked.threshold, w_KU), 0)

    def step(self, now: int) -> None:
        asked, (x_KB, y_KB) = self.asked, self.draws.at(now)
        worst = self.slopes(x_KB, y_KB, self.worst(x_KB, y_KB, self.starts(now)))
        plain = self.slopes(
            x_KB, y_KB, {at: (torch.zeros_like(m), torch.zeros_like(m)) for at, m in self.masks.items()}
        )
        for layer, mask_KU in self.masks.items():
            slope_KU = asked.alpha * plain[layer][0] + (1 - asked.alpha) * worst[layer][0]
            moving_KU = self.moving[layer].mul_(asked.momentum).add_(slope_KU)
            mask_KU.sub_(asked.lr * moving_KU).clamp_(0, 1)

    def starts(self, now: int) -> Scales:
        """Where perturbations start at this step: uniform in [-eps, eps]."""
        found: Scales = {layer: (torch.empty_like(m), torch.empty_like(m)) for layer, m in self.masks.items()}
        for k, streams in enumerate(self.site.streams):
            seed = streams.torch_seed(f"{self.site.phase}/anp", now)
            generator = torch.Generator(self.nets.device).manual_seed(seed)
            for pair in found.values():
                for noise_KU in pair:
                    noise_KU[k].uniform_(-self.asked.eps, self.asked.eps, generator=generator)
        return found

    def worst(self, x_KB: Tensor, y_KB: Tensor, noise: Scales) -> Scales:
        """The perturbations after steps uphill from these."""
        eps, ascents = self.asked.eps, self.asked.ascents
        for _ in range(ascents):
            slopes = self.slopes(x_KB, y_KB, noise)
            climbed = {
                layer: [n + eps / ascents * s.sign() for n, s in zip(pair, slopes[layer], strict=True)]
                for layer, pair in noise.items()
            }
            noise = {layer: (d.clamp(-eps, eps), x.clamp(-eps, eps)) for layer, (d, x) in climbed.items()}
        return noise

    def slopes(self, x_KB: Tensor, y_KB: Tensor, noise: Scales) -> Scales:
        """Gradients of each net's loss by the factors of its units' weights and biases, m + d and 1 + x."""
        whole, scaled = self.whole.params, self.scaled.params
        for layer, (d_KU, x_KU) in noise.items():
            w, b = whole[f"{layer}.weight"], whole[f"{layer}.bias"]
            scaled[f"{layer}.weight"].copy_(w * _over(self.masks[layer] + d_KU, w))
            scaled[f"{layer}.bias"].copy_(b * (1 + x_KU))
        found = gradients(self.scaled, x_KB, y_KB)
        product = {name: found[name] * whole[name] for name in found}
        return {at: (product[f"{at}.weight"].flatten(2).sum(2), product[f"{at}.bias"]) for at in noise}


def _over(scale_KU: Tensor, w_KU: Tensor) -> Tensor:
    """One number a unit, for all the weights that it reads."""
    return scale_KU.view(*scale_KU.shape, *[1] * (w_KU.dim() - 2))
