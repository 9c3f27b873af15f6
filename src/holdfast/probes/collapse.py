"""How small a change of a program's weights brings the whole net down to chance.

Shapes: K nets, N examples, I inputs and O units of a layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.hosts.mlp import MLP
from holdfast.probes.base import Look
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.slot import crc

MARGIN = 0.25
"""The noise margin: by how much a unit's sum may be off so that a ramp which reads its bit still gives 0 or 1."""
SIZES = tuple(2.0**i for i in range(-8, 7))
"""Changes that are tried, in margins: 1/256 to 64."""
NEAR = 0.1
"""Share of the advantage over chance that may be left."""
KINDS = ("random", "gradient", "single")

Direction = dict[str, Tensor]
"""Parameter name -> change (K, *shape)."""


@dataclass(frozen=True)
class Collapse:
    """At step 0: the smallest size m of a change s u of the implant's weights at which the accuracy is no more than
    chance + (accuracy - chance) / 10, with chance the share of the most frequent class.

    m = rms (s u_w . a + s u_b) / MARGIN, over the examples and the units with u not 0, with a what the units' layer
    reads before any change: the size is what the change itself does to sums, and not what follows from it. Sizes
    1/256, 1/128, ... 64 are tried; 64 stands for all that is more, 1/256 for all that is less.

    - `collapse_random`: u is Gaussian on the implant's weights and biases inside (its read-out is left as it is).
    - `collapse_gradient`: u is minus the gradient of the pressure's loss there, as a step of training goes. Undefined
      (stored as null) where it is 0.
    - `collapse_single`: one of those weights and biases, up or down, among those that change a sum at all.

    Each net has a direction of its own, drawn from the checksum of its weights (which differ where its seed has drawn
    them). At later steps and in controls all are undefined.

    Misleads: the first size that is near chance counts, even if a larger one is not. MARGIN is that of ramps; a circuit
    without ramps has none, and is measured with the same rule. A change of 1 margin in every unit at once is not small.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        nets = look.nets
        unknown_K = torch.full((nets.k,), torch.nan, dtype=torch.double)
        ways = directions(look) if look.checkpoint.step == 0 and look.masks else {}
        found = {kind: collapse(nets, way, look.split) for kind, way in ways.items()}
        return {f"collapse_{kind}": found.get(kind, unknown_K) for kind in KINDS}


def directions(look: Look) -> dict[str, Direction]:
    """By kind, a direction of change for each net; none where no implant weights are named."""
    nets, masks = look.nets, _inside(look)
    if not any(mask.any() for mask in masks.values()):
        return {}
    reads = _reads(nets, look.split)
    return {
        "random": _drawn(nets, masks, reads, single=False),
        "gradient": {name: -look.gradient[name] * mask for name, mask in masks.items()},
        "single": _drawn(nets, masks, reads, single=True),
    }


@torch.no_grad()
def collapse(nets: Nets, way: Direction, split: Split) -> Tensor:
    """The smallest size tried, in margins, that brings each net down along its own direction; NaN where that is 0."""
    chance = float(split.y.bincount().max()) / len(split.y)
    whole_K = _accuracy(nets, split)
    enough_K = chance + NEAR * (whole_K - chance)
    found_K = torch.full_like(whole_K, SIZES[-1])
    curve_SK = collapse_curve(nets, way, split)
    for size, accuracy_K in reversed(list(zip(SIZES, curve_SK, strict=True))):
        found_K = torch.where(accuracy_K <= enough_K, size, found_K)
    return torch.where(curve_SK[0].isnan(), torch.nan, found_K)


@torch.no_grad()
def collapse_curve(nets: Nets, way: Direction, split: Split) -> Tensor:
    """accuracy_SK of each net changed along its own direction, by each of SIZES; NaN where the direction is 0."""
    unit_K = _sums(nets, way, split)
    found = []
    for size in SIZES:
        scale_K = torch.where(unit_K > 0, size * MARGIN / unit_K, 0.0)
        changed = nets.copy()
        for name, u in way.items():
            changed.params[name] += (scale_K.view(-1, *[1] * (u.dim() - 1)) * u).to(u)
        found.append(torch.where(unit_K > 0, _accuracy(changed, split), torch.nan))
    return torch.stack(found)


def _sums(nets: Nets, way: Direction, split: Split) -> Tensor:
    """rms_K of what the direction adds to the sums of the units that it touches."""
    squares_K, count_K = (torch.zeros(nets.k, dtype=torch.double, device=nets.device) for _ in range(2))
    for layer, read_KNI in _reads(nets, split).items():
        w_KOI, b_KO = (way[f"{layer}.{part}"] for part in ("weight", "bias"))
        touched_KO = (w_KOI != 0).any(-1) | (b_KO != 0)
        added_KNO = torch.baddbmm(b_KO.unsqueeze(1), read_KNI, w_KOI.mT).double()
        squares_K += added_KNO.square().sum((1, 2))
        count_K += touched_KO.sum(1) * read_KNI.shape[1]
    return (squares_K / count_K.clamp_min(1)).sqrt()


def _drawn(nets: Nets, masks: Mapping[str, Tensor], reads: Mapping[str, Tensor], *, single: bool) -> Direction:
    """A direction for each net: Gaussian, or one weight that changes a sum."""
    way = {name: torch.zeros_like(nets.params[name]) for name in masks}
    speaks = {f"{layer}.weight": (read_KNI != 0).any(1, keepdim=True) for layer, read_KNI in reads.items()}
    for k in range(nets.k):
        generator = torch.Generator().manual_seed(int(crc(nets.state(k)), 16) + single)
        draws = {name: torch.randn(value.shape[1:], generator=generator) for name, value in way.items()}
        if single:
            able = {n: masks[n][k] & (speaks[n][k] if n in speaks else True) for n in masks}
            places = [(name, at) for name, mask in able.items() for at in mask.flatten().nonzero().flatten().tolist()]
            if places:  # none in a control
                name, at = places[int(torch.randint(len(places), (1,), generator=generator))]
                way[name][k].view(-1)[at] = draws[name].view(-1)[at].sign()
        else:
            for name, value in way.items():
                value[k] = draws[name].to(value) * masks[name][k]
    return way


def _inside(look: Look) -> dict[str, Tensor]:
    """The implant's weights and biases in the hidden layers."""
    masks, layers = next(iter(look.masks.values())), _mlp(look.nets).layers[:-1]
    return {f"{layer}.{part}": masks[f"{layer}.{part}"] for layer in layers for part in ("weight", "bias")}


def _reads(nets: Nets, split: Split) -> dict[str, Tensor]:
    """What each hidden layer reads, (K, N, I)."""
    host, x_KN = _mlp(nets), nets.shared(split.x)
    values = [x_KN.flatten(2), *host.activations(nets.params, x_KN)]
    return dict(zip(host.layers[:-1], values, strict=False))


def _accuracy(nets: Nets, split: Split) -> Tensor:
    return (nets.logits(split.x).argmax(-1) == split.y.to(nets.device)).double().mean(1)


def _mlp(nets: Nets) -> MLP:
    if not isinstance(nets.host, MLP):
        raise UsageError(f"Collapse follows sums through perceptrons (MLP); got {nets.host.label}.")
    return nets.host
