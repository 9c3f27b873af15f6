"""Weight decay."""

from dataclasses import dataclass

import torch

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Part, State, Term


@dataclass(frozen=True, kw_only=True)
class WeightDecay(Term):
    """Decoupled weight decay: w <- (1 - lr rate) w before every step, on every trained parameter, biases too.

    After T steps a weight without gradient has shrunk by (1 - lr rate)^T. The same for all optimisers: AdamW with Adam
    (Loshchilov & Hutter 2019, arXiv 1711.05101), plain L2 with SGD without momentum; with momentum it is *not*
    `torch.optim.SGD(weight_decay=)`, where the decay passes through the momentum.
    """

    rate: float
    """Per unit of learning rate."""

    def __post_init__(self) -> None:
        number("WeightDecay's rate", self.rate)
        if not 0 <= self.rate < float("inf"):
            raise UsageError(f"WeightDecay needs a rate of 0 or more; got {self.rate}.")

    @property
    def label(self) -> str:
        return f"weight decay {self.rate:g}"

    def before(self, part: Part, state: State, step: int) -> None:
        torch._foreach_mul_(part.padded, 1 - part.lr * self.rate)
