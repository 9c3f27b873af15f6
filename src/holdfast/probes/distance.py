"""How far training has moved the weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.probes.base import Look


@dataclass(frozen=True)
class Distance:
    """`distance`: |w - w_0| / |w_0| over all weights; `implant_distance`: the same over the implant's weights.

    Relative Euclidean distance from step 0. Weights can move far along directions that change nothing, and a small
    move can remove an implant: read it beside the presence.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        moved, length, moved_M, length_M = (torch.zeros(look.nets.k, dtype=torch.float64) for _ in range(4))
        for name, start in look.start.params.items():
            change = (look.nets.params[name] - start).flatten(1).double().square().cpu()
            size, mask = start.flatten(1).double().square().cpu(), look.masks[name].flatten(1).cpu()
            moved, length = moved + change.sum(1), length + size.sum(1)
            moved_M, length_M = moved_M + (change * mask).sum(1), length_M + (size * mask).sum(1)
        return {"distance": (moved / length).sqrt(), "implant_distance": (moved_M / length_M).sqrt()}
