"""A machine's ticks as compiled loops: memory, and around it the float kernel or words of bits.

Shapes: L lanes of a block; R rows of the network; I bits in, O bits out, W words of 64 lanes.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdfast.chip.memory import WORDS, Kind
from holdfast.chip.ports import LOAD, STORED
from holdfast.circuits.bitwise import LANES, call
from holdfast.circuits.compiler import compiled
from holdfast.circuits.kernel import Floats, compute

Ints = NDArray[np.int64]
OUTPUT, LOADS = int(Kind.OUTPUT), LOAD.bit_length() - 1
LOW = (1 << 32) - 1


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


@compiled
def _found(tables: Any, number: int, piece: int) -> int:
    """The piece of memory in which a word is, looked for first where the last one was."""
    edges = tables.edges
    if piece and edges[piece - 1] <= number and (piece == len(edges) or number < edges[piece]):
        return piece
    return int(np.searchsorted(edges, number, side="right"))


@compiled
def _fetch(tables: Any, lanes: Any, first: int) -> None:
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


@compiled
def _serve(tables: Any, lanes: Any, first: int, events: Ints, count: int) -> tuple[bool, int]:
    """Do what the cores ask of memory; whether one still runs, and how many events there are now.

    Where an access is refused, `following` is the pc and `halted` is 1: it is for the engine to put that into the
    core's state.

    Args:
        tables, lanes, first: as of `_fetch`.
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
                events[count, 0], events[count, 1], events[count, 2] = first + lane, kind, access
                events[count, 3], events[count, 4] = lanes.address[lane], lanes.data[lane]
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


@compiled
def run_kernel(
    values_RL: Floats,
    sums: Any,
    outputs: Ints,
    place: Any,
    tables: Any,
    lanes: Any,
    first: int,
    events: Ints,
    ticks: int,
) -> tuple[int, bool, int]:
    """So many ticks, or fewer: until no core runs, or events are more than are kept."""
    count, inputs = 0, len(values_RL) - len(sums.bias)
    next_S = outputs[len(outputs) - place.state :]
    state_SL = np.empty((place.state, values_RL.shape[1]), np.float32)
    for tick in range(ticks):
        if count + len(lanes.pc) > len(events):
            return tick, True, count
        _fetch(tables, lanes, first)
        put_rows(values_RL, place.instr, lanes.instr)
        put_rows(values_RL, place.rdata, lanes.rdata)
        compute(values_RL, sums)
        _from_rows(values_RL, outputs[place.following :][:32], lanes.following)
        _from_rows(values_RL, outputs[place.address :][:32], lanes.address)
        _from_rows(values_RL, outputs[place.data :][:32], lanes.data)
        _from_rows(values_RL, outputs[place.strobe :][:4], lanes.access)
        for lane in range(len(lanes.pc)):
            lanes.access[lane] |= np.int64(values_RL[outputs[place.read], lane]) << 4
            lanes.halted[lane] = np.int64(values_RL[outputs[place.halts], lane])
        # Some of what the state becomes may stand in the state itself.
        for bit in range(place.state):
            state_SL[bit] = values_RL[next_S[bit]]
        values_RL[inputs - place.state : inputs] = state_SL
        before = count
        runs, count = _serve(tables, lanes, first, events, count)
        for event in range(before, count):
            if events[event, 1] != OUTPUT:
                lane = events[event, 0] - first
                values_RL[place.halted, lane] = 1
                for bit in range(32):
                    values_RL[place.pc + bit, lane] = lanes.pc[lane] >> bit & 1
        if not runs:
            return tick + 1, False, count
    return ticks, True, count


@compiled
def put_rows(values_RL: Floats, row: int, words: Ints) -> None:
    """Put words on 32 rows."""
    for bit in range(32):
        for lane in range(len(words)):
            values_RL[row + bit, lane] = words[lane] >> bit & 1


@compiled
def _from_rows(values_RL: Floats, rows: Ints, words: Ints) -> None:
    """Read words off rows."""
    words[:] = 0
    for bit in range(len(rows)):
        read = values_RL[rows[bit]]
        for lane in range(len(words)):
            words[lane] |= np.int64(read[lane]) << bit


@compiled
def run_bits(
    step: int,
    in_IW: Ints,
    out_OW: Ints,
    place: Any,
    tables: Any,
    lanes: Any,
    first: int,
    events: Ints,
    ticks: int,
) -> tuple[int, bool, int]:
    """So many ticks, or fewer: until no core runs, or events are more than are kept."""
    count = 0
    square = np.empty(LANES, np.int64)
    for tick in range(ticks):
        if count + len(lanes.pc) > len(events):
            return tick, True, count
        _fetch(tables, lanes, first)
        _to_bits(in_IW, place, lanes, square)
        call(step, in_IW.ctypes.data, out_OW.ctypes.data)  # type: ignore[call-arg]  # numba gives the first
        in_IW[len(in_IW) - place.state :] = out_OW[len(out_OW) - place.state :]
        _from_bits(out_OW, place, lanes, square)
        before = count
        runs, count = _serve(tables, lanes, first, events, count)
        for event in range(before, count):
            if events[event, 1] != OUTPUT:
                lane = events[event, 0] - first
                put_bits(in_IW, place.halted, 1, lane, 1)
                put_bits(in_IW, place.pc, 32, lane, lanes.pc[lane])
        if not runs:
            return tick + 1, False, count
    return ticks, True, count


@compiled
def _to_bits(in_IW: Ints, place: Any, lanes: Any, square: Ints) -> None:
    """Put what memory answers on the circuit's inputs."""
    for w in range(in_IW.shape[1]):
        top, many = LANES * w, min(LANES, len(lanes.pc) - LANES * w)
        square[:] = 0
        for lane in range(many):
            square[lane] = lanes.instr[top + lane] | lanes.rdata[top + lane] << 32
        _transpose(square)
        for bit in range(32):
            in_IW[place.instr + bit, w] = square[bit]
            in_IW[place.rdata + bit, w] = square[32 + bit]


@compiled
def _from_bits(out_OW: Ints, place: Any, lanes: Any, square: Ints) -> None:
    """Read what is asked of memory off its outputs."""
    for w in range(out_OW.shape[1]):
        top, many = LANES * w, min(LANES, len(lanes.pc) - LANES * w)
        for bit in range(32):
            square[bit] = out_OW[place.following + bit, w]
            square[32 + bit] = out_OW[place.address + bit, w]
        _transpose(square)
        for lane in range(many):
            lanes.following[top + lane] = square[lane] & LOW
            lanes.address[top + lane] = square[lane] >> 32 & LOW
        square[:] = 0
        for bit in range(32):
            square[bit] = out_OW[place.data + bit, w]
        for bit in range(4):
            square[32 + bit] = out_OW[place.strobe + bit, w]
        square[36], square[37] = out_OW[place.read, w], out_OW[place.halts, w]
        _transpose(square)
        for lane in range(many):
            lanes.data[top + lane] = square[lane] & LOW
            lanes.access[top + lane] = square[lane] >> 32 & 31
            lanes.halted[top + lane] = square[lane] >> 37 & 1


@compiled
def _transpose(square: Ints) -> None:
    """Bit j of word i becomes bit i of word j, of 64: blocks of 32 are exchanged, then those of 16 in each."""
    mask, size = LOW, 32
    while size:
        for top in range(0, LANES, 2 * size):
            for at in range(top, top + size):
                changed = ((square[at] >> size) ^ square[at + size]) & mask
                square[at + size] ^= changed
                square[at] ^= changed << size
        size >>= 1
        mask ^= mask << size


@compiled
def put_bits(in_IW: Ints, row: int, width: int, lane: int, word: int) -> None:
    """Put a word on some rows of one lane."""
    w, one = lane // LANES, np.int64(1) << lane % LANES
    for bit in range(width):
        if word >> bit & 1:
            in_IW[row + bit, w] |= one
        else:
            in_IW[row + bit, w] &= ~one
