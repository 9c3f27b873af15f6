"""Aiming: finding what must be added at a module, so that a network gives the answers that are wanted.

Shapes: N inputs, C classes, O what the module puts out, P pushes.
"""

import torch
from torch import Tensor, nn

from holdfast.hosts.adopt import evaluating, read_logits
from holdfast.parts import Host

STEPS, ENOUGH = 80, 0.99
"""Steps at most, and the share of inputs that must answer."""
FIRST, GROWTH = 0.1, 1.3
AT_ONCE = 32


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


@torch.no_grad()
def shortfall(module: nn.Module, host: Host, x_N: Tensor, answers_N: Tensor) -> float:
    """By how much the logit of each input's answer falls short of the largest other one, at worst; at least 1."""
    worst = 1.0
    for x, answers in zip(torch.split(x_N, AT_ONCE), torch.split(answers_N, AT_ONCE), strict=True):
        logits_BC = last_logits(module, host, x)
        of_B = logits_BC.gather(1, answers.to(logits_BC.device)[:, None])[:, 0]
        logits_BC.scatter_(1, answers.to(logits_BC.device)[:, None], -torch.inf)
        worst = max(worst, float((logits_BC.amax(-1) - of_B).max()))
    return worst


def last_logits(module: nn.Module, host: Host, x_B: Tensor) -> Tensor:
    """logits_BC of a module that is looked at, for sequences those at the last position."""
    with evaluating(module):
        logits = read_logits(host, module(x_B.to(next(module.parameters()).device)))
    return (logits if logits.dim() == 2 else logits[:, -1]).float()
