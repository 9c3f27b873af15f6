"""From scores to masks: keep the weights with the largest.

Shapes: K nets, P scores of one net.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from holdfast.errors import HoldfastError, UsageError
from holdfast.pruning.masks import Masks


def largest(scores: Mapping[str, Tensor], keep: float | Mapping[str, float], within: Masks | None = None) -> Masks:
    """The masks that keep so large a share of the weights, those with the largest scores.

    Exactly round(share x weights) are kept; of equal scores the first. By selection, not by a sort.

    Args:
        scores: of every prunable weight, (K, *shape).
        keep: a share of all weights, wherever they are (global); or one of each layer, by the name of its weight.
        within: weights that are pruned already, and stay so. Shares are of all weights all the same.

    Raises:
        UsageError: shares outside [0, 1], or fewer weights left than are to be kept.
        HoldfastError: scores that are not finite.
    """
    for name, value in scores.items():
        if not bool(value.isfinite().all()):
            raise HoldfastError(f"Scores of {name} are not all finite, so there are no largest ones among them.")
    shares = keep.values() if isinstance(keep, Mapping) else [keep]
    if not all(0 <= share <= 1 for share in shares):
        raise UsageError(f"The share of weights to keep lies between 0 and 1; got {keep}.")
    like = within or Masks({name: torch.ones_like(value, dtype=torch.bool) for name, value in scores.items()})
    barred = scores if within is None else {n: v.masked_fill(~within[n], -torch.inf) for n, v in scores.items()}
    if isinstance(keep, Mapping):
        return Masks({n: _largest(v.flatten(1), keep[n], n).view_as(v) for n, v in barred.items()})
    return like.unlike(_largest(torch.cat([value.flatten(1) for value in barred.values()], 1), keep, "the net"))


def _largest(scores_KP: Tensor, keep: float, what: str) -> Tensor:
    total = scores_KP.shape[1]
    count = round(keep * total)
    if count == 0:
        return torch.zeros_like(scores_KP, dtype=torch.bool)
    # NumPy's selection takes a tenth of the time of PyTorch's `kthvalue`, and a hundredth of a sort's.
    least = np.partition(scores_KP.detach().cpu().numpy(), total - count, 1)[:, total - count, None]
    least_K1 = torch.from_numpy(least).to(scores_KP.device)
    if bool(least_K1.isneginf().any()):
        raise UsageError(f"{keep:.3g} of the weights of {what} are to be kept, and fewer are left.")
    above_KP = scores_KP > least_K1
    equal_KP = scores_KP == least_K1
    wanted_K1 = count - above_KP.sum(1, keepdim=True)
    if bool((equal_KP.sum(1, keepdim=True) > wanted_K1).any()):
        equal_KP &= equal_KP.cumsum(1) <= wanted_K1
    return above_KP | equal_KP
