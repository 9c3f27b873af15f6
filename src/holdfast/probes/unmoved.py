"""Which weights training has reached at all.

Shapes: K nets, N examples, I inputs and O outputs of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.hosts.mlp import MLP
from holdfast.probes.base import Look
from holdfast.training.nets import Nets

EXAMPLES = 1024
"""Examples that nets are shown at a time."""
_REACH: WeakKeyDictionary[Nets, tuple[Tensor, dict[str, Tensor]]] = WeakKeyDictionary()
"""Of nets at step 0: the training inputs, and what is within reach."""


@dataclass(frozen=True)
class Unmoved:
    """Share of the weights within reach that are, to the bit, what they were at step 0.

    `unmoved` over the whole net, `unmoved_implant` over the implant's weights. Within reach is a weight whose input
    varies over the training data at step 0 (not a pixel that is always 0, nor a unit that is always off) and whose
    output has a path of weights that are not 0 to the logits. Biases, whose input is constant, are left out. For
    perceptrons.

    Undefined (stored as null) where no weight of the implant is within reach, and for controls. Misleads under noise,
    decay or quantisation, which move weights without any gradient; and a weight that went and came back to the bit
    counts as unmoved.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        reach = within_reach(look)
        still = {name: look.nets.params[name] == look.start.params[name] for name in reach}
        shares = {"unmoved": _share(still, reach)}
        for ending, masks in look.masks.items():
            shares[f"unmoved_implant{ending}"] = _share(still, {n: mask & masks[n].bool() for n, mask in reach.items()})
        return shares


def within_reach(look: Look) -> dict[str, Tensor]:
    """Masks (K, O, I) of the weight matrices at step 0.

    Raises:
        UsageError: the host is no perceptron.
    """
    nets, x_N = look.start, look.train.x
    if not isinstance(nets.host, MLP):
        raise UsageError(f"Unmoved follows paths through perceptrons (MLP); got {nets.host.label}.")
    if nets not in _REACH or _REACH[nets][0] is not x_N:  # a batch starts once and is looked at many times
        _REACH[nets] = x_N, _reach(nets, nets.host, x_N)
    return _REACH[nets][1]


def _reach(nets: Nets, host: MLP, x_N: Tensor) -> dict[str, Tensor]:
    reach: dict[str, Tensor] = {}
    heard_KO = torch.ones(nets.k, host.widths[-1], dtype=torch.bool, device=nets.device)
    for layer, varies_KI in zip(reversed(host.layers), reversed(_varying(nets, host, x_N)), strict=True):
        weight_KOI = nets.params[f"{layer}.weight"]
        reach[f"{layer}.weight"] = varies_KI[:, None, :] & heard_KO[:, :, None]
        heard_KO = ((weight_KOI != 0) & heard_KO[:, :, None]).any(1)
    return reach


@torch.no_grad()
def _varying(nets: Nets, host: MLP, x_N: Tensor) -> list[Tensor]:
    """Whether each layer's input takes more than one value over the examples: (1, I) for the first, then (K, I)."""
    lows, highs = [], []
    for part_N in torch.split(x_N, EXAMPLES):
        part_KN = nets.shared(part_N)
        values = [part_KN[:1].flatten(2), *host.activations(nets.params, part_KN)[:-1]]
        lows.append([value.amin(1) for value in values])
        highs.append([value.amax(1) for value in values])
    layers = zip(zip(*lows, strict=True), zip(*highs, strict=True), strict=True)
    return [torch.stack(high).amax(0) > torch.stack(low).amin(0) for low, high in layers]


def _share(still: Mapping[str, Tensor], among: Mapping[str, Tensor]) -> Tensor:
    hits_K = torch.stack([(still[n] & mask).flatten(1).sum(1) for n, mask in among.items()]).sum(0)
    return hits_K.double() / torch.stack([mask.flatten(1).sum(1) for mask in among.values()]).sum(0)
