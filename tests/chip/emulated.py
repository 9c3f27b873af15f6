"""Programs run by unicorn (QEMU's instructions), with their ticks counted: one an instruction, two a load."""

import struct
from collections import Counter

import pytest

from holdfast.chip.program import Program

unicorn = pytest.importorskip("unicorn", reason="unicorn runs programs at full size: pip install unicorn")
PAGE = 1 << 12
READ_EXECUTE = 5
LOAD = 0b0000011
CALLS = (8, 11)
"""Unicorn's numbers of an ecall."""
MOST_SECONDS = 60
NEVER = 1
"""An address at which no instruction stands, for unicorn to stop at."""


class Emulated:
    """Lanes of one program, with that part of a machine's memory by which they are given something and asked for it."""

    def __init__(self, program: Program, lanes: int) -> None:
        self.program, self.regions = program, [()] * lanes
        self.engines = [self._engine() for _ in range(lanes)]
        self.ticks = [0] * lanes
        self.visits: Counter[int] = Counter()
        """How many instructions all lanes have executed at each address."""

    def _engine(self):
        engine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        for segment in self.program.segments:
            first, last = segment.address // PAGE * PAGE, -(-segment.end // PAGE) * PAGE
            engine.mem_map(first, last - first)
            engine.mem_write(segment.address, segment.data)
            if not segment.writable:
                engine.mem_protect(first, last - first, READ_EXECUTE)
        return engine

    def write(self, lane, address, data):
        self.engines[lane].mem_write(address, data)

    def read(self, lane, address, size):
        return bytes(self.engines[lane].mem_read(address, size))

    def run(self):
        """Each lane, until it comes to an ecall.

        Raises:
            AssertionError, unicorn.UcError: it does not, or stops otherwise.
        """
        for lane, engine in enumerate(self.engines):
            blocks: Counter[tuple[int, int]] = Counter()
            calls = [0]

            def called(its, number, _, calls=calls):
                calls.append(number)
                its.emu_stop()

            def began(_, at, size, __, blocks=blocks):
                blocks[at, size] += 1

            hooks = [engine.hook_add(unicorn.UC_HOOK_INTR, called), engine.hook_add(unicorn.UC_HOOK_BLOCK, began)]
            engine.emu_start(self.program.entry, NEVER, timeout=MOST_SECONDS * 10**6)
            for hook in hooks:
                engine.hook_del(hook)
            assert calls[-1] in CALLS
            self._count(lane, blocks)

    def _count(self, lane, blocks):
        code = self.program.segments[0]
        loads = [word & 0x7F == LOAD for (word,) in struct.iter_unpack("<I", code.data[: len(code.data) // 4 * 4])]
        for (start, size), times in blocks.items():
            for at in range(start, start + size, 4):
                self.visits[at] += times
                self.ticks[lane] += times * (1 + loads[(at - code.address) // 4])
