"""The network in float32 by one compiled loop over its weights (`circuits/kernel.py`), with memory around it.

Shapes: L lanes of a block, R rows of the network, O bits out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from holdfast.chip.engines.looped import Looped, Wires
from holdfast.chip.engines.loops import put_rows, run_kernel
from holdfast.chip.memory import Memory
from holdfast.circuits import Recurrent
from holdfast.circuits.compiler import zeros
from holdfast.circuits.kernel import BLOCK, sums_of


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
            values_RL = zeros((tick.inputs + len(tick.bias), 1 if count == 1 else BLOCK), np.float32)
            values_RL[core.inputs : tick.inputs] = core.power_up(1).detach().cpu().numpy().T
            put_rows(values_RL, wires.place.pc, lanes.pc)
            self._values.append(values_RL)
        self.run_block(0, 0)  # what compiles, compiles, and no run has to

    def bits(self, number: int, rows: slice) -> NDArray[np.bool_]:
        return self._values[number][rows, : len(self._blocks[number].pc)].astype(np.bool_)

    def run_block(self, number: int, ticks: int) -> tuple[int, bool, int]:
        lanes, first = self._blocks[number], self._firsts[number]
        network = self._values[number], self._sums, self._outputs, self._wires.place
        return run_kernel(*network, self._tables, lanes, first, self._events, ticks)
