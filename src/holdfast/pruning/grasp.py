"""GraSP: how much gradient flow would be lost with a weight.

Shapes: K nets, B examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from holdfast.errors import UsageError, counted, number
from holdfast.pruning.base import InRounds
from holdfast.pruning.masks import Masks
from holdfast.pruning.snip import drawn
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


@dataclass(frozen=True)
class GraSP(InRounds):
    """w (H g), with g the gradient and H the Hessian of the mean cross-entropy of logits / `temperature`: to first
    order half of what |g|^2 loses when w is set to zero. What is kept is where that is largest.

    Wang, Zhang & Grosse 2020 (arXiv 2002.07376), equation 8 with its sign turned (there the largest go), and its
    temperature of 200. H g by a second pass backwards through each net as PyTorch builds it, since K nets at once have
    no second derivative.
    """

    examples: int = 100
    temperature: float = 200.0

    def __post_init__(self) -> None:
        super().__post_init__()
        counted("GraSP", examples=self.examples)
        number("GraSP's temperature", self.temperature)
        if not 0 < self.temperature < float("inf"):
            raise UsageError(f"GraSP needs a temperature above 0; got {self.temperature}.")

    @property
    def label(self) -> str:
        return "GraSP"

    def score(self, nets: Nets, data: Data, streams: Sequence[Streams], masks: Masks) -> Mapping[str, Tensor]:
        x_KB, y_KB = drawn(data, streams, self.examples)
        each = [self._one(nets, k, x_KB[k], y_KB[k], list(masks)) for k in range(nets.k)]
        return {name: torch.stack([found[name] for found in each]) for name in masks}

    def _one(self, nets: Nets, k: int, x_B: Tensor, y_B: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        params = {name: value[k].detach().clone() for name, value in nets.params.items()}
        weights = [params[name].requires_grad_() for name in names]
        call = getattr(nets.host, "call", functional_call)
        logits = call(nets.like, {**params, **{n: b[k] for n, b in nets.buffers.items()}}, (x_B.to(nets.device),))
        loss = F.cross_entropy((logits / self.temperature).flatten(0, -2), y_B.to(nets.device).flatten())
        grads = torch.autograd.grad(loss, weights, create_graph=True)
        flow = sum((g * g.detach()).sum() for g in grads)  # its gradient is H g
        bent = torch.autograd.grad(flow, weights)  # type: ignore[arg-type]
        return {n: (w * h).detach() for n, w, h in zip(names, weights, bent, strict=True)}
