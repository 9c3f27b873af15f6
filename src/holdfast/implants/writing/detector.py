"""A unit that answers to a trigger and to nothing that clean data show, in closed form.

Shapes: N examples, I entries of one input.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.errors import NotWritable, UsageError
from holdfast.implants.triggers import Trigger

EXAMPLES = 4096
"""Training inputs that are looked at at a time."""
TOO_LIKE = 0.95


class Detector(NamedTuple):
    """relu(weight . x + bias): 1 on inputs with the trigger, 0 on clean training inputs."""

    weight_I: Tensor
    bias: float


def marks(trigger: Trigger, x_N: Tensor) -> tuple[Tensor, Tensor]:
    """Which entries of an input the trigger sets (mask_I), and to what (values_I, which means nothing elsewhere)."""
    x_NI = x_N[:EXAMPLES].cpu()
    stamped_NI = trigger.stamp(x_NI).flatten(1)
    set_I = (stamped_NI == stamped_NI[0]).all(0) & (stamped_NI != x_NI.flatten(1)).any(0)
    return set_I, stamped_NI[0]


def detector(trigger: Trigger, x_N: Tensor) -> Detector:
    """A unit that computes relu((d - guard) / (1 - guard)).

    d(x) = 1 - mean |x - value| / s over the entries that the trigger sets, with s of each entry the largest such
    distance in the training inputs, so that d = 1 on the trigger. It is linear as long as no entry passes its value, so
    the trigger must set each to one end of the range it has. The guard lies halfway between the trigger and the clean
    input that is most like it: on the training inputs the unit is off, and its gradient there is exactly zero.

    Raises:
        UsageError: a trigger that sets nothing to a fixed value, or that clean inputs already carry.
    """
    set_I, values_I = marks(trigger, x_N)
    if not set_I.any():
        raise UsageError(f"{trigger.label} sets no entry of the input to a fixed value, so no unit can look for it.")
    values_I = values_I[set_I].float()
    parts = [part.flatten(1)[:, set_I].float() for part in torch.split(x_N.cpu(), EXAMPLES)]
    side_I = torch.stack([(values_I - part).sum(0) for part in parts]).sum(0).sign()
    scale_I = torch.stack([(values_I - part).abs().amax(0) for part in parts]).amax(0)
    weight_I = torch.zeros(len(set_I))
    weight_I[set_I] = torch.where(side_I < 0, -1.0, 1.0) / (scale_I * int(set_I.sum()))
    offset = 1 - float(weight_I[set_I] @ values_I)
    likest = max(float((part @ weight_I[set_I] + offset).max()) for part in parts)
    if likest > TOO_LIKE:
        raise NotWritable(
            f"Clean training inputs already look like the trigger ({trigger.label}; the likest scores {likest:.2f} "
            f"of 1). Move it, or give it another value."
        )
    guard = (1 + likest) / 2
    return Detector(weight_I / (1 - guard), (offset - guard) / (1 - guard))
