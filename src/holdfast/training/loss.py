"""Cross-entropy of K networks as one autograd node.

Shapes: K networks, B examples, C classes.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _CrossEntropy(torch.autograd.Function):
    # One node in place of four: at these sizes the bookkeeping of autograd costs as much as the arithmetic.

    @staticmethod
    def forward(ctx: Any, logits_KBC: Tensor, y_KB: Tensor) -> Tensor:
        log_p_KBC = torch.log_softmax(logits_KBC, -1)
        ctx.save_for_backward(log_p_KBC, y_KB)
        return -log_p_KBC.gather(-1, y_KB[..., None]).squeeze(-1).mean(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_K: Tensor) -> tuple[Tensor, None]:
        log_p_KBC, y_KB = ctx.saved_tensors
        d_KBC = log_p_KBC.exp()
        minus_one = d_KBC.new_full((1, 1, 1), -1.0).expand(*y_KB.shape, 1)
        d_KBC.scatter_add_(-1, y_KB[..., None], minus_one)
        return d_KBC.mul_((grad_K / y_KB.shape[1])[:, None, None]), None


def cross_entropy(logits_KBC: Tensor, y_KB: Tensor) -> Tensor:
    """Mean cross-entropy of each net, in nats: -1/B sum_b log softmax(logits_kb)[y_kb].

    Args:
        logits_KBC: logits, one block a net.
        y_KB: class indices (int64).

    Returns:
        loss_K. Nets don't touch each other: the gradient of one entry is zero in every other net.
    """
    loss: Tensor = _CrossEntropy.apply(logits_KBC, y_KB)  # type: ignore[no-untyped-call]
    return loss
