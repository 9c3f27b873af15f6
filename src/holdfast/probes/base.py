"""What a probe is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from holdfast.parts import Implant
from holdfast.pressures.base import Checkpoint
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets


@dataclass(frozen=True)
class Look:
    """One checkpoint of K nets, with what a probe compares it with."""

    checkpoint: Checkpoint
    start: Nets
    """The nets at step 0."""
    implant: Implant
    split: Split
    """The examples to measure on."""
    train: Split
    """The training examples, for what is to be known of training itself."""
    masks: Mapping[str, Mapping[str, Tensor]]
    """Which weights carry each part of the implant, found at step 0; all false in a control. An implant that is one
    thing has one part, and the ending `""`: what measures of it are called in addition."""

    @classmethod
    def at_start(cls, nets: Nets, implant: Implant, split: Split, train: Split | None = None) -> "Look":
        """A look before any pressure: there is no gradient yet, and no implant weights are named.

        `train`: None stands for the examples that are measured on.
        """
        point = Checkpoint(0, nets, nets, dict)
        return cls(checkpoint=point, start=nets, implant=implant, split=split, train=train or split, masks={})

    @property
    def nets(self) -> Nets:
        return self.checkpoint.nets

    @cached_property
    def gradient(self) -> Mapping[str, Tensor]:
        """The pressure's gradient, computed once however many probes ask."""
        return self.checkpoint.gradient()
