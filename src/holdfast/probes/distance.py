"""How far training has moved the weights."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.probes.base import Look


@dataclass(frozen=True)
class Distance:
    """`distance`: |w - w_0| / |w_0| over all weights; `implant_distance`: the same over the implant's weights;
    `implant_norm`: |w| over these.

    Relative Euclidean distance from step 0. Weights can move far along directions that change nothing, and a small
    move can remove an implant: read it beside the presence. Undefined (stored as null) while the net has another
    structure than at step 0.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        if look.nets.structure != look.start.structure:
            names = ("distance", *(f"implant_{what}{ending}" for ending in look.masks for what in ("distance", "norm")))
            return {name: torch.full((look.nets.k,), torch.nan) for name in names}
        moved, length = (torch.zeros(look.nets.k, dtype=torch.float64) for _ in range(2))
        on = {ending: [torch.zeros_like(moved) for _ in range(3)] for ending in look.masks}
        for name, start in look.start.params.items():
            now = look.nets.params[name]
            change, size, present = (w.flatten(1).double().square().cpu() for w in (now - start, start, now))
            moved, length = moved + change.sum(1), length + size.sum(1)
            for ending, masks in look.masks.items():
                mask = masks[name].flatten(1).cpu()
                for total, squares in zip(on[ending], (change, size, present), strict=True):
                    total += (squares * mask).sum(1)
        parts = {}
        for ending, (part, whole, norm) in on.items():
            parts[f"implant_distance{ending}"] = (part / whole).sqrt()
            parts[f"implant_norm{ending}"] = norm.sqrt().masked_fill(whole == 0, torch.nan)
        return {"distance": (moved / length).sqrt(), **parts}
