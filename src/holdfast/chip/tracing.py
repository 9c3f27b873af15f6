"""What a lane of a machine does, an instruction a line."""

from collections.abc import Iterator

from holdfast.chip.disassembly import REGISTERS, disassemble, written
from holdfast.chip.machine import Machine
from holdfast.chip.ports import STORED
from holdfast.errors import UsageError, counted

HEADING = f"{'tick':>8}  {'pc':8}  {'instruction':<28}  changed"


def trace(machine: Machine, cycles: int, lane: int = 0) -> Iterator[str]:
    """Run up to so many ticks, or until every lane has ended, and give a line for each instruction of one lane.

    It has the tick (a load's second), the pc, the instruction, and the register that it wrote, or the address and
    the bytes that it stored. What is stored in the output word is also in `machine.outputs`.

    Raises:
        UsageError: no such lane; ticks that are no whole number of 1 or more.
    """
    counted("A trace", cycles=cycles)
    if not 0 <= lane < machine.lanes:
        raise UsageError(f"Lanes are 0 to {machine.lanes - 1}; got {lane}.")
    for _ in range(cycles):
        pc, word, executed = int(machine.pc_B[lane]), int(machine.instr_B[lane]), int(machine.instructions_B[lane])
        runs = machine.tick()
        if machine.instructions_B[lane] > executed:
            line = f"{machine.ticks:>8}  {pc:08x}  {disassemble(word, pc):<28}  {_changed(machine, lane, word)}"
            yield line.rstrip()
        if not runs:
            return


def _changed(machine: Machine, lane: int, word: int) -> str:
    if to := written(word):
        return f"{REGISTERS[to]} = {int(machine.word(f'registers[{to}]')[lane]):#010x}"
    if machine.asked is None or not (stored := int(machine.asked.access_B[lane]) & STORED):
        return ""
    size = stored.bit_count()
    address, data = int(machine.asked.address_B[lane]), int(machine.asked.data_B[lane]) & (1 << 8 * size) - 1
    return f"[{address:#010x}] = {data:#0{2 + 2 * size}x}"
