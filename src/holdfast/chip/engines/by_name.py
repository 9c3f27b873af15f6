"""Which engines there are, and which of them is the fastest here."""

from collections.abc import Sequence
from importlib import import_module

from holdfast.chip.compiled import clocked_core, compiled_core
from holdfast.chip.engines.base import Engine
from holdfast.chip.memory import Memory
from holdfast.circuits import Recurrent
from holdfast.circuits.clocked import Clocked
from holdfast.errors import HoldfastError, UsageError, nearest

ENGINES = ("network", "kernel", "bits")
"""The network in PyTorch; its sums in one compiled loop; its circuit on words of bits."""


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
