"""The core's circuit on words of bits, a lane a bit (`circuits/bitwise.py`), with memory around it.

Shapes: L lanes of a block, I bits in, O bits out, W words of 64 lanes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.chip.engines.looped import Looped, Wires
from holdfast.chip.engines.loops import put_bits, run_bits
from holdfast.chip.memory import Memory
from holdfast.circuits.bitwise import LANES, WORDS, Bitwise
from holdfast.circuits.clocked import Clocked
from holdfast.circuits.compiler import zeros


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
        self._in, self._out = [], zeros((wires.bits_out, words), np.int64)
        for lanes in self._blocks:
            bits_IW = zeros((wires.bits_in, words), np.int64)
            bits_IW[wires.bits_in - state :] = np.array(initial)[:, None]
            for lane, pc in enumerate(lanes.pc.tolist()):
                put_bits(bits_IW, wires.place.pc, 32, lane, pc)
            self._in.append(bits_IW)
        self.run_block(0, 0)  # what compiles, compiles, and no run has to

    def bits(self, number: int, rows: slice) -> NDArray[np.bool_]:
        packed, lanes = self._in[number][rows].astype("<i8").view(np.uint8), len(self._blocks[number].pc)
        return np.unpackbits(packed, axis=1, count=lanes, bitorder="little").astype(np.bool_)

    def run_block(self, number: int, ticks: int) -> tuple[int, bool, int]:
        lanes, first = self._blocks[number], self._firsts[number]
        step, bits_IW, out_OW, place = self._circuit.address, self._in[number], self._out, self._wires.place
        return run_bits(step, bits_IW, out_OW, place, self._tables, lanes, first, self._events, ticks)
