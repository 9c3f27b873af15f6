"""What a machine asks of the engine that computes its ticks, and which engines there are. (B lanes.)"""

from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, Protocol

from torch import Tensor

from holdfast.chip.compiled import clocked_core, compiled_core
from holdfast.chip.memory import Kind, Memory
from holdfast.chip.ports import Asked
from holdfast.circuits import Recurrent
from holdfast.circuits.clocked import Clocked
from holdfast.errors import HoldfastError, UsageError, nearest

ENGINES = ("network", "kernel", "bits")
"""The network in PyTorch; its sums in one compiled loop; its circuit on words of bits."""


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


def fastest() -> str:
    """The fastest engine that can be loaded here."""
    try:
        import_module("holdfast.chip.engines.bits")
    except HoldfastError:
        return "network"
    return "bits"


def refuse_unknown(engine: str) -> None:
    """
    Raises:
        UsageError: it is none of `ENGINES`.
    """
    if engine not in ENGINES:
        raise nearest(str(engine), ENGINES, what="engine")


def engine_of(name: str, memory: Memory, entries: Sequence[int], core: Recurrent | Clocked | None) -> Engine:
    """An engine by its name, beginning at these addresses, one for each lane.

    Args:
        core: a network, or for "bits" the circuit. Default: `compiled_core()`, `clocked_core()`.

    Raises:
        UsageError: no such engine, or a core that it cannot take.
        HoldfastError: what it needs is not installed.
    """
    refuse_unknown(name)
    if name == "bits":
        if isinstance(core, Recurrent):
            raise UsageError("Engine bits computes a circuit and reads no weights: give it core=clocked_core().")
        from holdfast.chip.engines.bits import BitsEngine

        return BitsEngine(memory, entries, core or clocked_core())
    if isinstance(core, Clocked):
        raise UsageError(f"Engine {name} computes a network: give it core=compiled_core(), or take engine bits.")
    if name == "kernel":
        from holdfast.chip.engines.kernel import KernelEngine

        return KernelEngine(memory, entries, core or compiled_core())
    from holdfast.chip.engines.network import NetworkEngine

    return NetworkEngine(memory, entries, core or compiled_core())
