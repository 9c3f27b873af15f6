"""What a transformer's block adds to the residual stream, for K networks: forward, and backward by hand.

Shapes: K networks, S of them that are worked on together, B sequences, T positions, N = B T, W width, O outputs of a
layer, H heads, D width of a head, L = S B.

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
    y_LTHD, attention_back = _attention(qkv_SNO.view(s * b, t, 3, heads, w // heads))
    out_SNW, out_back = _linear(y_LTHD.reshape(s, b * t, w), out_w, out_b)

    def back(grad_SBTW: Tensor) -> tuple[Tensor, ...]:
        grad, *out = out_back(grad_SBTW.flatten(1, 2))
        grad_LT3HD = attention_back(grad.view_as(y_LTHD))
        grad, *qkv = qkv_back(grad_LT3HD.view(s, b * t, 3 * w))
        grad, *norm = norm_back(grad)
        return grad.view_as(x_SBTW), *norm, *qkv, *out

    return out_SNW.view_as(x_SBTW), back


def _attention(qkv_LT3HD: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """softmax(q k' / sqrt(D), over earlier positions and one's own) v; PyTorch's own kernel and its gradient."""
    with torch.enable_grad():
        q, k, v = (x.transpose(1, 2).requires_grad_() for x in qkv_LT3HD.detach().unbind(2))
        y_LHTD = F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def back(grad_LTHD: Tensor) -> Tensor:
        grads = torch.autograd.grad(y_LHTD, (q, k, v), grad_LTHD.transpose(1, 2))
        return torch.stack([grad.transpose(1, 2) for grad in grads], 2)

    return y_LHTD.detach().transpose(1, 2), back


def read(x_SBTW: Tensor, norm_w: Tensor, norm_b: Tensor, head_SVW: Tensor) -> tuple[Tensor, Back]:
    """norm -> logits."""
    x_SNW, norm_back = _normed(x_SBTW.flatten(1, 2), norm_w, norm_b)

    def back(grad_SBTV: Tensor) -> tuple[Tensor, ...]:
        grad_SNV = grad_SBTV.flatten(1, 2)
        grad, *norm = norm_back(torch.bmm(grad_SNV, head_SVW))
        return grad.view_as(x_SBTW), *norm, torch.bmm(grad_SNV.mT, x_SNW)

    return torch.bmm(x_SNW, head_SVW.mT).view(*x_SBTW.shape[:3], -1), back
