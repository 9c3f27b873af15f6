"""Hidden units of a host, and the weights that go with each.

Shapes: K nets, U units of a layer, I inputs of the layer that reads them, B examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from holdfast.errors import UsageError
from holdfast.hosts.cnn import CNN
from holdfast.hosts.mlp import MLP
from holdfast.parts import Host
from holdfast.pruning.masks import Masks
from holdfast.training.nets import Nets

PORTION = 256
"""Examples that activations are taken of at a time."""


@dataclass(frozen=True)
class Hidden:
    """A layer of hidden units: units of a linear layer, channels of a convolution.

    Unit u is row u of the layer's weights and entry u of its biases. What it gives is read by inputs u e, ...,
    u e + e - 1 of the next layer: e = 1, or the pixels of a channel where that layer is linear.
    """

    layer: str
    """Dotted path of the layer."""
    reader: str
    """Of the layer that reads it."""
    gives: str
    """Of the module that gives what units give: their nonlinearity."""
    each: int = 1
    """Inputs of the reader that read one unit."""

    def outgoing(self, nets: Nets) -> Tensor:
        """outgoing_KU...: what reads each unit, a view of the reader's weights."""
        w_KOI = nets.params[f"{self.reader}.weight"]
        return w_KOI.view(*w_KOI.shape[:2], -1, self.each, *w_KOI.shape[3:]).transpose(1, 2)


def hidden_layers(host: Host) -> tuple[Hidden, ...]:
    """The layers of hidden units, first to last.

    Raises:
        UsageError: a host of which it is not known where they are.
    """
    if isinstance(host, MLP):
        return tuple(Hidden(one, then, gives=str(int(one) + 1)) for one, then in pairwise(host.layers))
    if isinstance(host, CNN):
        last = len(host.channels) - 1
        paths = [*(f"features.{3 * i}" for i in range(last + 1)), "classifier.0", "classifier.2"]
        gives = [*(f"features.{3 * i + 1}" for i in range(last + 1)), "classifier.1"]
        each = [host.flat // host.channels[-1] if i == last else 1 for i in range(last + 2)]
        rows = zip(pairwise(paths), gives, each, strict=True)
        return tuple(Hidden(*pair, gives=given, each=inputs) for pair, given, inputs in rows)
    raise UsageError(
        f"Hidden units are known of an MLP and a CNN; got {host.label}. Prune its weights (Prune) instead."
    )


def removable(host: Host) -> tuple[Hidden, ...]:
    """The same, of a host that has some.

    Raises:
        UsageError: it has none.
    """
    layers = hidden_layers(host)
    if not layers:
        raise UsageError(f"{host.label} has no hidden layer, so no units can be removed.")
    return layers


def last_features(host: Host) -> Hidden:
    """The last convolution of a CNN, the last hidden layer of an MLP."""
    layers = removable(host)
    return layers[-2] if isinstance(host, CNN) else layers[-1]


def unit_masks(nets: Nets, kept: Mapping[Hidden, Tensor]) -> Masks:
    """Masks of all weights and biases of some layers' units: what a removed one reads, its bias, and what reads
    it.

    Args:
        nets: whose weights they are.
        kept: kept_KU by layer, True where a unit stays.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str, mask: Tensor) -> None:
        mask = mask.expand(nets.params[name].shape).clone()
        found[name] = found[name] & mask if name in found else mask

    for at, kept_KU in kept.items():
        after = nets.params[f"{at.layer}.weight"].dim() - 2
        keep(f"{at.layer}.weight", kept_KU.view(*kept_KU.shape, *[1] * after))
        keep(f"{at.layer}.bias", kept_KU)
        kept_KI = kept_KU.repeat_interleave(at.each, 1)
        after = nets.params[f"{at.reader}.weight"].dim() - 3
        keep(f"{at.reader}.weight", kept_KI.view(nets.k, 1, -1, *[1] * after))
    return Masks(found)


@torch.no_grad()
def activity(nets: Nets, layers: Sequence[Hidden], x_KB: Tensor) -> dict[Hidden, Tensor]:
    """mean_KU by layer: what each unit gives, over examples (and pixels) on average. In float64."""
    means: dict[Hidden, list[Tensor]] = {at: [] for at in layers}
    for k, x_B in enumerate(x_KB):  # each net as PyTorch builds it, so that its neighbours play no part
        module, given = nets.module(k), {at: list[Tensor]() for at in layers}
        for at in layers:
            module.get_submodule(at.gives).register_forward_hook(partial(_note, given[at]))
        for part in torch.split(x_B.to(nets.device), PORTION):
            module(part)
        for at in layers:
            means[at].append(torch.cat(given[at]).mean(0))
    return {at: torch.stack(each) for at, each in means.items()}


def _note(into: list[Tensor], module: nn.Module, inputs: tuple[Tensor, ...], given_BU: Tensor) -> None:
    into.append(given_BU.double().flatten(2).mean(2) if given_BU.dim() > 2 else given_BU.double())
