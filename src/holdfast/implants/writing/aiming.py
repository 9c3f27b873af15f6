"""Aiming: finding what must be added at a module, so that a network gives the answers that are wanted.

Shapes: N inputs, C classes, O what the module puts out, P pushes.
"""

import torch
from torch import Tensor, nn

from holdfast.hosts.adopt import as_taken, evaluating, read_logits
from holdfast.parts import Host

STEPS, ENOUGH = 80, 0.99
"""Steps at most, and the share of inputs that must answer."""
FIRST, GROWTH = 0.1, 1.3
AT_ONCE = 32


def aim(module: nn.Module, host: Host, push_OP: Tensor, x_N: Tensor, answers_N: Tensor, strength: float) -> bool:
    """Turn pushes to where the margin of the answers grows, by normalised gradient ascent with steps that grow by 30 %,
    until 99 % of the inputs are answered so; then make them `strength` times as large.

    Behind a layer norm a larger push drowns what helped it, and may answer less. So where `strength` is above 1 that
    goes on until the larger pushes answer as well.

    Args:
        module: the network, which adds the pushes somewhere.
        host: how its outputs are read.
        push_OP: a leaf that takes gradients; changed in place.
        x_N, answers_N: inputs, and what each is to be answered with.
        strength: of the pushes, in units of what is just enough.

    Returns:
        Whether that was reached.
    """
    answers, step = answers_N.to(push_OP.device)[:, None], FIRST

    def margins() -> Tensor:
        logits_NC = last_logits(module, host, x_N)
        others = logits_NC.scatter(1, answers, -torch.inf).amax(-1)
        return logits_NC.gather(1, answers)[:, 0] - others

    def are_enough(margin_N: Tensor) -> bool:
        return float((margin_N > 0).double().mean()) >= ENOUGH

    for _ in range(STEPS):
        margin_N = margins()
        if bool(push_OP.any()) and are_enough(margin_N):
            just = push_OP.detach().clone()
            push_OP.data.mul_(strength)
            with torch.no_grad():
                if strength <= 1 or are_enough(margins()):
                    return True
            push_OP.data.copy_(just)
        (grad,) = torch.autograd.grad(margin_N.mean(), [push_OP], allow_unused=True)
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
        logits = read_logits(host, module(as_taken(x_B, module.parameters())))
    return (logits if logits.dim() == 2 else logits[:, -1]).float()
