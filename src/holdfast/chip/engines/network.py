"""The network in PyTorch, tick by tick, on any device: what the other engines are compared with. (B lanes.)"""

from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.chip.engines.base import Advanced, Event
from holdfast.chip.memory import Kind, Memory
from holdfast.chip.ports import HALTED, RUNS, STORED, Asked, Ports
from holdfast.circuits import Recurrent


class NetworkEngine:
    """See `Engine`. What the cores ask is read off the network's rows; nothing is done lane by lane but events."""

    def __init__(self, memory: Memory, entries: Sequence[int], core: Recurrent) -> None:
        """
        Raises:
            UsageError: a network that is no core, or not exact in its dtype.
        """
        self._ports = Ports(core, len(entries))
        device = core.tick.weight.device
        self._memory = memory.to(device)
        self.asked: Asked | None = None
        self.pc_B = torch.tensor(entries, device=device)
        self._ports.set("pc", self.pc_B)
        self.waited_B, self.halted_B = torch.zeros(2, len(entries), dtype=torch.int64, device=device)

    def word(self, register: str) -> Tensor:
        return self._ports.word(register)

    @torch.no_grad()
    def advance(self, ticks: int) -> Advanced:
        events: list[Event] = []
        for at in range(1, ticks + 1):
            if not self._tick(events):
                return Advanced(at, False, events)
        return Advanced(ticks, True, events)

    def _tick(self, events: list[Event]) -> bool:
        """Whether a core still runs after it."""
        memory = self._memory
        self._ports.set("instr", memory.words[memory.find(self.pc_B).at])
        asked = self._ports.tick()
        # One look at all lanes, since on a GPU it waits for them.
        wanted, most = torch.stack([asked.access_B, asked.halted_B]).amax(1).tolist()
        self.asked = asked if wanted else None
        if wanted:
            before = len(events)
            self._ports.set("rdata", self._access(asked, events))
            if any(event.kind != Kind.OUTPUT for event in events[before:]):
                wanted, most = int(asked.access_B.amax()), int(asked.halted_B.amax())
                self.asked = asked if wanted else None
        self.waited_B += asked.waits_B
        self.halted_B -= asked.halted_B
        self.pc_B = asked.pc_B
        return bool(most == RUNS)

    def _access(self, asked: Asked, events: list[Event]) -> Tensor:
        """Do what was asked; the words that were there before."""
        memory = self._memory
        found = memory.find(asked.address_B)
        held_B = memory.words[found.at]
        notable_B = memory.notable(asked.access_B, found.piece)
        if notable_B.any():
            for lane in notable_B.nonzero()[:, 0].tolist():
                kind = memory.kinds[int(found.piece[lane])]
                said = (int(each[lane]) for each in (asked.access_B, asked.address_B, asked.data_B))
                events.append(Event(lane, kind, *said))
                if kind != Kind.OUTPUT:
                    self._halt(lane, asked)
        memory.store(found.at, asked.access_B & STORED, held_B, asked.data_B)
        return held_B

    def _halt(self, lane: int, asked: Asked) -> None:
        """Stop this core where it is; the instruction has not been executed."""
        asked.access_B[lane] = asked.waits_B[lane] = 0
        asked.halted_B[lane] = HALTED
        asked.pc_B[lane] = self.pc_B[lane]
        self._ports.put("pc", lane, int(self.pc_B[lane]))
        self._ports.put("halted", lane, 1)
