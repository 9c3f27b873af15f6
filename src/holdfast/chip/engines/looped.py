"""Memory for engines that are compiled loops: lanes in blocks, each of which runs for many ticks by itself.

Shapes: B lanes, L of them in a block.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.chip.engines.base import Advanced, Event
from holdfast.chip.memory import WORDS, Kind, Memory
from holdfast.chip.ports import LOAD, STORED, Asked, refuse_ports
from holdfast.circuits.compiler import njit
from holdfast.circuits.netlist import Port

Ints = NDArray[np.int64]
MOST_EVENTS = 4096
"""That are kept until Python is told of them."""
OUTPUT, LOADS = int(Kind.OUTPUT), LOAD.bit_length() - 1


class Lanes(NamedTuple):
    """Of each lane, as arrays (L,)."""

    pc: Ints
    """Of the instruction that is executed."""
    instr: Ints
    rdata: Ints
    following: Ints
    """The next pc."""
    address: Ints
    data: Ints
    access: Ints
    halted: Ints
    waits: Ints
    """How many ticks were the first of a load's two."""
    halts: Ints
    """After how many ticks it was halted."""
    fetched: Ints
    """Piece of memory that the last fetch was from: most often the next is from the same."""
    accessed: Ints


class Tables(NamedTuple):
    """`Memory` as arrays; `words` are the same memory."""

    words: Ints
    edges: Ints
    moves: Ints
    kinds: Ints
    notable: Ints
    masks: Ints


class Place(NamedTuple):
    """Where the ports that memory needs begin, among a core's bits in and out, and how many bits its state has.

    The state are the last bits in and the last bits out.
    """

    rdata: int
    instr: int
    pc: int
    halted: int
    following: int
    address: int
    data: int
    strobe: int
    read: int
    halts: int
    state: int


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
        """Ticks that were computed, whether a core still runs, and how many events there are: `run` of a subclass."""

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


@njit(cache=True)
def _found(tables: Any, number: int, piece: int) -> int:
    """The piece of memory in which a word is, looked for first where the last one was."""
    edges = tables.edges
    if piece and edges[piece - 1] <= number and (piece == len(edges) or number < edges[piece]):
        return piece
    return int(np.searchsorted(edges, number, side="right"))


@njit(cache=True)
def fetch(tables: Any, lanes: Any, first: int) -> None:
    """The instructions at `pc`.

    Args:
        tables: `Tables`.
        lanes: `Lanes` of a block.
        first: which lane is its first.
    """
    for lane in range(len(lanes.pc)):
        number = (lanes.pc[lane] >> 2) + (first + lane) * WORDS
        piece = _found(tables, number, lanes.fetched[lane])
        lanes.fetched[lane] = piece
        lanes.instr[lane] = tables.words[max(number + tables.moves[piece], 0)]


@njit(cache=True)
def serve(tables: Any, lanes: Any, first: int, events: Ints, count: int) -> tuple[bool, int]:
    """Do what the cores ask of memory; whether one still runs, and how many events there are now.

    Where an access is refused, `following` is the pc and `halted` is 1: it is for the engine to put that into the
    core's state.

    Args:
        tables, lanes, first: as of `fetch`.
        events: where they are kept, one a lane at most.
        count: how many there are.
    """
    runs = False
    for lane in range(len(lanes.pc)):
        access = lanes.access[lane]
        if access:
            number = (lanes.address[lane] >> 2) + (first + lane) * WORDS
            piece = _found(tables, number, lanes.accessed[lane])
            lanes.accessed[lane] = piece
            if access & tables.notable[piece]:
                kind = tables.kinds[piece]
                events[count, 0], events[count, 1] = first + lane, kind
                events[count, 2], events[count, 3], events[count, 4] = access, lanes.address[lane], lanes.data[lane]
                count += 1
                if kind != OUTPUT:
                    access = 0
                    lanes.access[lane], lanes.halted[lane], lanes.following[lane] = 0, 1, lanes.pc[lane]
        if access:
            at = number + tables.moves[piece]
            held = tables.words[at]
            if access & STORED:
                tables.words[at] = held ^ ((held ^ lanes.data[lane]) & tables.masks[access & STORED])
            lanes.rdata[lane] = held
            lanes.waits[lane] += access >> LOADS
        lanes.halts[lane] += lanes.halted[lane]
        runs |= lanes.halted[lane] == 0
        lanes.pc[lane] = lanes.following[lane]
    return runs, count
