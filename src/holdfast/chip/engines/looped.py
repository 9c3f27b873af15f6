"""What engines that are compiled loops have in common: lanes in blocks, which run for many ticks by themselves.

Shapes: B lanes, L of them in a block.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.chip.engines.base import Advanced, Event
from holdfast.chip.engines.loops import LOADS, Lanes, Place, Tables
from holdfast.chip.memory import Kind, Memory
from holdfast.chip.ports import Asked, refuse_ports
from holdfast.circuits.netlist import Port

MOST_EVENTS = 4096
"""That are kept until Python is told of them."""


ASKED = {
    "following": "pc'",
    "address": "address",
    "data": "wdata",
    "strobe": "strobe",
    "read": "read",
    "halts": "halted'",
}


class Wires:
    """A core's ports, by the places of their bits.

    Raises:
        UsageError: they are none of a core.
    """

    def __init__(self, name: str, ins: Sequence[Port], outs: Sequence[Port], state: int) -> None:
        refuse_ports(name, ins, outs)
        self.ins, self.outs = _places(ins), _places(outs)
        self.bits_in, self.bits_out = (sum(len(port.bits) for port in each) for each in (ins, outs))
        given = {name: self.ins[name].start for name in ("rdata", "instr", "pc", "halted")}
        asked = {name: self.outs[port].start for name, port in ASKED.items()}
        self.place = Place(**given, **asked, state=state)


def _places(ports: Sequence[Port]) -> dict[str, slice]:
    ends = np.cumsum([len(port.bits) for port in ports]).tolist()
    return {port.name: slice(end - len(port.bits), end) for port, end in zip(ports, ends, strict=True)}


class Looped(ABC):
    """See `Engine`. How a block's cores are computed is left open.

    Lanes don't know of one another, so a block runs as long as it is to and then the next one does.
    """

    def __init__(self, memory: Memory, entries: Sequence[int], wires: Wires, block: int) -> None:
        """
        Args:
            block: lanes of one.
        """
        memory.to(torch.device("cpu"))
        self._wires = wires
        self._tables = Tables(
            memory.words.numpy(),
            memory.edges.numpy(),
            memory.moves.numpy(),
            np.array(memory.kinds, np.int64),
            memory.notables.numpy(),
            memory.masks.numpy(),
        )
        self._lanes = Lanes(*(np.zeros(len(entries), np.int64) for _ in Lanes._fields))
        self._lanes.pc[:] = entries
        self._firsts = range(0, len(entries), block)
        self._blocks = [Lanes(*(each[at : at + block] for each in self._lanes)) for at in self._firsts]
        self._events = np.zeros((max(MOST_EVENTS, block), len(Event._fields)), np.int64)
        lanes = self._lanes
        self.pc_B, self.waited_B, self.halted_B = map(torch.from_numpy, (lanes.pc, lanes.waits, lanes.halts))

    @abstractmethod
    def run_block(self, number: int, ticks: int) -> tuple[int, bool, int]:
        """Ticks that were computed, whether a core still runs, and how many events there are."""

    @abstractmethod
    def bits(self, number: int, rows: slice) -> NDArray[np.bool_]:
        """Bits in of one block's cores, (rows, L)."""

    @property
    def asked(self) -> Asked | None:
        lanes = self._lanes
        if not lanes.access.any():
            return None
        waits, halted = lanes.access >> LOADS, -lanes.halted
        said = (lanes.pc, lanes.address, lanes.data, lanes.access, waits, halted)
        return Asked(*(torch.from_numpy(each.copy()) for each in said))

    def word(self, register: str) -> Tensor:
        rows = self._wires.ins[register]
        bits_NB = np.concatenate([self.bits(number, rows) for number in range(len(self._blocks))], 1)
        weights_N1 = 1 << np.arange(len(bits_NB))[:, None]
        return torch.from_numpy((bits_NB * weights_N1).sum(0))

    def advance(self, ticks: int) -> Advanced:
        events: list[Event] = []
        done, running = [], False
        for number in range(len(self._blocks)):
            at, runs = 0, True
            while runs and at < ticks:
                more, runs, count = self.run_block(number, ticks - at)
                at += more
                events += [Event(lane, Kind(kind), *said) for lane, kind, *said in self._events[:count].tolist()]
            done.append(at)
            running = running or runs
        most = max(done)
        for block, at in zip(self._blocks, done, strict=True):
            # It has halted, and stays so.
            block.halts[:] += most - at
        return Advanced(most, running, events)
