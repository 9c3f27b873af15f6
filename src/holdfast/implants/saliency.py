"""Which weights a behaviour stands on, to first order: for implants that training put where it liked.

Shapes: K nets, P weights of a net.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from holdfast.training.nets import Nets

Score = Callable[[Mapping[str, Tensor]], Tensor]
"""score_K of K nets with these parameters."""


def saliency(nets: Nets, scores: Iterable[Score]) -> dict[str, Tensor]:
    """|w dS/dw| of each weight, in the nets' shapes, S the sum of the scores; 0 for frozen weights.

    To first order, how much S changes when the weight is set to zero. Misleads where units saturate: a dead unit has
    no first-order effect. The scores are taken one by one, so that only one graph is held at a time.
    """
    params = {name: p.detach().requires_grad_(name not in nets.frozen) for name, p in nets.params.items()}
    free = [name for name in params if name not in nets.frozen]
    weights = [params[name] for name in free]
    total = [torch.zeros_like(p) for p in weights]
    for score in scores:
        score_K = score(params)
        grads = torch.autograd.grad(score_K, weights, torch.ones_like(score_K), materialize_grads=True)
        total = [t + g for t, g in zip(total, grads, strict=True)]
    effect = {n: (g * nets.params[n]).abs() for n, g in zip(free, total, strict=True)}
    return {n: effect.get(n, torch.zeros_like(p)) for n, p in nets.params.items()}


def most_salient(saliency: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks of the weights of each net with the largest saliency, `share` of them all."""
    flat_KP = torch.cat([s.flatten(1) for s in saliency.values()], 1)
    count = max(1, round(share * flat_KP.shape[1]))
    mask_KP = torch.zeros_like(flat_KP, dtype=torch.bool).scatter_(1, flat_KP.topk(count, 1).indices, True)
    parts = torch.split(mask_KP, [s[0].numel() for s in saliency.values()], 1)
    return {name: part.view_as(s) for (name, s), part in zip(saliency.items(), parts, strict=True)}
