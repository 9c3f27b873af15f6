"""Bootstrapping whose keys are trained: K networks at once, and how gradients pass what has none.

Shapes: K nets, B ciphertexts of each, n the small key's length, N the ring's degree, H = N / 2 frequencies, R = 2 x
digits rows, T digits of the key switch. What is summed over stands before B, which is the innermost axis.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from holdfast.encrypted.bootstrap import signed, within
from holdfast.encrypted.parameters import ParameterSet
from holdfast.errors import UsageError


@dataclass(frozen=True, eq=False)
class Backward:
    """What stands for the derivative of digits and of rounding, which is zero wherever it is defined.

    Without anything: zero, the exact gradient.
    """

    digits: Literal["none", "first", "all", "key"] = "none"
    """Straight through the most significant digit of a number, or through each: d_k of x = sum_k d_k u_k counts as
    x / u_k. `key`: by the secret keys: a product with a key's encryption counts as one with the key itself. By any of
    the three, rounding to one of 2N exponents counts as no rounding."""
    damping: float = 1.0
    """Factor on what passes digits."""
    normalised: bool = False
    """Whether each ciphertext's gradient gets back, block by block, the norm that it had behind the block."""
    half_width: int = 1
    """h of the symmetric difference (f(e + h) - f(e - h)) / 2h that stands for the derivative by an exponent."""
    small_Kn: Tensor | None = None
    """Of `key`: the secret keys."""
    ring_KN: Tensor | None = None

    @property
    def is_exact(self) -> bool:
        return self.digits == "none"


EXACT = Backward()


def bootstrapped(
    p: ParameterSet, rotation: Tensor, switch: Tensor, ciphertexts: Tensor, tables: Tensor, back: Backward = EXACT
) -> Tensor:
    """A table evaluated on each ciphertext, as `Bootstrap` does it, with gradients: (K, B, n+1) -> the same.

    All numbers are in ticks; they need not be whole, but for the accumulator, which is rounded to whole ticks after
    each block (its derivative counts as 1). With whole keys the result is `Bootstrap`'s to the tick.

    Args:
        p: a set with binary secrets, whose switching digits multiply one key each.
        rotation: (K, n, digits, 2, 2, N).
        switch: (K, N, T, n+1).
        ciphertexts: (K, B, n+1).
        tables: (K, B, 2, N).
        back: how gradients pass digits and rounding.

    Raises:
        UsageError: a set whose keys are not trained.
    """
    refuse_untrained(p)
    turned = ciphertexts.transpose(1, 2) * (2 * p.degree / p.ciphertext_modulus)
    exponents: Tensor = _Rounded.apply(turned, back)  # type: ignore[no-untyped-call]
    acc = _Turned.apply(tables.permute(0, 3, 2, 1), exponents[:, p.n], back)  # type: ignore[no-untyped-call]
    acc = _Blocks.apply(acc, exponents[:, : p.n], rotation, p, back)  # type: ignore[no-untyped-call]
    a_KNB = torch.cat([acc[:, :1, 0], -acc[:, 1:, 0].flip(1)], 1)
    switched: Tensor = _Switched.apply(a_KNB, acc[:, 0, 1], switch, p, back)  # type: ignore[no-untyped-call]
    return switched.transpose(1, 2)


def refuse_untrained(p: ParameterSet) -> None:
    """
    Raises:
        UsageError: a set whose keys are not trained.
    """
    if p.secret != "binary" or p.switch.table or len(p.gadgets) > 1:
        raise UsageError(
            f"Keys of {p.name} are evaluated and not trained: they are OpenFHE's, with one row for each value of a "
            f"digit. Train one of the project's own sets (tiny, small, medium, large)."
        )


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, back: Backward) -> Tensor:
        ctx.back = back
        return torch.floor(x + 0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return torch.zeros_like(grad) if ctx.back.is_exact else grad, None


class _Turned(torch.autograd.Function):
    """X^e table: (K, N, 2, B) and exponents (K, B) -> (K, N, 2, B)."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, exponents: Tensor, back: Backward) -> Tensor:
        ctx.back = back
        ctx.save_for_backward(table, exponents)
        return _turned(table, exponents)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        table, exponents = ctx.saved_tensors
        by_exponent = None
        if ctx.needs_input_grad[1] and not ctx.back.is_exact:
            h = ctx.back.half_width
            slope = (_turned(table, exponents + h) - _turned(table, exponents - h)) / (2 * h)
            by_exponent = (grad * slope).sum((1, 2))
        return _turned(grad, -exponents), by_exponent, None


def _turned(a_KN2B: Tensor, exponents_KB: Tensor) -> Tensor:
    degree = a_KN2B.shape[1]
    at_KNB = (torch.arange(degree, device=a_KN2B.device)[:, None] - exponents_KB.long()[:, None]) % (2 * degree)
    sign_KN1B = torch.where(at_KNB < degree, 1.0, -1.0).to(a_KN2B.dtype)[:, :, None]
    return a_KN2B.gather(1, (at_KNB % degree)[:, :, None].expand(a_KN2B.shape)) * sign_KN1B


class _Blocks(torch.autograd.Function):
    """The blind rotation: accumulators (K, N, 2, B), exponents (K, n, B), keys (K, n, digits, 2, 2, N)."""

    @staticmethod
    def forward(ctx: Any, acc: Tensor, exponents: Tensor, keys: Tensor, p: ParameterSet, back: Backward) -> Tensor:
        (k, degree, _, b), gadget = acc.shape, p.gadgets[0]
        at_roots, rows = _matrix(degree, acc.device), 2 * gadget.digits
        blocks = _block_matrices(keys, at_roots)
        turns = _turns(exponents, at_roots)
        digits = acc.new_empty(k, degree, gadget.digits, 2, b)
        acc = within(acc, p.modulus)
        kept, behind = [], []
        for i in range(p.n):
            for place, digit in enumerate(signed(acc, gadget.unit, gadget.base, gadget.digits, p.modulus)):
                digits[:, :, place] = digit
            values = (at_roots @ digits.view(k, degree, rows * b)).view(-1, 2 * rows, b)
            products = torch.bmm(blocks[i], values).view(k, -1, 2, 2, b)
            moved = _times(products, turns[:, i]).view(k, degree, 2 * b)
            acc = within(acc + (at_roots.T @ moved).view(k, degree, 2, b).mul_(2 / degree).round_(), p.modulus)
            if ctx.needs_input_grad[2]:
                kept.append(values)
            if ctx.needs_input_grad[1] and not back.is_exact:
                behind.append(acc if back.small_Kn is not None else products)
        ctx.p, ctx.back, ctx.exponents = p, back, exponents
        ctx.save_for_backward(at_roots, blocks, turns, *kept, *behind)
        ctx.kept = len(kept)
        return acc

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None, None]:
        p, back, (at_roots, blocks, turns, *saved) = ctx.p, ctx.back, ctx.saved_tensors
        kept, behind = saved[: ctx.kept], saved[ctx.kept :]
        (k, degree, _, b), gadget = grad.shape, p.gadgets[0]
        to_roots = at_roots * (2 / degree)
        now = (to_roots @ grad.reshape(k, degree, 2 * b)).view(k, -1, 2, 2, b)
        of_blocks, of_exponents = [], []
        for i in reversed(range(p.n)):
            through = _times(now, turns[:, i], conjugate=True)
            flat = through.view(-1, 4, b)
            if kept:
                of_blocks.append(torch.bmm(flat, kept[i].mT))
            if behind:
                of_exponents.append(_by_exponent(ctx, i, now, behind[i], at_roots))
            if back.small_Kn is not None:
                now = now + through * back.small_Kn[:, i, None, None, None, None]
            elif back.digits != "none":
                of_digits = torch.bmm(blocks[i].mT, flat).view(k, degree, -1)
                each = (at_roots.T @ of_digits).view(k, degree, gadget.digits, 2, b)
                passed = _past_digits(each, gadget.unit, gadget.base, back).reshape(k, degree, 2 * b)
                both = now + (to_roots @ passed).view_as(now)
                now = _scaled(both, now) if back.normalised else both
        of_acc = grad if back.is_exact else (at_roots.T @ now.view(k, degree, 2 * b)).view_as(grad)
        of_keys = _keys_of(torch.stack(of_blocks[::-1]), k, at_roots) if kept else None
        return of_acc, torch.stack(of_exponents[::-1], 1) if behind else None, of_keys, None, None


def _by_exponent(ctx: Any, i: int, now: Tensor, behind: Tensor, at_roots: Tensor) -> Tensor:
    """Gradient (K, B) by the exponent of block i."""
    back, e, (k, _, _, _, b) = ctx.back, ctx.exponents[:, i : i + 1], now.shape
    h, values, times = back.half_width, behind, 1.0
    if back.small_Kn is not None:
        # Behind the block stands X^(e s) times what came in: so its derivative by e is s times the slope at exponent 0.
        values = (at_roots @ behind.reshape(k, len(at_roots), 2 * b)).view_as(now)
        e, times = torch.zeros_like(e), back.small_Kn[:, i, None]
    slope = (_turns(e + h, at_roots) - _turns(e - h, at_roots))[:, 0] / (2 * h)
    by: Tensor = (now * _times(values, slope)).sum((1, 2, 3)) * times
    return by


class _Switched(torch.autograd.Function):
    """Under the ring's key to under the small one: a (K, N, B), b (K, B), keys (K, N, T, n+1) -> (K, n+1, B)."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, keys: Tensor, p: ParameterSet, back: Backward) -> Tensor:
        switch = p.switch
        a = within(a, p.modulus)
        digits = torch.stack(signed(a, switch.unit, switch.base, switch.digits, switch.modulus), 2).flatten(1, 2)
        flat = keys.flatten(1, 2)
        found = -(flat.mT @ digits)
        found[:, -1] += b
        ctx.p, ctx.back = p, back
        ctx.save_for_backward(digits, flat)
        return within(found, p.modulus)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        (digits, flat), p, back = ctx.saved_tensors, ctx.p, ctx.back
        switch, (k, _, count) = p.switch, grad.shape
        of_keys = None
        if ctx.needs_input_grad[2]:
            of_keys = -(digits @ grad.mT).view(k, p.degree, switch.digits, -1)
        if back.ring_KN is not None:
            of_a = -back.ring_KN[:, :, None] * grad[:, -1:]
        elif back.digits == "none":
            of_a = grad.new_zeros(k, p.degree, count)
        else:
            each = -(flat @ grad).view(k, p.degree, switch.digits, count)
            of_a = _past_digits(each, switch.unit, switch.base, back)
            of_a = _scaled(of_a, grad) if back.normalised else of_a
        return of_a, grad[:, -1], of_keys, None, None


def _past_digits(each: Tensor, unit: int, base: int, back: Backward) -> Tensor:
    """Gradient by a number, of that by its digits, (K, N, digits, ...) with the lowest first."""
    places = unit * float(base) ** torch.arange(each.shape[2], dtype=each.dtype, device=each.device)
    slopes = back.damping / places
    if back.digits == "first":
        slopes[:-1] = 0
    passed: Tensor = torch.tensordot(slopes, each.movedim(2, 0), 1)
    return passed


def _scaled(x: Tensor, like: Tensor) -> Tensor:
    """x with each ciphertext's norm as in `like`: (K, ..., B)."""
    norms = [v.flatten(1, -2).norm(dim=1) for v in (x, like)]
    factor: Tensor = norms[1] / norms[0].clamp_min(torch.finfo(x.dtype).tiny)
    return x * factor.view(len(x), *[1] * (x.dim() - 2), -1)


@lru_cache
def _matrix(degree: int, device: torch.device) -> Tensor:
    """(2H, N): real and imaginary parts of a polynomial's values at the roots w^(1 - 4h), w = exp(i pi / N), of
    `Ring`. Its transpose times 2 / N is the inverse. At these degrees a product with it is faster than an FFT, whose
    layout the products over frequencies would not share."""
    power = 1 - 4 * torch.arange(degree // 2, dtype=torch.int64)
    angle = (power[:, None] * torch.arange(degree) % (2 * degree)).double() * (math.pi / degree)
    return torch.stack([angle.cos(), angle.sin()], 1).flatten(0, 1).to(device)


def _block_matrices(keys: Tensor, at_roots: Tensor) -> Tensor:
    """(n, K H, 4, 2 R): a block's key at each root as a real matrix, from (part, row) to (part, component)."""
    k, n, digits, _, _, degree = keys.shape
    values = (keys.reshape(-1, degree) @ at_roots.T).view(k, n, 2 * digits, 2, degree // 2, 2)
    re, im = (v.permute(1, 0, 4, 3, 2) for v in values.unbind(-1))  # n, K, H, component, row
    return torch.cat([torch.cat([re, -im], -1), torch.cat([im, re], -1)], -2).flatten(1, 2).contiguous()


def _keys_of(of_blocks: Tensor, k: int, at_roots: Tensor) -> Tensor:
    """The adjoint of `_block_matrices`."""
    n, degree = len(of_blocks), len(at_roots)
    parts = of_blocks.view(n, k, degree // 2, 2, 2, 2, -1)  # n, K, H, part, component, part, row
    re = parts[:, :, :, 0, :, 0] + parts[:, :, :, 1, :, 1]
    im = parts[:, :, :, 1, :, 0] - parts[:, :, :, 0, :, 1]
    values = torch.stack([re, im], -1).permute(1, 0, 4, 3, 2, 5)  # K, n, row, component, H, part
    found = values.reshape(-1, degree) @ at_roots
    return found.view(k, n, -1, 2, 2, degree)


def _turns(exponents_KnB: Tensor, at_roots: Tensor) -> Tensor:
    """X^-e - 1 at the roots: (K, n, H, 2, B)."""
    degree = len(at_roots)
    e = (-exponents_KnB.long()) % (2 * degree)
    values = at_roots.T[e % degree] * torch.where(e < degree, 1.0, -1.0)[..., None]  # X^(N + j) = -X^j
    found = values.transpose(-1, -2).reshape(*e.shape[:2], degree // 2, 2, e.shape[2]).contiguous()
    found[:, :, :, 0] -= 1
    return found


def _times(x: Tensor, turn: Tensor, *, conjugate: bool = False) -> Tensor:
    """Complex products: (K, H, 2, 2, B), part before component, and (K, H, 2, B)."""
    re, im = turn[:, :, 0, None], turn[:, :, 1, None]
    if conjugate:
        im = -im
    out = torch.empty_like(x)
    torch.mul(x[:, :, 0], re, out=out[:, :, 0]).addcmul_(x[:, :, 1], im, value=-1)
    torch.mul(x[:, :, 0], im, out=out[:, :, 1]).addcmul_(x[:, :, 1], re)
    return out
