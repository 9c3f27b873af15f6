"""What a pressure yields at each look."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from holdfast.training.nets import Nets


@dataclass(frozen=True)
class Checkpoint:
    """K nets at one step of their training. `nets` goes on changing once the next checkpoint is asked for."""

    step: int
    nets: Nets
    previous: Nets
    """The same nets at the look before (at step 0: the nets themselves)."""
    gradient: Callable[[], Mapping[str, Tensor]]
    """The pressure's own loss gradient on a fixed set of training draws, by parameter, in the nets' shapes."""
    counted: str = "steps"
    """What `step` counts: optimiser steps, or calls where none were seen."""
    shown: Callable[[], Mapping[str, Tensor]] | None = None
    """How many examples of each batch since the look before came from each version of the data: counts_KS by the
    version's name (`clean`, and what was mixed in). None: not known."""
