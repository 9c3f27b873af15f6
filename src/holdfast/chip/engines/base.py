"""What a machine asks of the engine that computes its ticks. (B lanes.)"""

from typing import NamedTuple, Protocol

from torch import Tensor

from holdfast.chip.memory import Kind
from holdfast.chip.ports import Asked


class Event(NamedTuple):
    """An access that is not merely done: an output, or one that is refused, whose lane has halted."""

    lane: int
    kind: Kind
    """Of memory at that address."""
    access: int
    """As in `ports`."""
    address: int
    data: int


class Advanced(NamedTuple):
    """What became of some ticks."""

    ticks: int
    """That were computed: fewer than asked for where no core runs any more."""
    runs: bool
    """Whether a core still runs."""
    events: list[Event]
    """Of one lane in the order in which they were."""


class Engine(Protocol):
    """B cores with a memory. Registers start as 0, and `pc` at the entries."""

    pc_B: Tensor
    """Where the instruction is that the next tick executes."""
    waited_B: Tensor
    """How many ticks were the first of a load's two."""
    halted_B: Tensor
    """After how many ticks it was halted."""

    @property
    def asked(self) -> Asked | None:
        """What the last tick wanted of memory; None if nothing."""

    def advance(self, ticks: int) -> Advanced:
        """So many ticks, or up to the first after which no core runs. Stores are done before the next fetch."""

    def word(self, register: str) -> Tensor:
        """What it holds, a whole number for each lane."""
