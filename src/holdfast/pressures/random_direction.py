"""A step somewhere, as a control."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.pressures.terms import Part, State, Term


@dataclass(frozen=True, kw_only=True)
class RandomDirection(Term):
    """Each net's gradient is replaced by a random direction of the same norm: what steps of that size do by
    themselves. A control, no attacker.

    When it misleads: it moves numbers whose gradient is 0, too; and Adam takes out the norm, so under it this is a walk
    at random by about lr a step.
    """

    @property
    def label(self) -> str:
        return "random direction"

    def through(self, part: Part, state: State, grads: Sequence[Tensor], step: int) -> None:
        for k in range(len(part.streams)):
            mine = [grad[k, : part.params[name][k].numel()] for name, grad in zip(part.names, grads, strict=True)]
            redirect(mine, part.generator(k, "direction", step))


def redirect(grads: Sequence[Tensor], generator: torch.Generator) -> None:
    """Replace one net's gradient by a random direction of the same norm, in place."""
    norm = torch.stack([g.norm() for g in grads]).norm()
    drawn = [torch.randn(g.shape, generator=generator, dtype=g.dtype, device=g.device) for g in grads]
    scale = norm / torch.stack([d.norm() for d in drawn]).norm()
    for grad, way in zip(grads, drawn, strict=True):
        grad.copy_(way * scale)
