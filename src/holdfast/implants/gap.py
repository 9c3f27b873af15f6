"""How hard a written backdoor must push."""

import torch
from torch import Tensor

from holdfast.implants.backdoor import Backdoor
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets

EXAMPLES = 256


def gap(nets: Nets, backdoor: Backdoor, train: Split) -> Tensor:
    """gap_K: by how much the target's logit falls short of the largest other one, at worst.

    Measured on training inputs with the trigger. At least 1. Of sequences it is measured at the last position.
    """
    stamped = backdoor.trigger.stamp(backdoor.others(train).x[:EXAMPLES])
    worst_K = torch.ones(nets.k, device=nets.device)
    for part in torch.split(stamped, 32):
        logits_KBC = nets.logits(part)
        logits_KBC = (logits_KBC if logits_KBC.dim() == 3 else logits_KBC[:, :, -1]).float()
        target_KB = logits_KBC[..., backdoor.target].clone()
        logits_KBC[..., backdoor.target] = -torch.inf
        worst_K = torch.maximum(worst_K, (logits_KBC.amax(-1) - target_KB).amax(-1))
    return worst_K
