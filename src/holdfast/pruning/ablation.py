"""Ablation: what a network loses when hidden units give their mean, without any training after it.

Shapes: N examples, F features that a layer reads, U units.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.errors import UsageError
from holdfast.hosts.adopt import as_taken, evaluating, logits_of
from holdfast.pruning.masks import CONVOLUTIONS, is_layer
from holdfast.tasks.base import Split

CHANNELLED = ("torch.nn.modules.conv", "torch.nn.modules.pooling")
"""Modules of PyTorch whose output of three axes is (N, channels, places)."""
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

    Features of a linear layer are put together to channels where a map of as many numbers was given last by a module:
    what is flattened in other ways than by rows counts as single units. Of a layer that is called twice the means are
    over both calls.

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
        seen = _Seen()
        handles = [
            *(layer.register_forward_pre_hook(seen.read, with_kwargs=True) for layer in names),
            *(part.register_forward_hook(seen.gave) for part in module.modules() if not any(part.children())),
        ]
        try:
            self._run(examples.x)
        finally:
            for handle in handles:
                handle.remove()
        if len(seen.sums) < 2:
            raise UsageError(
                f"Hidden units are what a layer reads from another: expected two linear or convolutional layers that "
                f"are called; got {len(seen.sums)}."
            )
        self.reads = [
            Read(names[layer], layer, len(mean_F) // each, each, mean_F)
            for layer, mean_F, each in list(seen.found())[1:]
        ]
        for read in self.reads:
            if not bool(read.mean_F.isfinite().all()):
                raise UsageError(f"What {read.path} reads is not finite: the network's weights are damaged.")

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
                handles.append(read.layer.register_forward_pre_hook(_Replace(read, mask_U), with_kwargs=True))
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


class _Seen:
    """What layers read in a forward pass, and of how many channels it was made."""

    def __init__(self) -> None:
        self.sums: dict[nn.Module, list[Tensor]] = {}
        """By layer, in the order in which they are called first."""
        self.counts: dict[nn.Module, int] = {}
        self.each: dict[nn.Module, int] = {}
        """Features of a unit."""
        self.maps: list[tuple[int, int]] = []
        """(numbers of an example, channels) of all maps with channels that a module gave, the last one last."""

    def read(self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        x = _input(args, kwargs).detach()
        rows = x.movedim(1, -1) if _is_convolution(layer) else x
        self.sums.setdefault(layer, []).append(rows.reshape(-1, rows.shape[-1]).double().sum(0))
        self.counts[layer] = self.counts.get(layer, 0) + rows[..., 0].numel()
        self.each[layer] = 1 if _is_convolution(layer) or x.dim() > 2 else self._features(x.shape[-1])

    def gave(self, part: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Rows of vectors, (N, T, W), are no map: of three axes only what convolutions and pooling give is."""
        if not isinstance(output, Tensor) or isinstance(part, nn.Linear):
            return
        if output.dim() > 3 or (output.dim() == 3 and type(part).__module__ in CHANNELLED):
            self.maps.append((output[0].numel(), output.shape[1]))

    def _features(self, count: int) -> int:
        """Of so many numbers in a row, how many belong to a channel: as the last map of as many says."""
        channels = next((channels for numbers, channels in reversed(self.maps) if numbers == count), count)
        return count // channels

    def found(self) -> Iterator[tuple[nn.Module, Tensor, int]]:
        """(layer, mean of each feature, features of a unit)"""
        for layer, sums in self.sums.items():
            yield layer, torch.stack(sums).sum(0) / self.counts[layer], self.each[layer]


def _input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """What a layer was called with, by position or by name."""
    found: Tensor = args[0] if args else next(iter(kwargs.values()))
    return found


@dataclass(frozen=True)
class _Replace:
    read: Read
    mask_U: Tensor

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        x = _input(args, kwargs)
        replaced = self.read.replaced(x, self.mask_U.to(x.device))
        if args:
            return (replaced, *args[1:]), kwargs
        return (), {name: replaced if value is x else value for name, value in kwargs.items()}


def _is_convolution(layer: nn.Module) -> bool:
    return isinstance(layer, CONVOLUTIONS)
