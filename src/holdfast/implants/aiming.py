"""Aiming: finding what must be added at a module, so that a network gives the answers that are wanted.

Shapes: N inputs, C classes, O what the module puts out, P pushes.
"""

import torch
from torch import Tensor, nn

from holdfast.implants.written import last_logits
from holdfast.parts import Host

STEPS, ENOUGH = 80, 0.99
"""Steps at most, and the share of inputs that must answer."""
FIRST, GROWTH = 0.1, 1.3


def aim(module: nn.Module, host: Host, push_OP: Tensor, x_N: Tensor, answers_N: Tensor) -> bool:
    """Turn pushes to where the margin of the answers grows, by normalised gradient ascent with steps that grow by 30 %,
    until 99 % of the inputs are answered so.

    Args:
        module: the network, which adds the pushes somewhere.
        host: how its outputs are read.
        push_OP: a leaf that takes gradients; changed in place.
        x_N, answers_N: inputs, and what each is to be answered with.

    Returns:
        Whether that was reached.
    """
    answers, step = answers_N.to(push_OP.device)[:, None], FIRST
    for _ in range(STEPS):
        logits_NC = last_logits(module, host, x_N)
        others = logits_NC.scatter(1, answers, -torch.inf).amax(-1)
        margin = logits_NC.gather(1, answers)[:, 0] - others
        if bool(push_OP.any()) and float((margin > 0).double().mean()) >= ENOUGH:
            return True
        (grad,) = torch.autograd.grad(margin.mean(), [push_OP], allow_unused=True)
        if grad is None or not bool(grad.any()):
            return False
        push_OP.data.add_(grad / grad.norm(dim=0, keepdim=True).clamp_min(1e-30), alpha=step)
        step *= GROWTH
    return False
