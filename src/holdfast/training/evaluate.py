"""How well nets do on examples.

Shapes: K nets, N examples, C classes.
"""

import torch
from torch import Tensor

from holdfast.tasks.base import Split
from holdfast.training.loss import cross_entropy
from holdfast.training.nets import Nets


@torch.no_grad()
def evaluate(nets: Nets, split: Split) -> tuple[Tensor, Tensor]:
    """(mean cross-entropy in nats, accuracy) of each net, over every position of sequences; in float64 on the CPU."""
    size = nets.portion(split.x)
    loss_K, accuracy_K = (torch.zeros(nets.k, dtype=torch.float64) for _ in range(2))
    for x_N, y_N in zip(torch.split(split.x, size), torch.split(split.y, size), strict=True):
        logits_KNC, y_KN = nets.logits(x_N).float(), nets.shared(y_N)
        share = len(y_N) / len(split)
        loss_K += cross_entropy(logits_KNC, y_KN).double().cpu() * share
        accuracy_K += (logits_KNC.argmax(-1) == y_KN).flatten(1).double().mean(1).cpu() * share
    return loss_K, accuracy_K


def of_finite(nets: Nets, value_K: Tensor) -> Tensor:
    """A measure of each net, NaN where a weight of it is not finite."""
    return torch.where(nets.finite().to(value_K.device), value_K.double(), torch.nan)
