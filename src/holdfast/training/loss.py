"""Cross-entropy and Kullback-Leibler divergence of K networks, each as one autograd node.

Shapes: K networks, B examples, C classes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from holdfast.training.lanes import LANES


def _log_p(logits_KBC: Tensor) -> Tensor:
    """log softmax, classes first: PyTorch's over a short last axis takes one row at a time, 20 times slower than over
    a leading one."""
    logits_CKB = logits_KBC.permute(2, 0, 1)
    # Padded like parameters, and for the same reason: the softmax has other code for what fills no vector register.
    spare = -logits_CKB.shape[2] % LANES
    log_p_CKB = torch.log_softmax(F.pad(logits_CKB, (0, spare)) if spare else logits_CKB.contiguous(), 0)
    return log_p_CKB[:, :, : logits_KBC.shape[1]] if spare else log_p_CKB


def _gradient(log_p_CKB: Tensor, y_KB: Tensor, scale: Tensor | float) -> Tensor:
    d_CKB = log_p_CKB.exp()
    d_CKB.scatter_add_(0, y_KB[None], d_CKB.new_full((1, 1, 1), -1.0).expand(1, *y_KB.shape))
    return d_CKB.mul_(scale).permute(1, 2, 0).contiguous()


class _FewClasses(torch.autograd.Function):
    # One node in place of four: at these sizes the bookkeeping of autograd costs as much as the arithmetic.

    @staticmethod
    def forward(ctx: Any, logits_KBC: Tensor, y_KB: Tensor) -> Tensor:
        log_p_CKB = _log_p(logits_KBC)
        ctx.save_for_backward(log_p_CKB, y_KB)
        return -log_p_CKB.gather(0, y_KB[None])[0].mean(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_K: Tensor) -> tuple[Tensor, None]:
        log_p_CKB, y_KB = ctx.saved_tensors
        return _gradient(log_p_CKB, y_KB, (grad_K / y_KB.shape[1])[:, None]), None


class _ManyClasses(torch.autograd.Function):
    # A row that fills a vector register is what PyTorch's softmax is made for, and rows don't touch each other.

    @staticmethod
    def forward(ctx: Any, logits_KBC: Tensor, y_KB: Tensor) -> Tensor:
        log_p_KBC = torch.log_softmax(logits_KBC, -1)
        ctx.save_for_backward(log_p_KBC, y_KB)
        return -log_p_KBC.gather(-1, y_KB[..., None])[..., 0].mean(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_K: Tensor) -> tuple[Tensor, None]:
        log_p_KBC, y_KB = ctx.saved_tensors
        each_K11 = (grad_K / -y_KB.shape[1])[:, None, None]
        grad_KBC = torch.zeros_like(log_p_KBC).scatter_(-1, y_KB[..., None], each_K11.expand(*y_KB.shape, 1))
        return torch.ops.aten._log_softmax_backward_data(grad_KBC, log_p_KBC, -1, log_p_KBC.dtype), None


def cross_entropy(logits_KBC: Tensor, y_KB: Tensor) -> Tensor:
    """Mean cross-entropy of each net, in nats: -1/B sum_b log softmax(logits_kb)[y_kb].

    Args:
        logits_KBC: logits, one block a net; (K, B, T, C) for sequences, whose positions are examples like any others.
        y_KB: class indices (int64); (K, B, T) for sequences.

    Returns:
        loss_K. Nets don't touch each other: the gradient of one entry is zero in every other net.
    """
    if logits_KBC.dim() == 4:
        logits_KBC, y_KB = logits_KBC.flatten(1, 2), y_KB.flatten(1)
    node = _FewClasses if logits_KBC.shape[-1] < LANES else _ManyClasses
    loss: Tensor = node.apply(logits_KBC, y_KB)  # type: ignore[no-untyped-call]
    return loss


def cross_entropy_gradient(logits_KBC: Tensor, y_KB: Tensor) -> Tensor:
    """Gradient of each net's `cross_entropy` by its logits, to the bit: (softmax - one at y) / B, in their shape."""
    if logits_KBC.shape[-1] < LANES:
        return _gradient(_log_p(logits_KBC), y_KB, 1 / y_KB.shape[1])
    with torch.enable_grad():
        logits_KBC = logits_KBC.detach().requires_grad_()
        loss_K = cross_entropy(logits_KBC, y_KB)
    (grad_KBC,) = torch.autograd.grad(loss_K, logits_KBC, torch.ones_like(loss_K))
    return grad_KBC


class _Divergence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_KBC: Tensor, teacher_KBC: Tensor, temperature: float) -> Tensor:
        log_q_KBC, log_p_KBC = (_log_softmax(z_KBC / temperature) for z_KBC in (logits_KBC, teacher_KBC))
        p_KBC = log_p_KBC.exp()
        ctx.save_for_backward(log_q_KBC, p_KBC)
        ctx.temperature = temperature
        return (p_KBC * (log_p_KBC - log_q_KBC)).sum(-1).mean(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_K: Tensor) -> tuple[Tensor, None, None]:
        log_q_KBC, p_KBC = ctx.saved_tensors
        each_K11 = (grad_K / (ctx.temperature * p_KBC.shape[1]))[:, None, None]
        return ((log_q_KBC.exp() - p_KBC) * each_K11).contiguous(), None, None


def _log_softmax(logits_KBC: Tensor) -> Tensor:
    few = logits_KBC.shape[-1] < LANES
    return _log_p(logits_KBC).permute(1, 2, 0) if few else torch.log_softmax(logits_KBC, -1)


def divergence(logits_KBC: Tensor, teacher_KBC: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean Kullback-Leibler divergence of each net from its teacher, in nats.

    1/B sum_b KL(softmax(teacher_kb / T) || softmax(logits_kb / T)), as `torch.nn.functional.kl_div` with
    `reduction="batchmean"`.

    Args:
        logits_KBC: logits, one block a net; (K, B, T, C) for sequences, whose positions are examples like any others.
        teacher_KBC: logits of the same shape, of which no gradient is taken.
        temperature: T, by which both are divided.

    Returns:
        divergence_K. Nets don't touch each other.
    """
    if logits_KBC.dim() == 4:
        logits_KBC, teacher_KBC = logits_KBC.flatten(1, 2), teacher_KBC.flatten(1, 2)
    found: Tensor = _Divergence.apply(logits_KBC, teacher_KBC, temperature)  # type: ignore[no-untyped-call]
    return found
