"""K networks of one architecture, held together.

Shapes: every parameter has a leading K axis, `w_K...`.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.parts import Host
from holdfast.training.backends import forward_of
from holdfast.training.lanes import LANES
from holdfast.training.streams import Streams


def _rows(k: int, shape: torch.Size, device: torch.device) -> Tensor:
    padded = -(-shape.numel() // LANES) * LANES
    return torch.zeros(k, padded, device=device)


class Nets:
    """K networks that train side by side and never touch each other.

    Attributes:
        host: their architecture.
        rows: name -> (K, padded) storage; the optimiser steps on this.
        params: name -> (K, *shape) views of `rows`, named as PyTorch names them.
    """

    def __init__(self, host: Host, shapes: dict[str, torch.Size], k: int, *, backend: str, device: str) -> None:
        self.host, self.k, self.backend, self.device = host, k, backend, torch.device(device)
        self.rows = {name: _rows(k, shape, self.device) for name, shape in shapes.items()}
        self.params = {n: self.rows[n][:, : s.numel()].view(k, *s) for n, s in shapes.items()}
        with torch.device("meta"):
            self.forward = forward_of(host, host.build(), backend)

    @classmethod
    def of(cls, host: Host, modules: Sequence[nn.Module], *, backend: str = "batched", device: str = "cpu") -> "Nets":
        """Stack modules of one architecture.

        Raises:
            HoldfastError: a module with buffers, or two modules that differ in shape.
        """
        if list(modules[0].buffers()):
            raise HoldfastError(f"{host.label} has buffers (batch norm?). Nets hold parameters only, so far.")
        shapes = {name: p.shape for name, p in modules[0].named_parameters()}
        nets = cls(host, shapes, len(modules), backend=backend, device=device)
        for k, module in enumerate(modules):
            nets.load(k, dict(module.named_parameters()))
        return nets

    @classmethod
    def initialised(
        cls, host: Host, streams: Sequence[Streams], *, backend: str = "batched", device: str = "cpu"
    ) -> "Nets":
        """Fresh networks, net k drawn from the `init` stream of `streams[k]`."""
        modules = []
        for stream in streams:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(stream.torch_seed("init"))
                modules.append(host.build())
        return cls.of(host, modules, backend=backend, device=device)

    @cached_property
    def shapes(self) -> dict[str, torch.Size]:
        return {name: p.shape[1:] for name, p in self.params.items()}

    def load(self, k: int, state: dict[str, Tensor]) -> None:
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
        with torch.no_grad():
            for name, value in state.items():
                self.params[name][k].copy_(value)

    def state(self, k: int) -> dict[str, Tensor]:
        """A copy of net k's weights, keyed as PyTorch's state dict."""
        return {name: p[k].detach().cpu().clone() for name, p in self.params.items()}

    def module(self, k: int) -> nn.Module:
        """Net k as the plain PyTorch module (a copy)."""
        module = self.host.build()
        module.load_state_dict(self.state(k))
        return module.to(self.device)

    def take(self, rows: Sequence[int]) -> "Nets":
        """A copy of some of the nets, in the given order (a net may be taken twice)."""
        nets = Nets(self.host, self.shapes, len(rows), backend=self.backend, device=str(self.device))
        index = torch.as_tensor(list(rows), device=self.device)
        for name, row in self.rows.items():
            nets.rows[name].copy_(row.detach()[index])
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

    def finite(self) -> Tensor:
        """finite_K: whether every weight of the net is a finite number."""
        return torch.stack([row.isfinite().all(1) for row in self.rows.values()]).all(0)
