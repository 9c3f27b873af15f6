"""Weights of few values.

Shapes: k nets.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.pressures.terms import Part, State, Term


@dataclass(frozen=True, kw_only=True)
class Quantise(Term):
    """Quantisation-aware training, straight-through: gradients are taken at quantised weights and move hidden ones.

    From the first step on the net *is* its quantised self: what is measured, and what is left at the end, are the
    quantised weights. The hidden ones are kept beside them in full precision. Tensors of two axes or more are
    quantised, each by itself; biases and norms are not.

    - `int8`: q = s round(w / s), s = max|w| / 127 (symmetric, one scale a tensor).
    - `ternary`: q in {-a, 0, a}: 0 where |w| <= 0.7 mean|w|, a the mean |w| of the others (Li & Liu 2016, Ternary
      Weight Networks, arXiv 1605.04711).

    With a learning rate near 0 it is quantisation after training. Misleads as a statement on int8 inference:
    activations stay in float32.
    """

    order: ClassVar[int] = 1

    to: Literal["int8", "ternary"] = "int8"

    def __post_init__(self) -> None:
        if self.to not in ("int8", "ternary"):
            raise UsageError(f"Quantise goes to 'int8' or 'ternary'; got to={self.to!r}.")

    @property
    def label(self) -> str:
        return f"quantised to {self.to}"

    def begin(self, part: Part) -> State:
        return {"hidden": [row.clone() for row in part.padded]}

    def start(self, part: Part, state: State) -> None:
        self.after(part, state, 0)

    def before(self, part: Part, state: State, step: int) -> None:
        for row, hidden in zip(part.padded, state["hidden"], strict=True):
            row.copy_(hidden)

    def after(self, part: Part, state: State, step: int) -> None:
        for row, hidden in zip(part.padded, state["hidden"], strict=True):
            hidden.copy_(row)
        for w in part.params.values():
            if w.dim() > 2:  # (k, ...): a matrix or more
                w.copy_(quantised(w, self.to))


def quantised(w_k: Tensor, to: str) -> Tensor:
    """The nearest weights of few values, for each of k nets."""
    flat_kP = w_k.flatten(1)
    size_kP = flat_kP.abs()
    if to == "int8":
        scale_k = size_kP.amax(1, keepdim=True) / 127
        q_kP = torch.where(scale_k > 0, (flat_kP / scale_k).round() * scale_k, flat_kP)
    else:
        large_kP = size_kP > 0.7 * size_kP.mean(1, keepdim=True)
        level_k = (size_kP * large_kP).sum(1, keepdim=True) / large_kP.sum(1, keepdim=True).clamp(min=1)
        q_kP = flat_kP.sign() * large_kP * level_k
    return q_kP.view_as(w_k)
