"""How much of the gradient falls on the implant.

Shapes: K nets, P weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.probes.base import Look


@dataclass(frozen=True)
class Gradient:
    """The pressure's loss gradient g on the implant's weights M, on a fixed set of training draws.

    - `gradient_norm`: |g_M|, Euclidean.
    - `gradient_share`: |g_M|^2 / |g|^2. Compare with `weight_share`, the share of all weights that M holds: equal
      shares mean that training pulls at the implant as at any other weights.
    - `gradient_zero`: share of M where g is exactly 0.
    - `update_share`: |u_M|^2 / |u|^2 of the change u since the look before; unlike g it contains what momentum,
      Adam's scaling and weight decay do.

    Undefined (stored as null) for controls, which have no M, where g or u is 0 everywhere, and where g is not known; u
    is not known while the net has another structure than at step 0 or at the look before.
    Misleads for a learned implant, whose weights are found by saliency and shared with the host.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        gradient_KP, update_KP = _flat(look.gradient), _update(look)
        elsewhere = {n: torch.zeros_like(g, dtype=torch.bool) for n, g in look.gradient.items()}
        return {
            f"{name}{ending}": value
            for ending, masks in look.masks.items()
            for name, value in self._on(_flat({**elsewhere, **masks}).bool(), gradient_KP, update_KP).items()
        }

    @staticmethod
    def _on(mask_KP: Tensor, gradient_KP: Tensor, update_KP: Tensor) -> Mapping[str, Tensor]:
        none_K, unknown_K = ~mask_KP.any(1), gradient_KP.isnan().any(1) | (gradient_KP == 0).all(1)
        on_KP = gradient_KP * mask_KP
        measures = {
            "gradient_norm": on_KP.norm(dim=1),
            "gradient_share": _share(on_KP, gradient_KP),
            "gradient_zero": ((gradient_KP == 0) & mask_KP).sum(1) / mask_KP.sum(1),
            "weight_share": mask_KP.double().mean(1),
            "update_share": _share(update_KP * mask_KP, update_KP),
        }
        for name in ("gradient_norm", "gradient_share", "gradient_zero"):
            measures[name] = measures[name].double().masked_fill(unknown_K, torch.nan)
        return {name: value.double().masked_fill(none_K, torch.nan) for name, value in measures.items()}


def _update(look: Look) -> Tensor:
    """u_KP; NaN where a structure has changed."""
    now, before = look.nets, look.checkpoint.previous
    if not now.structure == before.structure == look.start.structure:
        return torch.full_like(_flat(look.gradient), torch.nan)
    return _flat(now.params) - _flat(before.params)


def _flat(params: Mapping[str, Tensor]) -> Tensor:
    # A parameter of the user's may be an integer, or in half precision.
    return torch.cat([p.flatten(1).float() if p.dtype != torch.bool else p.flatten(1) for p in params.values()], 1)


def _share(part_KP: Tensor, whole_KP: Tensor) -> Tensor:
    return part_KP.double().square().sum(1) / whole_KP.double().square().sum(1)
