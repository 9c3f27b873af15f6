"""Training that is kept to some hidden units of a perceptron."""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError, wholes
from holdfast.hosts.mlp import one_hidden_layer
from holdfast.pressures.kept import Kept
from holdfast.pressures.terms import Part, State


@dataclass(frozen=True, kw_only=True)
class OnlyUnits(Kept):
    """Only these units' weights, in and out, are trained; all others stay as they are, to the bit.

    `alone`: before the first step the other units' outgoing weights are set to zero, so that the net does without them,
    and the output's biases are trained as well.
    """

    units: tuple[int, ...]
    """Of the hidden layer."""
    alone: bool = False

    def __post_init__(self) -> None:
        wholes("units", self.units)
        object.__setattr__(self, "units", tuple(self.units))
        if not self.units or min(self.units) < 0:
            raise UsageError(f"OnlyUnits needs numbers of hidden units, 0 or more; got {self.units}.")

    @property
    def label(self) -> str:
        return f"{len(self.units)} units{' alone' if self.alone else ''}"

    def start(self, part: Part, state: State) -> None:
        name = f"{one_hidden_layer(part.nets.host, 'OnlyUnits').layers[1]}.weight"
        if self.alone:
            part.params[name].masked_fill_(self.fixed(part)[name], 0)
            state["held"][part.names.index(name)].copy_(part.params[name])

    def fixed(self, part: Part) -> dict[str, Tensor]:
        """Which weights stay: masks without the net axis.

        Raises:
            UsageError: a host that is no perceptron with one hidden layer, or too few units in it.
        """
        first, second = one_hidden_layer(part.nets.host, "OnlyUnits").layers
        width = part.params[f"{first}.bias"].shape[1]
        if max(self.units) >= width:
            raise UsageError(f"The hidden layer has {width} units; got unit {max(self.units)}.")
        others = torch.ones(width, dtype=torch.bool, device=part.nets.device)
        others[list(self.units)] = False
        return {
            f"{first}.weight": others[:, None],
            f"{first}.bias": others,
            f"{second}.weight": others,
            f"{second}.bias": torch.tensor(not self.alone, device=part.nets.device),
        }
