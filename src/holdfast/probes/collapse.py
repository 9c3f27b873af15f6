"""How small a change of a program's weights brings the whole net down to chance.

Shapes: K nets, N examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.probes.base import Look
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.slot import crc

SIZES = tuple(2.0**i for i in range(-8, 7))
"""Changes that are tried, in margins: 1/256 to 64."""
NEAR = 0.1
"""Share of the advantage over chance that may be left."""
KINDS = ("random", "gradient", "single")

Direction = Mapping[str, Tensor]
"""Parameter name -> change (K, *shape)."""


@runtime_checkable
class Whole(Protocol):
    """An implant that is the whole net at first, and can say what a change of its weights does (`Predictor`,
    `EncryptedPredictor`)."""

    def inside(self, nets: Nets) -> Mapping[str, Tensor]:
        """Boolean masks in the nets' shapes: all that its units read, and their biases."""

    def felt(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """Boolean masks: of those the weights a change of which adds to anything."""

    def added(self, nets: Nets, way: Mapping[str, Tensor], split: Split) -> Tensor:
        """rms_K of what a direction of change itself adds to what it touches, in noise margins and per unit length."""


@dataclass(frozen=True)
class Collapse:
    """At step 0: the smallest size m of a change s u of the implant's weights at which the accuracy is no more than
    chance + (accuracy - chance) / 10, with chance the share of the most frequent class.

    m is the rms, over the examples and all that u touches, of what s u itself adds there, over the noise margin: what
    the implant's `added` says. Sizes 1/256, 1/128, ... 64 are tried; 64 stands for all that is more, 1/256 for all that
    is less.

    - `collapse_random`: u is Gaussian on the implant's weights and biases inside (its read-out is left as it is).
    - `collapse_gradient`: u is minus the gradient of the pressure's loss there, as a step of training goes. Undefined
      (stored as null) where it is 0.
    - `collapse_single`: one of those weights and biases, up or down, among those that change anything at all.

    Each net has a direction of its own, drawn from the checksum of its weights (which differ where its seed has drawn
    them). At later steps and in controls all are undefined.

    Misleads: the first size that is near chance counts, even if a larger one is not. The margin is that of ramps or of
    encrypted cells; a circuit without ramps has none, and is measured with the ramps'. A change of 1 margin in every
    unit at once is not small.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        nets, program = look.nets, _whole(look)
        unknown_K = torch.full((nets.k,), torch.nan, dtype=torch.double)
        ways = directions(look) if look.checkpoint.step == 0 and look.masks else {}
        found = {kind: collapse(program, nets, way, look.split) for kind, way in ways.items()}
        return {f"collapse_{kind}": found.get(kind, unknown_K) for kind in KINDS}


def directions(look: Look) -> dict[str, Direction]:
    """By kind, a direction of change for each net; none where no implant weights are named."""
    nets, program = look.nets, _whole(look)
    named = next(iter(look.masks.values()))
    masks = {name: mask & named[name] for name, mask in program.inside(nets).items()}
    masks = {name: mask for name, mask in masks.items() if mask.any()}
    if not masks:
        return {}
    felt = program.felt(nets, look.split)
    return {
        "random": _random(nets, masks),
        "gradient": {name: -look.gradient[name] * mask for name, mask in masks.items()},
        "single": _single(nets, {name: mask & felt[name] for name, mask in masks.items()}),
    }


@torch.no_grad()
def collapse(program: Whole, nets: Nets, way: Direction, split: Split) -> Tensor:
    """The smallest size tried, in margins, that brings each net down along its own direction; NaN where that is 0."""
    chance = float(split.y.bincount().max()) / len(split.y)
    whole_K = _accuracy(nets, split)
    enough_K = chance + NEAR * (whole_K - chance)
    found_K = torch.full_like(whole_K, SIZES[-1])
    curve_SK = collapse_curve(program, nets, way, split)
    for size, accuracy_K in reversed(list(zip(SIZES, curve_SK, strict=True))):
        found_K = torch.where(accuracy_K <= enough_K, size, found_K)
    return torch.where(curve_SK[0].isnan(), torch.nan, found_K)


@torch.no_grad()
def collapse_curve(program: Whole, nets: Nets, way: Direction, split: Split) -> Tensor:
    """accuracy_SK of each net changed along its own direction, by each of SIZES; NaN where the direction is 0."""
    unit_K = program.added(nets, way, split)
    found = []
    for size in SIZES:
        scale_K = torch.where(unit_K > 0, size / unit_K, 0.0)
        changed = nets.copy()
        for name, u in way.items():
            changed.params[name] += (scale_K.view(-1, *[1] * (u.dim() - 1)) * u).to(u)
        found.append(torch.where(unit_K > 0, _accuracy(changed, split), torch.nan))
    return torch.stack(found)


def _random(nets: Nets, masks: Mapping[str, Tensor]) -> Direction:
    """Gaussian on what is masked."""
    draws = [_drawn(nets, masks, k, stream=0)[0] for k in range(nets.k)]
    return {name: torch.stack([draw[name] for draw in draws]).to(nets.params[name]) * masks[name] for name in masks}


def _single(nets: Nets, masks: Mapping[str, Tensor]) -> Direction:
    """One of what is masked, up or down."""
    way = {name: torch.zeros_like(nets.params[name]) for name in masks}
    for k in range(nets.k):
        draws, generator = _drawn(nets, masks, k, stream=1)
        places = [(name, at) for name, mask in masks.items() for at in mask[k].flatten().nonzero().flatten().tolist()]
        if places:  # none in a control
            name, at = places[int(torch.randint(len(places), (1,), generator=generator))]
            way[name][k].view(-1)[at] = draws[name].view(-1)[at].sign()
    return way


def _drawn(nets: Nets, masks: Mapping[str, Tensor], k: int, stream: int) -> tuple[dict[str, Tensor], torch.Generator]:
    """Gaussian numbers for each weight of what a net has masks for, from its own checksum."""
    generator = torch.Generator().manual_seed(int(crc(nets.state(k)), 16) + stream)
    return {name: torch.randn(nets.params[name].shape[1:], generator=generator) for name in masks}, generator


def _accuracy(nets: Nets, split: Split) -> Tensor:
    return (nets.logits(split.x).argmax(-1) == split.y.to(nets.device)).double().mean(1)


def _whole(look: Look) -> Whole:
    if not isinstance(look.implant, Whole):
        raise UsageError(
            f"Collapse measures programs that are the whole net at first (Predictor, EncryptedPredictor); got "
            f"{look.implant.label}."
        )
    return look.implant
