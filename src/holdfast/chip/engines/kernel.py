"""The network in float32 by one compiled loop over its weights (`circuits/kernel.py`), with memory around it.

Shapes: L lanes of a block, R rows of the network, O bits out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.chip.engines.looped import OUTPUT, Ints, Looped, Wires, fetch, serve
from holdfast.chip.memory import Memory
from holdfast.circuits import Recurrent
from holdfast.circuits.compiler import njit
from holdfast.circuits.kernel import BLOCK, Floats, compute, sums_of


class KernelEngine(Looped):
    """See `Engine`. The weights are those that the core has now."""

    def __init__(self, memory: Memory, entries: Sequence[int], core: Recurrent) -> None:
        """
        Raises:
            UsageError: a network that is no core, or not in float32.
        """
        tick = core.tick
        wires = Wires(tick.name, tick.input_ports, tick.output_ports, core.state_bits)
        self._sums, self._outputs = sums_of(tick), tick.outputs.cpu().numpy()
        super().__init__(memory, entries, wires, BLOCK)
        self._values = []
        for lanes in self._blocks:
            count = len(lanes.pc)
            values_RL = np.zeros((tick.inputs + len(tick.bias), 1 if count == 1 else BLOCK), np.float32)
            values_RL[core.inputs : tick.inputs] = core.power_up(1).detach().cpu().numpy().T
            _set(values_RL, wires.place.pc, lanes.pc)
            self._values.append(values_RL)

    def bits(self, number: int, rows: slice) -> NDArray[np.bool_]:
        return self._values[number][rows, : len(self._blocks[number].pc)].astype(np.bool_)

    def run_block(self, number: int, ticks: int) -> tuple[int, bool, int]:
        lanes, first = self._blocks[number], self._firsts[number]
        values_RL, place = self._values[number], self._wires.place
        return _run(values_RL, self._sums, self._outputs, place, self._tables, lanes, first, self._events, ticks)


@njit(cache=True)
def _run(
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
        fetch(tables, lanes, first)
        _set(values_RL, place.instr, lanes.instr)
        _set(values_RL, place.rdata, lanes.rdata)
        compute(values_RL, sums)
        _get(values_RL, outputs[place.following :][:32], lanes.following)
        _get(values_RL, outputs[place.address :][:32], lanes.address)
        _get(values_RL, outputs[place.data :][:32], lanes.data)
        _get(values_RL, outputs[place.strobe :][:4], lanes.access)
        for lane in range(len(lanes.pc)):
            lanes.access[lane] |= np.int64(values_RL[outputs[place.read], lane]) << 4
            lanes.halted[lane] = np.int64(values_RL[outputs[place.halts], lane])
        # Some of what the state becomes may stand in the state itself.
        for bit in range(place.state):
            state_SL[bit] = values_RL[next_S[bit]]
        values_RL[inputs - place.state : inputs] = state_SL
        before = count
        runs, count = serve(tables, lanes, first, events, count)
        for event in range(before, count):
            if events[event, 1] != OUTPUT:
                lane = events[event, 0] - first
                values_RL[place.halted, lane] = 1
                for bit in range(32):
                    values_RL[place.pc + bit, lane] = lanes.pc[lane] >> bit & 1
        if not runs:
            return tick + 1, False, count
    return ticks, True, count


@njit(cache=True)
def _set(values_RL: Floats, row: int, words: Ints) -> None:
    """Put words on 32 rows."""
    for bit in range(32):
        for lane in range(len(words)):
            values_RL[row + bit, lane] = words[lane] >> bit & 1


@njit(cache=True)
def _get(values_RL: Floats, rows: Ints, words: Ints) -> None:
    """Read words off rows."""
    words[:] = 0
    for bit in range(len(rows)):
        read = values_RL[rows[bit]]
        for lane in range(len(words)):
            words[lane] |= np.int64(read[lane]) << bit
