"""Weight decay."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class WeightDecay:
    """Decoupled weight decay: w <- (1 - lr rate) w before every step, on every parameter, biases too.

    After T steps a weight without gradient has shrunk by (1 - lr rate)^T. The same for all optimisers: AdamW with Adam
    (Loshchilov & Hutter 2019, arXiv 1711.05101), plain L2 with SGD without momentum; with momentum it is *not*
    `torch.optim.SGD(weight_decay=)`, where the decay passes through the momentum.
    """

    rate: float
    """Per unit of learning rate."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate < float("inf"):
            raise UsageError(f"WeightDecay needs a rate of 0 or more; got {self.rate}.")

    @property
    def label(self) -> str:
        return f"weight decay {self.rate:g}"

    def shrink(self, params: Sequence[Tensor], lr: float) -> None:
        """One step of decay, in place."""
        torch._foreach_mul_(list(params), 1 - lr * self.rate)
