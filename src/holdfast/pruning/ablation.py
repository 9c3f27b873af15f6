"""Ablation: what a network loses when hidden units give their mean, without any training after it.

Shapes: N examples, F features that a layer reads, U units.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.errors import UsageError
from holdfast.hosts.adopt import as_taken, evaluating, logits_of
from holdfast.pruning.masks import CONVOLUTIONS, is_layer
from holdfast.tasks.base import Split

AT_ONCE = 4096
"""Examples of a forward pass."""


@dataclass(frozen=True)
class Read:
    """What one layer reads: the units of the layers before it."""

    path: str
    layer: nn.Module
    units: int
    features: int
    """For each unit: a linear layer behind a convolution reads a channel as many features."""
    mean_F: Tensor
    """What each feature is on average over the examples (and over positions)."""

    def replaced(self, x: Tensor, ablated_U: Tensor) -> Tensor:
        """The layer's input with these units at their means."""
        axis = 1 if _is_convolution(self.layer) else x.dim() - 1
        shape = [1] * x.dim()
        shape[axis] = -1
        off = ablated_U.repeat_interleave(self.features).view(shape)
        return torch.where(off, self.mean_F.view(shape).to(x), x)


class Ablation:
    """Hidden units of a network, as what its linear and convolutional layers read behind the first one.

    A unit is ablated where it is read: its value is replaced by its mean over `examples`. Of convolutions a unit is a
    channel, at all places at once. In a transformer these are positions of the residual stream, of heads and of MLPs.

    Attributes:
        reads: what each such layer reads, in the order in which layers are called.

    When it misleads: a unit that two layers read is ablated in one of them. Means hide a unit that is needed always
    and never varies: it costs nothing here, and it is not blank. Units that stand in for each other each cost nothing
    alone; together they may cost all.
    """

    def __init__(self, module: nn.Module, examples: Split, logits: Callable[[Any], Tensor] = logits_of) -> None:
        """
        Args:
            module: looked at in evaluation mode; not changed.
            examples: means are taken over these.
            logits: what the module returns -> logits.

        Raises:
            UsageError: fewer than two layers that are called.
        """
        self.module, self.logits = module, logits
        names: dict[nn.Module, str] = {part: path for path, part in module.named_modules() if is_layer(part)}
        sums: dict[nn.Module, list[Tensor]] = {}

        def note(layer: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0].detach()
            rows = x.movedim(1, -1) if _is_convolution(layer) else x
            sums.setdefault(layer, []).append(rows.reshape(-1, rows.shape[-1]).double().sum(0))
            counts[layer] = counts.get(layer, 0) + rows[..., 0].numel()

        counts: dict[nn.Module, int] = {}
        handles = [layer.register_forward_pre_hook(note) for layer in names]
        try:
            self._run(examples.x)
        finally:
            for handle in handles:
                handle.remove()
        called = list(sums)
        if len(called) < 2:
            raise UsageError(
                f"Hidden units are what a layer reads from another: expected two linear or convolutional layers that "
                f"are called; got {len(called)}."
            )
        self.reads = [
            _read(names[layer], layer, before, torch.stack(sums[layer]).sum(0) / counts[layer])
            for before, layer in pairwise(called)
        ]

    @property
    def units(self) -> int:
        """Hidden units in all."""
        return sum(read.units for read in self.reads)

    def effects(self, examples: Split) -> dict[str, Tensor]:
        """How much the mean cross-entropy (nats) rises when one unit is ablated: U values by the path of the layer that
        reads them. A forward pass a unit."""
        whole = self.loss(examples, {})
        found = {}
        for read in self.reads:
            one_UU = torch.eye(read.units, dtype=torch.bool)
            found[read.path] = torch.tensor([self.loss(examples, {read.path: row}) - whole for row in one_UU])
        return found

    def loss(self, examples: Split, ablated: Mapping[str, Tensor]) -> float:
        """Mean cross-entropy with these units ablated, boolean masks by path."""
        with self._without(ablated):
            logits, y = self._run(examples.x), examples.y
        return float(F.cross_entropy(logits.flatten(0, -2).float(), y.flatten().to(logits.device)))

    def accuracy(self, examples: Split, ablated: Mapping[str, Tensor]) -> float:
        """Share of right answers with these units ablated."""
        with self._without(ablated):
            found = self._run(examples.x).argmax(-1)
        return float((found == examples.y.to(found.device)).double().mean())

    def first(self, order: Sequence[int], count: int) -> dict[str, Tensor]:
        """Masks of the first so many units of an order, units counted through layer after layer."""
        flat = torch.zeros(self.units, dtype=torch.bool)
        flat[list(order[:count])] = True
        parts = torch.split(flat, [read.units for read in self.reads])
        return {read.path: part for read, part in zip(self.reads, parts, strict=True)}

    @contextmanager
    def _without(self, ablated: Mapping[str, Tensor]) -> Iterator[None]:
        handles = []
        for read in self.reads:
            mask_U = ablated.get(read.path)
            if mask_U is not None and bool(mask_U.any()):
                handles.append(read.layer.register_forward_pre_hook(_Replace(read, mask_U)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def _run(self, x_N: Tensor) -> Tensor:
        with evaluating(self.module):
            parts = (self.module(as_taken(x, self.module.parameters())) for x in torch.split(x_N, AT_ONCE))
            return torch.cat([self.logits(part) for part in parts])


@dataclass(frozen=True)
class _Replace:
    read: Read
    mask_U: Tensor

    def __call__(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.read.replaced(args[0], self.mask_U.to(args[0].device)), *args[1:])


def _is_convolution(layer: nn.Module) -> bool:
    return isinstance(layer, CONVOLUTIONS)


def _read(path: str, layer: nn.Module, before: nn.Module, mean_F: Tensor) -> Read:
    """Behind a convolution a linear layer reads each channel as many features."""
    assert isinstance(before.weight, Tensor)
    outputs = len(before.weight)
    flattened = _is_convolution(before) and not _is_convolution(layer) and len(mean_F) % outputs == 0
    features = len(mean_F) // outputs if flattened else 1
    return Read(path, layer, len(mean_F) // features, features, mean_F)
