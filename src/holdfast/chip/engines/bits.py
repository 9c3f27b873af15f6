"""The core's circuit on words of bits, a lane a bit (`circuits/bitwise.py`), with memory around it.

Shapes: L lanes of a block, I bits in, O bits out, W words of 64 lanes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from holdfast.chip.engines.looped import OUTPUT, Ints, Looped, Wires, fetch, serve
from holdfast.chip.memory import Memory
from holdfast.circuits.bitwise import WORDS, Bitwise
from holdfast.circuits.clocked import Clocked
from holdfast.circuits.compiler import njit

LANES = 64
LOW = (1 << 32) - 1


class BitsEngine(Looped):
    """See `Engine`. No weights and no rounding; whatever is exact agrees with it."""

    def __init__(self, memory: Memory, entries: Sequence[int], core: Clocked) -> None:
        """
        Raises:
            UsageError: a circuit that is no core.
        """
        tick, state = core.tick, core.state_bits
        wires = Wires(tick.name, tick.inputs, tick.outputs, state)
        words = next((each for each in WORDS if LANES * each >= len(entries)), WORDS[-1])
        self._circuit = Bitwise(tick, words)
        super().__init__(memory, entries, wires, LANES * words)
        initial = [-(register.initial >> at & 1) for register in core.registers for at in range(register.width)]
        self._in, self._out = [], np.zeros((wires.bits_out, words), np.int64)
        for lanes in self._blocks:
            bits_IW = np.zeros((wires.bits_in, words), np.int64)
            bits_IW[wires.bits_in - state :] = np.array(initial)[:, None]
            for lane, pc in enumerate(lanes.pc.tolist()):
                _put(bits_IW, wires.place.pc, 32, lane, pc)
            self._in.append(bits_IW)

    def bits(self, number: int, rows: slice) -> NDArray[np.bool_]:
        packed = self._in[number][rows].astype("<i8").view(np.uint8)
        return np.unpackbits(packed, axis=1, count=len(self._blocks[number].pc), bitorder="little").astype(np.bool_)

    def run_block(self, number: int, ticks: int) -> tuple[int, bool, int]:
        lanes, first = self._blocks[number], self._firsts[number]
        step, bits_IW, out_OW, place = self._circuit.address, self._in[number], self._out, self._wires.place
        return _run(step, bits_IW, out_OW, place, self._tables, lanes, first, self._events, ticks)


@njit(cache=True)
def _run(
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
        fetch(tables, lanes, first)
        _set(in_IW, place, lanes, square)
        _call(step, in_IW.ctypes.data, out_OW.ctypes.data)  # type: ignore[call-arg]  # numba gives the first
        in_IW[len(in_IW) - place.state :] = out_OW[len(out_OW) - place.state :]
        _get(out_OW, place, lanes, square)
        before = count
        runs, count = serve(tables, lanes, first, events, count)
        for event in range(before, count):
            if events[event, 1] != OUTPUT:
                lane = events[event, 0] - first
                _put(in_IW, place.halted, 1, lane, 1)
                _put(in_IW, place.pc, 32, lane, lanes.pc[lane])
        if not runs:
            return tick + 1, False, count
    return ticks, True, count


@njit(cache=True)
def _set(in_IW: Ints, place: Any, lanes: Any, square: Ints) -> None:
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


@njit(cache=True)
def _get(out_OW: Ints, place: Any, lanes: Any, square: Ints) -> None:
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


@njit(cache=True)
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


@njit(cache=True)
def _put(in_IW: Ints, row: int, width: int, lane: int, word: int) -> None:
    """Put a word on some rows of one lane."""
    w, one = lane // LANES, np.int64(1) << lane % LANES
    for bit in range(width):
        if word >> bit & 1:
            in_IW[row + bit, w] |= one
        else:
            in_IW[row + bit, w] &= ~one


@intrinsic
def _call(typing: Any, address: Any, words_in: Any, words_out: Any) -> Any:
    """Call a compiled circuit by its address."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir

        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(each, pointer) for each in arguments[1:]])
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp), build
