"""K networks of one architecture, held together.

Shapes: every parameter has a leading K axis, `w_K...`.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError, UsageError
from holdfast.parts import Host
from holdfast.training.backends import forward_of
from holdfast.training.lanes import LANES
from holdfast.training.randomness import seeded
from holdfast.training.streams import Streams

ALONE_EXAMPLES = 64
"""Examples that a network of somebody else's making is shown at a time."""
POSITIONS = 1024
"""Positions of sequences that a net is shown at a time: more leave the cache, and 64 nets' logits fill memory."""


def pieces(x_B: Tensor, positions: int = POSITIONS) -> tuple[Tensor, ...]:
    """Tokens (B, T) a few sequences at a time, whatever K is; other inputs all at once."""
    size = len(x_B) if x_B.is_floating_point() else positions // x_B[0].numel()
    return torch.split(x_B, max(1, size))


def _rows(k: int, like: Tensor, device: torch.device) -> Tensor:
    padded = -(-like.numel() // LANES) * LANES
    return torch.zeros(k, padded, dtype=like.dtype, device=device)


def _held(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a net holds: its parameters, and those of its buffers that its state dict has."""
    kept = module.state_dict(keep_vars=True)
    return dict(module.named_parameters()), {name: b for name, b in module.named_buffers() if name in kept}


class Nets:
    """K networks that train side by side and never touch each other.

    Attributes:
        host: their architecture.
        like: one network of it, for its structure; its weights are not used.
        rows: name -> (K, padded) storage; the optimiser steps on this.
        params: name -> (K, *shape) views of `rows`, named as PyTorch names them.
        buffers: name -> (K, *shape), what a net keeps beside its parameters (running means, quantised weights).
        frozen: parameters that take no gradient.
    """

    def __init__(self, host: Host, like: nn.Module, k: int, *, backend: str, device: str) -> None:
        self.host, self.like, self.k, self.backend, self.device = host, like, k, backend, torch.device(device)
        parameters, buffers = _held(like)
        self.rows = {name: _rows(k, p, self.device) for name, p in parameters.items()}
        self.params = {n: self.rows[n][:, : p.numel()].view(k, *p.shape) for n, p in parameters.items()}
        self.buffers = {
            name: torch.zeros(k, *b.shape, dtype=b.dtype, device=self.device) for name, b in buffers.items()
        }
        self.frozen = frozenset(name for name, p in parameters.items() if not p.requires_grad)
        self._forward = forward_of(host, like, backend)
        self._answers: dict[int, tuple[Tensor, Tensor]] | None = None

    @classmethod
    def of(cls, host: Host, modules: Sequence[nn.Module], *, backend: str = "batched", device: str = "cpu") -> "Nets":
        """Stack modules of one architecture.

        Raises:
            HoldfastError: two modules that differ in shape.
        """
        nets = cls(host, modules[0], len(modules), backend=backend, device=device)
        for k, module in enumerate(modules):
            nets.load_module(k, module)
        return nets

    @classmethod
    def initialised(
        cls,
        host: Host,
        streams: Sequence[Streams],
        name: str = "init",
        *counters: int,
        backend: str = "batched",
        device: str = "cpu",
    ) -> "Nets":
        """Fresh networks, net k drawn from the stream of this name of `streams[k]`."""
        modules = []
        for stream in streams:
            with seeded(stream.torch_seed(name, *counters)):
                modules.append(host.build())
        return cls.of(host, modules, backend=backend, device=device)

    @cached_property
    def shapes(self) -> dict[str, torch.Size]:
        """Shape of everything that one net holds, by name."""
        return {name: value.shape[1:] for name, value in self._all.items()}

    @property
    def structure(self) -> tuple[dict[str, torch.Size], dict[str, torch.Size]]:
        """Shapes of the parameters and of the buffers of one net, by name."""
        return {n: p.shape[1:] for n, p in self.params.items()}, {n: b.shape[1:] for n, b in self.buffers.items()}

    def fits(self, module: nn.Module) -> bool:
        """Whether a module is of this structure."""
        parameters, buffers = _held(module)
        return self.structure == ({n: p.shape for n, p in parameters.items()}, {n: b.shape for n, b in buffers.items()})

    @property
    def _all(self) -> dict[str, Tensor]:
        return {**self.params, **self.buffers}

    def forward(
        self, params: Mapping[str, Tensor], x_KB: Tensor, drop: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """logits_KBC of K networks with these parameters; `drop` is applied to hidden activations."""
        return self._forward({**params, **self.buffers} if self.buffers else params, x_KB, drop)

    def activations(
        self, params: Mapping[str, Tensor], x_KB: Tensor, drop: Callable[[Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        """What every hidden layer of K networks with these parameters gives (KB...), logits_KBC last.

        Raises:
            UsageError: a host that doesn't say where its hidden layers are.
        """
        layers = getattr(self.host, "activations", None)
        if layers is None:
            raise UsageError(
                f"What hidden layers give is known of an MLP and of a CNN; got {self.host.label}. Use the logits only."
            )
        values: list[Tensor] = layers(params, x_KB, drop)
        return values

    def load(self, k: int, state: Mapping[str, Tensor]) -> None:
        """Write one state dict into net k.

        Raises:
            HoldfastError: a key or a shape that this architecture does not have.
        """
        expected = {name: tuple(shape) for name, shape in self.shapes.items()}
        got = {name: tuple(value.shape) for name, value in state.items()}
        if expected != got:
            wrong = [n for n in expected | got if expected.get(n) != got.get(n)]
            lines = ", ".join(f"{n}: expected {expected.get(n, 'nothing')}, got {got.get(n, 'nothing')}" for n in wrong)
            raise HoldfastError(f"These weights are not of {self.host.label}: {lines}.")
        held = self._all
        with torch.no_grad():
            for name, value in state.items():
                held[name][k].copy_(value)

    def load_module(self, k: int, module: nn.Module) -> None:
        """Write a module's parameters and buffers into net k."""
        parameters, buffers = _held(module)
        self.load(k, {**parameters, **buffers})

    def state(self, k: int) -> dict[str, Tensor]:
        """A copy of net k's weights, keyed as PyTorch's state dict (weights that are tied once only)."""
        return {name: value[k].detach().cpu().clone() for name, value in self._all.items()}

    def module(self, k: int) -> nn.Module:
        """Net k as the plain PyTorch module (a copy)."""
        module = copy.deepcopy(self.like)
        module.load_state_dict(self.state(k), strict=False)  # not strict: of weights that are tied one name is enough
        return module.to(self.device)

    def take(self, rows: Sequence[int]) -> "Nets":
        """A copy of some of the nets, in the given order (a net may be taken twice)."""
        nets = Nets(self.host, self.like, len(rows), backend=self.backend, device=str(self.device))
        index = torch.as_tensor(list(rows), device=self.device)
        for name, row in self.rows.items():
            nets.rows[name].copy_(row.detach()[index])
        for name, value in self.buffers.items():
            nets.buffers[name].copy_(value[index])
        return nets

    def copy(self) -> "Nets":
        """A copy of all of them."""
        return self.take(range(self.k))

    def shared(self, x_B: Tensor) -> Tensor:
        """The same examples for every net, without copying: (K, B, ...)."""
        return x_B.to(self.device).expand(self.k, *x_B.shape)

    @torch.no_grad()
    def logits(self, x_B: Tensor) -> Tensor:
        """logits_KBC of every net on the same examples."""
        return self.forward(self.params, self.shared(x_B))

    def portion(self, x_B: Tensor) -> int:
        """How many of these examples a net is shown at a time, whatever K is."""
        # Somebody else's network may need gigabytes for logits over a vocabulary: a few examples at a time.
        return ALONE_EXAMPLES if getattr(self.host, "alone", False) else max(1, len(pieces(x_B)[0]))

    @torch.no_grad()
    def classes(self, x_B: Tensor) -> Tensor:
        """The class with the largest logit, classes_KB of every net; at every position (K, B, T) for sequences."""
        if self._answers is not None and id(x_B) in self._answers:
            return self._answers[id(x_B)][1]
        found_KB = torch.cat([self.logits(part).argmax(-1) for part in torch.split(x_B, self.portion(x_B))], 1)
        if self._answers is not None:
            self._answers[id(x_B)] = x_B, found_KB  # with the examples, so that the id stays theirs
        return found_KB

    @contextmanager
    def still(self) -> Iterator[None]:
        """Inside, no weight and no example changes, so `classes` answers the same tensor once."""
        self._answers = {}
        try:
            yield
        finally:
            self._answers = None

    def finite(self) -> Tensor:
        """finite_K: whether every weight of the net is a finite number."""
        finite_K = torch.ones(self.k, dtype=torch.bool, device=self.device)
        for row in self.rows.values():
            if row.is_floating_point():
                finite_K &= row.isfinite().all(1)
        return finite_K
