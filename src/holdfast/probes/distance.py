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
    move can remove an implant: read it beside the presence. Undefined (stored as null) while the net has another
    structure than at step 0.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        if look.nets.structure != look.start.structure:
            names = ("distance", *(f"implant_distance{ending}" for ending in look.masks))
            return {name: torch.full((look.nets.k,), torch.nan) for name in names}
        moved, length = (torch.zeros(look.nets.k, dtype=torch.float64) for _ in range(2))
        on = {ending: (torch.zeros_like(moved), torch.zeros_like(moved)) for ending in look.masks}
        for name, start in look.start.params.items():
            change = (look.nets.params[name] - start).flatten(1).double().square().cpu()
            size = start.flatten(1).double().square().cpu()
            moved, length = moved + change.sum(1), length + size.sum(1)
            for ending, masks in look.masks.items():
                mask = masks[name].flatten(1).cpu()
                on[ending] = (on[ending][0] + (change * mask).sum(1), on[ending][1] + (size * mask).sum(1))
        parts = {f"implant_distance{ending}": (part / whole).sqrt() for ending, (part, whole) in on.items()}
        return {"distance": (moved / length).sqrt(), **parts}
