"""How gradients pass the units of compiled circuits: exactly, or straight through.

A product of k bits is relu(2 sum - (2k - 1)): 1 where all are 1, and -1 before the relu where one is missing. So an
exact gradient ends at every unit that is off; and where a bit is read by its inverse, it ends if the bit is on.

Shapes: B inputs, I rows that are read, U units.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Passing:
    """What stands for the derivative of relu(z), which is 1 above 0 and 0 below: 1 above 1, 1/2 from 0 to 1, damping / 2
    from -1 to 0, and 0 below.

    A half is what a unit changes by, over the 2 by which its sum does, where one bit flips. So undamped, a product
    passes the same where all of its bits are 1 and where one is missing; damped, what it passes there is less.
    """

    exact: bool = True
    damping: float = 1.0
    """Factor on what units pass that are off."""
    normalised: bool = False
    """Whether what a unit passes is divided by the sum of its weights' sizes."""

    def slopes(self, z: Tensor) -> Tensor:
        """At each z, without the sums of weights."""
        on = (z > 0).to(z)
        if self.exact:
            return on
        return (on + (z > 1)) / 2 + ((z <= 0) & (z >= -1)) * (self.damping / 2)


EXACT = Passing()
_RULE: ContextVar[Passing] = ContextVar("passing", default=EXACT)


@contextmanager
def passing(rule: Passing) -> Iterator[None]:
    """Inside, gradients pass the units of compiled circuits by this rule."""
    token = _RULE.set(rule)
    try:
        yield
    finally:
        _RULE.reset(token)


def rule() -> Passing:
    """By which gradients pass here."""
    return _RULE.get()


def units(x_BI: Tensor, weight_UI: Tensor, bias_U: Tensor) -> Tensor:
    """relu(weight x + bias), (B, U), whose gradient passes by the rule."""
    found: Tensor = _Units.apply(x_BI, weight_UI, bias_U, rule())  # type: ignore[no-untyped-call]
    return found


def both(x: Tensor, y: Tensor) -> Tensor:
    """The product of two bits, relu(2x + 2y - 3), of each pair (their shapes are broadcast), by the same rule."""
    found: Tensor = _Both.apply(x, y, rule())  # type: ignore[no-untyped-call]
    return found


class _Units(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BI: Tensor, weight_UI: Tensor, bias_U: Tensor, by: Passing) -> Tensor:
        z_BU = torch.addmm(bias_U, x_BI, weight_UI.T)
        ctx.save_for_backward(x_BI, weight_UI, z_BU)
        ctx.by = by
        return z_BU.relu()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BU: Tensor) -> tuple[Tensor, Tensor | None, Tensor, None]:
        x_BI, weight_UI, z_BU = ctx.saved_tensors
        of_sums = grad_BU * ctx.by.slopes(z_BU)
        if ctx.by.normalised:
            of_sums /= weight_UI.abs().sum(1)
        of_weight = of_sums.T @ x_BI if ctx.needs_input_grad[1] else None
        return of_sums @ weight_UI, of_weight, of_sums.sum(0), None


class _Both(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, by: Passing) -> Tensor:
        z = 2 * (x + y) - 3
        ctx.save_for_backward(z)
        ctx.shapes, ctx.by = (x.shape, y.shape), by
        return z.relu()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        (z,) = ctx.saved_tensors
        passed = grad * ctx.by.slopes(z) * (0.5 if ctx.by.normalised else 2.0)  # weights of 2, by their sum
        return *(passed.sum_to_size(shape) for shape in ctx.shapes), None
