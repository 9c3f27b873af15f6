"""What a transformer's block adds to the residual stream, for K networks: forward, and backward by hand.

Shapes: K networks, S of them that are worked on together, B sequences, T positions, N = B T, W width, O outputs of a
layer, H heads, D width of a head, M = S B H.

Autograd's bookkeeping costs as much as the arithmetic at these sizes, and keeps what isn't needed. Nets are taken a
few at a time, so that what lies between the layers fits a core's cache.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from holdfast.training.lanes import LANES

FLOATS = 1 << 18
"""Floats between two layers that are worked on together: 1 MiB, a core's second cache."""

Back = Callable[[Tensor], tuple[Tensor, ...]]
"""Gradient of what a branch gave -> gradients of what it read and of its weights, in their order."""
Run = Callable[..., tuple[Tensor, Back]]


def branch(run: Run, x_KBTW: Tensor, *weights: Tensor) -> Tensor:
    """`run(x_SBTW, *weights)` for all nets, as one autograd node."""
    added: Tensor = _Branch.apply(run, x_KBTW, *weights)  # type: ignore[no-untyped-call]
    return added


def _together(x_KBTW: Tensor, weights: Sequence[Tensor]) -> int:
    """How many nets are worked on at a time. One, where a net's values would not fill whole lanes (see LANES)."""
    positions, width = x_KBTW[0, ..., 0].numel(), x_KBTW.shape[-1]
    if positions % LANES or width % LANES:
        return 1
    widest = max(w.shape[1] for w in weights)
    return max(1, FLOATS // (positions * widest))


class _Branch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: Run, x_KBTW: Tensor, *weights: Tensor) -> Tensor:
        ctx.size, ctx.backs, given = _together(x_KBTW, weights), [], []
        for x_SBTW, *part in zip(*(_split(t, ctx.size) for t in (x_KBTW, *weights)), strict=True):
            out, back = run(x_SBTW, *part)
            given.append(out)
            if any(ctx.needs_input_grad):
                ctx.backs.append(back)
        return _one(given)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_KBTO: Tensor) -> tuple[Tensor | None, ...]:
        grads = [back(grad) for back, grad in zip(ctx.backs, _split(grad_KBTO, ctx.size), strict=True)]
        return (None, *(_one(parts) for parts in zip(*grads, strict=True)))


def _one(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts))


def _split(x_K: Tensor, size: int) -> list[Tensor]:
    # A net's own copy starts on a cache line, where a place among others might not (see LANES).
    alone = size == 1 and x_K[0].numel() % LANES > 0
    return [part.clone() if alone else part for part in torch.split(x_K, size)]


def _normed(x_SNW: Tensor, w_SW: Tensor, b_SW: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    """Layer norm, each net with its own weights."""
    shape = [x_SNW.shape[-1]]
    each = [torch.native_layer_norm(x, shape, w, b, 1e-5) for x, w, b in zip(x_SNW, w_SW, b_SW, strict=True)]

    def back(grad_SNW: Tensor) -> tuple[Tensor, ...]:
        grads = [
            torch.ops.aten.native_layer_norm_backward(g, x, shape, mean, rstd, w, b, [True, True, True])
            for g, x, (_, mean, rstd), w, b in zip(grad_SNW, x_SNW, each, w_SW, b_SW, strict=True)
        ]
        return tuple(map(_stacked, zip(*grads, strict=True)))

    return _stacked([out for out, _, _ in each]), back


def _stacked(values: Sequence[Tensor]) -> Tensor:
    return values[0][None] if len(values) == 1 else torch.stack(tuple(values))


def _linear(x_SNI: Tensor, w_SOI: Tensor, b_SO: Tensor) -> tuple[Tensor, Back]:
    def back(grad_SNO: Tensor) -> tuple[Tensor, ...]:
        return torch.bmm(grad_SNO, w_SOI), torch.bmm(grad_SNO.mT, x_SNI), grad_SNO.sum(1)

    return torch.baddbmm(b_SO.unsqueeze(1), x_SNI, w_SOI.mT), back


def feed(x_SBTW: Tensor, *weights: Tensor) -> tuple[Tensor, Back]:
    """norm -> linear -> GELU -> linear."""
    norm_w, norm_b, w1_SOW, b1_SO, w2_SWO, b2_SW = weights
    x_SNW, norm_back = _normed(x_SBTW.flatten(1, 2), norm_w, norm_b)
    h_SNO, first_back = _linear(x_SNW, w1_SOW, b1_SO)
    out_SNW, second_back = _linear(F.gelu(h_SNO), w2_SWO, b2_SW)

    def back(grad_SBTW: Tensor) -> tuple[Tensor, ...]:
        grad, *second = second_back(grad_SBTW.flatten(1, 2))
        grad, *first = first_back(torch.ops.aten.gelu_backward.grad_input(grad, h_SNO, grad_input=grad))
        grad, *norm = norm_back(grad)
        return grad.view_as(x_SBTW), *norm, *first, *second

    return out_SNW.view_as(x_SBTW), back


def attend(x_SBTW: Tensor, *weights: Tensor, heads: int) -> tuple[Tensor, Back]:
    """norm -> queries, keys and values -> causal attention -> linear."""
    norm_w, norm_b, qkv_w, qkv_b, out_w, out_b = weights
    s, b, t, w = x_SBTW.shape
    x_SNW, norm_back = _normed(x_SBTW.flatten(1, 2), norm_w, norm_b)
    qkv_SNO, qkv_back = _linear(x_SNW, qkv_w, qkv_b)
    qkv_3LHTD = qkv_SNO.view(s * b, t, 3, heads, w // heads).permute(2, 0, 3, 1, 4)
    y_MTD, attention_back = _attention(qkv_3LHTD.reshape(3, -1, t, w // heads))
    y_LTHD = y_MTD.view(s * b, heads, t, w // heads).transpose(1, 2)
    out_SNW, out_back = _linear(y_LTHD.reshape(s, b * t, w), out_w, out_b)

    def back(grad_SBTW: Tensor) -> tuple[Tensor, ...]:
        grad, *out = out_back(grad_SBTW.flatten(1, 2))
        grad_LHTD = grad.view(s * b, t, heads, w // heads).transpose(1, 2)
        grad_3MTD = attention_back(grad_LHTD.reshape(-1, t, w // heads))
        grad_LT3HD = grad_3MTD.view(3, s * b, heads, t, w // heads).permute(1, 3, 0, 2, 4)
        grad, *qkv = qkv_back(grad_LT3HD.reshape(s, b * t, 3 * w))
        grad, *norm = norm_back(grad)
        return grad.view_as(x_SBTW), *norm, *qkv, *out

    return out_SNW.view_as(x_SBTW), back


def _attention(qkv_3MTD: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """softmax(q k' / sqrt(D), over earlier positions and one's own) v."""
    q, k, v = qkv_3MTD
    t, scale = q.shape[1], q.shape[2] ** -0.5
    later_TT = q.new_full((t, t), -torch.inf).triu(1)
    p_MTT = torch.baddbmm(later_TT, q, k.mT, alpha=scale)
    torch.softmax(p_MTT, -1, out=p_MTT)

    def back(grad_MTD: Tensor) -> Tensor:
        grads_3MTD = torch.empty_like(qkv_3MTD)
        s_MTT = torch.bmm(grad_MTD, v.mT)
        torch._softmax_backward_data(s_MTT, p_MTT, -1, q.dtype, grad_input=s_MTT)
        torch.bmm(s_MTT, k, out=grads_3MTD[0])
        torch.bmm(s_MTT.mT, q, out=grads_3MTD[1])
        torch.bmm(p_MTT.mT, grad_MTD, out=grads_3MTD[2])
        grads_3MTD[:2] *= scale
        return grads_3MTD

    return torch.bmm(p_MTT, v), back


def read(x_SBTW: Tensor, norm_w: Tensor, norm_b: Tensor, head_SVW: Tensor) -> tuple[Tensor, Back]:
    """norm -> logits."""
    x_SNW, norm_back = _normed(x_SBTW.flatten(1, 2), norm_w, norm_b)

    def back(grad_SBTV: Tensor) -> tuple[Tensor, ...]:
        grad_SNV = grad_SBTV.flatten(1, 2)
        grad, *norm = norm_back(torch.bmm(grad_SNV, head_SVW))
        return grad.view_as(x_SBTW), *norm, torch.bmm(grad_SNV.mT, x_SNW)

    return torch.bmm(x_SNW, head_SVW.mT).view(*x_SBTW.shape[:3], -1), back
