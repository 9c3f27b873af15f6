"""Three ways to run K networks forward. They agree to rounding; the name is part of a cell's hash.

`batched` uses the host's own batched code and is the fastest; `vmap` needs only that `torch.func` has rules for what
the module does; `loop` calls the plain module once a net and works for everything. Under `batched` and `loop` a net's
bits depend on nothing but the net; under `vmap` they may change with K, as PyTorch lays out what lies between.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.errors import UsageError, nearest
from holdfast.parts import Host

Drop = Callable[[Tensor], Tensor]
"""What is done to each hidden activation (K, B, ...) in training."""
Forward = Callable[[Mapping[str, Tensor], Tensor, Drop | None], Tensor]
"""(params with a leading K, x_KB..., drop) -> logits_KBC"""


def _batched(host: Host, module: nn.Module) -> Forward:
    forward = getattr(host, "forward", None)
    if forward is None:
        raise UsageError(f"{host.label} has no batched forward pass. Use backend='vmap' or backend='loop'.")

    def batched(params: Mapping[str, Tensor], x_KB: Tensor, drop: Drop | None = None) -> Tensor:
        logits: Tensor = forward(params, x_KB) if drop is None else forward(params, x_KB, drop)
        return logits

    return batched


def _refuse(host: Host, drop: Drop | None) -> None:
    if drop is not None:
        raise UsageError(
            f"A term that acts on hidden units (Dropout, UnitNoise) needs backend='batched' and a host that knows "
            f"where they are; {host.label} runs one by one. Leave the term out; for dropout give the module nn.Dropout "
            f"of its own, and train it in training mode."
        )


def _vmap(host: Host, module: nn.Module) -> Forward:
    def one(params: dict[str, Tensor], x: Tensor) -> Tensor:
        logits: Tensor = functional_call(module, params, (x,))
        return logits

    many = torch.func.vmap(one)

    def forward(params: Mapping[str, Tensor], x_KB: Tensor, drop: Drop | None = None) -> Tensor:
        _refuse(host, drop)
        logits: Tensor = many(dict(params), x_KB)
        return logits

    return forward


def _loop(host: Host, module: nn.Module) -> Forward:
    call = getattr(host, "call", functional_call)

    def forward(params: Mapping[str, Tensor], x_KB: Tensor, drop: Drop | None = None) -> Tensor:
        _refuse(host, drop)
        # Cloned, so that each net's batch starts on a cache line (see LANES).
        one = [call(module, {n: p[k] for n, p in params.items()}, (x.clone(),)) for k, x in enumerate(x_KB)]
        return torch.stack(one)

    return forward


BACKENDS: dict[str, Callable[[Host, nn.Module], Forward]] = {"batched": _batched, "vmap": _vmap, "loop": _loop}


def forward_of(host: Host, module: nn.Module, backend: str) -> Forward:
    """The forward pass of K such networks.

    Args:
        host: the architecture.
        module: one network of it, for its structure (its weights are not used).
        backend: one of `BACKENDS`.

    Raises:
        UsageError: an unknown backend, or one that this host cannot use.
    """
    if backend not in BACKENDS:
        raise nearest(backend, BACKENDS, what="backend")
    return BACKENDS[backend](host, module)
