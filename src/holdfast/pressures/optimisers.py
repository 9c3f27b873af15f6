"""Optimisers that step K nets at once, each slice of the batch with its own settings.

A step is one fused call over all parameters of a slice. The tensors are (k, padded) rows of `Nets`: their width is a
multiple of 16 floats, so that a weight is always updated by the same instructions (see `training/nets.py`).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Part, State, Term


@dataclass(frozen=True, kw_only=True)
class Optimiser(Term):
    """One step of descent. Exactly one is a term of every `Fit`."""

    lr: float
    """Learning rate."""

    def __post_init__(self) -> None:
        number("lr", self.lr)
        if not 0 < self.lr < float("inf"):
            raise UsageError(f"{type(self).__name__} needs a learning rate above 0; got lr={self.lr}.")

    @abstractmethod
    def step(self, params: list[Tensor], grads: list[Tensor], state: State) -> None:
        """Change `params` and `state` in place."""


@dataclass(frozen=True, kw_only=True)
class SGD(Optimiser):
    """Gradient descent with momentum: v <- momentum v + g, w <- w - lr v (PyTorch's convention, no dampening)."""

    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        number("momentum", self.momentum)
        if not 0 <= self.momentum < 1:
            raise UsageError(f"SGD needs a momentum of at least 0 and below 1; got {self.momentum}.")

    @property
    def label(self) -> str:
        return f"SGD lr {self.lr:.3g}" + (f" momentum {self.momentum:g}" if self.momentum else "")

    def begin(self, part: Part) -> State:
        return {"momentum": [torch.zeros_like(p) for p in part.padded]} if self.momentum else {}

    def step(self, params: list[Tensor], grads: list[Tensor], state: State) -> None:
        for alike in _by_dtype(params):
            torch._fused_sgd_(
                [params[i] for i in alike],
                [grads[i] for i in alike],
                [state["momentum"][i] for i in alike] if self.momentum else [],
                weight_decay=0.0,
                momentum=self.momentum,
                lr=self.lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
            )


@dataclass(frozen=True, kw_only=True)
class Sign(Optimiser):
    """Sign descent: w <- w - lr sign(g). A gradient of exactly zero moves nothing (signSGD, Bernstein et al. 2018)."""

    @property
    def label(self) -> str:
        return f"sign lr {self.lr:.3g}"

    def step(self, params: list[Tensor], grads: list[Tensor], state: State) -> None:
        torch._foreach_sign_(grads)
        torch._foreach_add_(params, grads, alpha=-self.lr)


@dataclass(frozen=True, kw_only=True)
class Adam(Optimiser):
    """Adam (Kingma & Ba 2015), as `torch.optim.Adam`: a weight moves by about lr a step whatever its gradient's size,
    so a rare gradient is not a small step. Misleads where gradients are exactly zero: then nothing moves."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        number("eps", self.eps)
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise UsageError(f"Adam's betas are two numbers; got {self.betas!r}.")
        for beta in self.betas:
            number("A beta", beta)
        if not all(0 <= beta < 1 for beta in self.betas) or not 0 < self.eps < float("inf"):
            raise UsageError(
                f"Adam needs betas of at least 0 and below 1, and eps above 0; got betas={self.betas}, eps={self.eps}."
            )
        object.__setattr__(self, "betas", tuple(self.betas))

    @property
    def label(self) -> str:
        return f"Adam lr {self.lr:.3g}"

    def begin(self, part: Part) -> State:
        return {
            "mean": [torch.zeros_like(p) for p in part.padded],
            "square": [torch.zeros_like(p) for p in part.padded],
            "count": [torch.zeros((), dtype=torch.float32, device=p.device) for p in part.padded],
        }

    def step(self, params: list[Tensor], grads: list[Tensor], state: State) -> None:
        torch._foreach_add_(state["count"], 1)
        for alike in _by_dtype(params):
            torch._fused_adam_(
                [params[i] for i in alike],
                [grads[i] for i in alike],
                [state["mean"][i] for i in alike],
                [state["square"][i] for i in alike],
                [],
                [state["count"][i] for i in alike],
                lr=self.lr,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=0.0,
                eps=self.eps,
                amsgrad=False,
                maximize=False,
            )


def _by_dtype(params: Sequence[Tensor]) -> list[list[int]]:
    """Numbers of the tensors of each dtype: a fused call takes one."""
    found: dict[torch.dtype, list[int]] = {}
    for i, param in enumerate(params):
        found.setdefault(param.dtype, []).append(i)
    return list(found.values())
