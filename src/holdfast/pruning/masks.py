"""Masks: which weights of K networks are kept. A checked type, so that a mask is never guessed from zeros.

Shapes: K nets, P prunable weights of one net.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError, UsageError
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_layer(part: nn.Module) -> bool:
    """Whether its weights are pruned, and units are what it reads: linear and convolutional layers, among them GPT-2's
    `Conv1D`. Biases, norms and embeddings are not pruned."""
    return isinstance(part, (nn.Linear, *CONVOLUTIONS)) or _is_transposed(part)


def _is_transposed(part: nn.Module) -> bool:
    return type(part).__name__ == "Conv1D"


def prunable(nets: Nets) -> tuple[str, ...]:
    """Names of the weights that can be pruned, in the order of the layers.

    Raises:
        UsageError: there are none.
    """
    found = (f"{path}.weight" for path, part in nets.like.named_modules() if is_layer(part))
    names = tuple(name.removeprefix(".") for name in found)
    names = tuple(name for name in names if name in nets.params and name not in nets.frozen)
    if not names:
        raise UsageError(
            f"{nets.host.label} has no linear or convolutional weights that are trained: nothing to prune."
        )
    return names


def by_unit(layer: nn.Module, weight: Tensor, units: int) -> Tensor:
    """What of a layer's weight, or of something in its shape, reads each of its units: (units, ...). A channel of a
    grouped convolution is read by its group's outputs."""
    if _is_transposed(layer):
        return weight.flatten(1).reshape(units, -1)
    groups = int(getattr(layer, "groups", 1))
    grouped = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])  # groups, outputs, inputs, ...
    return grouped.movedim(2, 1).flatten(0, 1).flatten(1).reshape(units, -1)


class Masks(Mapping[str, Tensor]):
    """Name -> boolean tensor (K, *shape), True where a weight is kept."""

    def __init__(self, each: Mapping[str, Tensor]) -> None:
        """
        Raises:
            HoldfastError: a mask that is not boolean, or masks of different numbers of nets.
        """
        if not each:
            raise HoldfastError("Masks need one weight or more; got none.")
        for name, mask in each.items():
            if mask.dtype != torch.bool:
                raise HoldfastError(f"A mask is boolean, True where a weight is kept; {name} is {mask.dtype}.")
        counts = {name: len(mask) for name, mask in each.items()}
        if len(set(counts.values())) > 1:
            raise HoldfastError(f"Masks of one batch are of as many nets each; got {counts}.")
        self._each = dict(each)

    @classmethod
    def full(cls, nets: Nets) -> "Masks":
        """Everything is kept."""
        return cls({name: torch.ones_like(nets.params[name], dtype=torch.bool) for name in prunable(nets)})

    def __getitem__(self, name: str) -> Tensor:
        return self._each[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._each)

    def __len__(self) -> int:
        return len(self._each)

    @property
    def k(self) -> int:
        """How many nets."""
        return len(next(iter(self._each.values())))

    @property
    def flat_KP(self) -> Tensor:
        """All of them in one row a net."""
        return torch.cat([mask.flatten(1) for mask in self._each.values()], 1)

    @property
    def kept_K(self) -> Tensor:
        """Share of the prunable weights that is kept."""
        return self.flat_KP.double().mean(1)

    def layers_kept(self) -> dict[str, Tensor]:
        """The same of each layer, by the name of its weight."""
        return {name: mask.flatten(1).double().mean(1) for name, mask in self._each.items()}

    def take(self, rows: Sequence[int]) -> "Masks":
        """Those of some of the nets, in this order (a net may be taken twice)."""
        return Masks({name: mask[list(rows)] for name, mask in self._each.items()})

    @staticmethod
    def joined(each: Sequence["Masks"]) -> "Masks":
        """Those of several batches, one after the other."""
        return Masks({name: torch.cat([masks[name] for masks in each]) for name in each[0]})

    def unlike(self, flat_KP: Tensor) -> "Masks":
        """Masks of the same shapes with other contents, in one row a net."""
        parts = torch.split(flat_KP, [mask[0].numel() for mask in self._each.values()], 1)
        return Masks(
            {name: part.reshape(mask.shape) for (name, mask), part in zip(self._each.items(), parts, strict=True)}
        )

    @torch.no_grad()
    def apply(self, nets: Nets) -> None:
        """Set what is not kept to zero.

        Raises:
            HoldfastError: masks of other nets.
        """
        for name, mask in self._each.items():
            if name not in nets.params or nets.params[name].shape != mask.shape:
                got = tuple(nets.params[name].shape) if name in nets.params else "no such weight"
                raise HoldfastError(f"A mask of shape {tuple(mask.shape)} for {name} doesn't fit: {got}.")
            nets.params[name].mul_(mask)

    def shuffled(self, streams: Sequence[Streams], stream: str) -> "Masks":
        """As many weights kept in every layer, at random places: net k's by the named stream of `streams[k]`."""
        rows = {name: mask.flatten(1) for name, mask in self._each.items()}
        made = {}
        for at, (name, row_KP) in enumerate(rows.items()):
            orders = [_order(s, stream, at, row_KP.shape[1]) for s in streams]
            order_KP = torch.stack(orders).to(row_KP.device)
            made[name] = row_KP.gather(1, order_KP).view_as(self._each[name])
        return Masks(made)

    def scattered(self, streams: Sequence[Streams], stream: str) -> "Masks":
        """As many weights kept in the whole net, at random places in all its layers."""
        flat_KP = self.flat_KP
        orders = [_order(s, stream, -1, flat_KP.shape[1]) for s in streams]
        return self.unlike(flat_KP.gather(1, torch.stack(orders).to(flat_KP.device)))


def _order(streams: Streams, stream: str, at: int, count: int) -> Tensor:
    return torch.from_numpy(streams.generator(stream, at).permutation(count))
