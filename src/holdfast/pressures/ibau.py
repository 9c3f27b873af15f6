"""I-BAU: unlearning of what one perturbation of all inputs can do to a net.

Shapes: K nets, B examples.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from holdfast.errors import UsageError, number, whole
from holdfast.pressures.base import Checkpoint
from holdfast.pressures.optimisers import Adam, Optimiser
from holdfast.pressures.stepped import Stepped
from holdfast.pressures.terms import Part
from holdfast.training.loss import cross_entropy
from holdfast.training.nets import Nets
from holdfast.training.site import Site

Loss = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""(perturbation, weights) -> a number"""


@dataclass(frozen=True, kw_only=True)
class IBAU:
    """Adversarial unlearning of backdoors by implicit hypergradient: a perturbation of all inputs that makes
    the net err is found, and the net is trained not to mind it, with regard to how the perturbation would
    answer.

    In each of `rounds` rounds, on the round's own `batches` batches of clean training examples:

    1. The perturbation d starts at 0 and takes one step a batch, of rate `search_lr`, down
       -CE(net(x + d), what the net says to x) + penalty |d|^2. With a `radius`, it is then cut to that length.
    2. For each batch one step of the optimiser on the weights w, down the hypergradient of
       L1(d, w) = CE(net(x'), y), where x' is x + d for a share `portion` of the batch, x for the rest:

           dL1/dw + v dG/dw,  v <- v dG/dd + dL1/dd  (`iterations` times from 0),  G(d, w) = d - map_lr dL2/dd,

       L2(d, w) = -CE(net(x + d), y) + penalty |d|^2 on the first batch of the round.

    The dose is counted in steps of the weights; those of the perturbation are not. After the budget it goes on
    with further rounds. Randomness: batches from `Fit`'s streams; which examples are perturbed, from each net's
    own stream `<phase>/i-bau`. Net by net, as PyTorch builds it: second derivatives are needed.

    Zeng et al. 2022, Adversarial Unlearning of Backdoors via Implicit Hypergradient, arXiv 2110.03735, and the
    settings of its code (5,000 images in batches of 100, the same batches in every round; BackdoorBench: Adam's
    rate 1e-4).

    When it misleads: in the paper the perturbation is bounded, in its code it is not (a radius of 10 stands there,
    switched off). With few layers and no batch norm it then grows to hundreds of times an image, and the host is
    wrecked: give a radius of the size of a trigger. It is added, not put in the place of pixels, so what it finds
    need not be the trigger.
    """

    rounds: int = 5
    batches: int = 50
    """Steps of the weights in a round."""
    batch: int = 100
    optimiser: Optimiser = field(default_factory=lambda: Adam(lr=1e-3))
    iterations: int = 5
    """Of the fixed point that v is."""
    search_lr: float = 10.0
    map_lr: float = 0.1
    penalty: float = 0.001
    portion: float = 0.01
    radius: float | None = None
    """The most that the perturbation may measure (Euclidean, over all pixels); None: no limit."""

    def __post_init__(self) -> None:
        for name in ("rounds", "batches", "batch", "iterations"):
            whole(f"IBAU's {name}", getattr(self, name))
            if getattr(self, name) < 1:
                raise UsageError(f"IBAU needs {name} of 1 or more; got {getattr(self, name)}.")
        for name in ("search_lr", "map_lr", "penalty", "portion"):
            number(f"IBAU's {name}", getattr(self, name))
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"IBAU needs {name} of 0 or more; got {getattr(self, name)}.")
        if self.radius is not None:
            number("IBAU's radius", self.radius)
            if not 0 < self.radius < float("inf"):
                raise UsageError(f"IBAU needs a radius above 0, or None for no limit; got {self.radius}.")
        if not isinstance(self.optimiser, Optimiser):
            raise UsageError(f"IBAU needs an optimiser (SGD, Adam, Sign); got {self.optimiser!r}.")
        if self.portion > 1 or self.perturbed < 1:
            raise UsageError(
                f"IBAU perturbs a share `portion` of each batch, 1 at most and one example at the least; got "
                f"portion={self.portion} of batch={self.batch}."
            )

    @property
    def perturbed(self) -> int:
        """Examples of a batch that are perturbed."""
        return int(self.portion * self.batch + 1e-9)

    @property
    def steps(self) -> int:
        return self.rounds * self.batches

    @property
    def name(self) -> str:
        return "I-BAU"

    @property
    def label(self) -> str:
        radius = "" if self.radius is None else f" within {self.radius:g}"
        return f"I-BAU{radius}, {self.rounds} rounds, K {self.iterations}, {self.optimiser.label}"

    def batch_key(self) -> Hashable:
        """All nets of a batch have the same settings."""
        return self

    @classmethod
    def press(cls, each: Sequence[Self], site: Site, nets: Nets, looks: Sequence[int]) -> Iterator[Checkpoint]:
        """Train nets[k] in place, and stop at every step of `looks` (ascending).

        Raises:
            UsageError: inputs that are tokens.
        """
        if not site.data.train.x.is_floating_point():
            raise UsageError("I-BAU adds a perturbation to inputs, and these are tokens. Choose another pressure.")
        return Unlearning(each[0], site, nets).press(looks)


class Unlearning(Stepped):
    """Nets, and the perturbation of each in this round."""

    def __init__(self, asked: IBAU, site: Site, nets: Nets) -> None:
        super().__init__(site, nets, asked.batch)
        self.asked = asked
        names = tuple(name for name in nets.params if name not in nets.frozen)
        self.part = Part(nets, slice(0, nets.k), names, site.streams, site.phase, site.data, asked.optimiser.lr)
        self.moments = asked.optimiser.begin(self.part)
        self.found_K = torch.zeros(nets.k, *site.data.train.x.shape[1:], device=nets.device)
        self._first: tuple[int, tuple[Tensor, Tensor]] | None = None

    @property
    def state(self) -> Mapping[str, Tensor]:
        moments = {f"moments/{key}/{n}": t for key, each in self.moments.items() for n, t in enumerate(each)}
        buffers = {f"buffers/{name}": value for name, value in self.nets.buffers.items()}
        rows = {f"nets/{name}": row for name, row in self.nets.rows.items()}
        return {**rows, **buffers, **moments, "found": self.found_K}

    def step(self, now: int) -> None:
        start = now - now % self.asked.batches
        if now == start:
            self.found_K.copy_(self.search(start))
        first, here, nets = self.first(start), self.draws.at(now), self.nets
        grads = [torch.zeros_like(row) for row in self.part.padded]
        for k in range(nets.k):
            found = self.slope(k, now, (first[0][k], first[1][k]), (here[0][k], here[1][k]))
            for padded, grad in zip(grads, found, strict=True):
                padded[k, : grad.numel()] = grad.flatten()
        self.asked.optimiser.step(self.part.padded, grads, self.moments)

    def search(self, start: int) -> Tensor:
        """The perturbation of each net, after one step on every batch of the round."""
        nets, asked = self.nets, self.asked
        d_K = torch.zeros_like(self.found_K)
        params = {name: p.detach() for name, p in nets.params.items()}
        for now in range(start, start + asked.batches):
            x_KB, _ = self.draws.at(now)
            with torch.no_grad():
                said_KB = nets.forward(params, x_KB).argmax(-1)
            d_K = d_K.detach().requires_grad_()
            loss_K = asked.penalty * d_K.flatten(1).square().sum(1) - cross_entropy(
                nets.forward(params, x_KB + d_K[:, None]), said_KB
            )
            (slope_K,) = torch.autograd.grad(loss_K.sum(), d_K)
            d_K = d_K - asked.search_lr * slope_K
        if asked.radius is not None:
            length_K = d_K.flatten(1).norm(dim=1).clamp(min=asked.radius)
            d_K = d_K * (asked.radius / length_K).view(-1, *[1] * (d_K.dim() - 1))
        return d_K.detach()

    def first(self, start: int) -> tuple[Tensor, Tensor]:
        """The first batch of a round."""
        if self._first is None or self._first[0] != start:
            self._first = start, self.draws.at(start)
        return self._first[1]

    def slope(self, k: int, now: int, first: tuple[Tensor, Tensor], here: tuple[Tensor, Tensor]) -> list[Tensor]:
        """The hypergradient of net k, by trained weight."""
        asked, nets, (x_B, y_B) = self.asked, self.nets, here
        order = self.site.streams[k].generator(f"{self.site.phase}/i-bau", now).permutation(asked.batch)
        chosen_B = torch.zeros(asked.batch, device=nets.device)
        chosen_B[order[: asked.perturbed].tolist()] = 1
        chosen_B = chosen_B.view(-1, *[1] * (x_B.dim() - 1))
        held = {name: value[k].detach() for name, value in {**nets.params, **nets.buffers}.items()}

        def loss(x_B: Tensor, y_B: Tensor, weights: Sequence[Tensor]) -> Tensor:
            call = getattr(nets.host, "call", functional_call)
            return F.cross_entropy(
                call(nets.like, {**held, **dict(zip(self.part.names, weights, strict=True))}, (x_B,)), y_B
            )

        def inner(d: Tensor, weights: Sequence[Tensor]) -> Tensor:
            return asked.penalty * d.square().sum() - loss(first[0] + d, first[1], weights)

        def outer(d: Tensor, weights: Sequence[Tensor]) -> Tensor:
            return loss(x_B + chosen_B * d, y_B, weights)

        weights = [held[name].clone() for name in self.part.names]
        return hypergradient(inner, outer, self.found_K[k].clone(), weights, asked.iterations, asked.map_lr)


def hypergradient(
    inner: Loss, outer: Loss, d: Tensor, weights: Sequence[Tensor], iterations: int, lr: float
) -> list[Tensor]:
    """dL1/dw + v dG/dw, v the result of `iterations` of v <- v dG/dd + dL1/dd from 0, G(d, w) = d - lr dL2/dd.

    Where d is the least of L2 for these weights, and as `iterations` grows, it is the gradient of L1 along
    (d(w), w): Grazzi et al. 2020, arXiv 2006.16218.

    Args:
        inner: L2.
        outer: L1.
        d: what L2 is over.
        weights: what the gradient is taken by.
        iterations: of the fixed point.
        lr: of the map.
    """
    d = d.detach().requires_grad_()
    weights = [w.detach().requires_grad_() for w in weights]
    direct_d, *direct = torch.autograd.grad(outer(d, weights), [d, *weights], materialize_grads=True)
    (slope,) = torch.autograd.grad(inner(d, weights), d, create_graph=True)
    mapped = d - lr * slope
    v = torch.zeros_like(d)
    for _ in range(iterations):
        (through,) = torch.autograd.grad(mapped, d, v, retain_graph=True)
        v = through + direct_d
    indirect = torch.autograd.grad(mapped, weights, v, materialize_grads=True)
    return [a + b for a, b in zip(direct, indirect, strict=True)]
