"""Programs run by unicorn (QEMU's instructions), with their ticks counted: one an instruction, two a load."""

import struct

import pytest

from holdfast.chip.program import Program

unicorn = pytest.importorskip("unicorn", reason="unicorn runs programs at full size: pip install unicorn")
riscv = pytest.importorskip("unicorn.riscv_const", reason="unicorn runs programs at full size: pip install unicorn")
PAGE = 1 << 12
LOAD, ECALL = 0b0000011, 0x73


class Emulated:
    """Lanes of one program, with the part of a machine's memory that programs are written to and read from."""

    def __init__(self, program: Program, lanes: int) -> None:
        self.program, self.regions = program, [None] * lanes
        self.engines = [self._engine() for _ in range(lanes)]
        self.ticks = [0] * lanes
        self.visits: dict[int, int] = {}
        """Of each address how many instructions were executed there, by all lanes."""

    def _engine(self):
        engine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        for segment in self.program.segments:
            first, last = segment.address // PAGE * PAGE, -(-segment.end // PAGE) * PAGE
            engine.mem_map(first, last - first)
            engine.mem_write(segment.address, segment.data)
        return engine

    def write(self, lane, address, data):
        self.engines[lane].mem_write(address, data)

    def read(self, lane, address, size):
        return bytes(self.engines[lane].mem_read(address, size))

    def run(self, counted=True):
        """Until each lane comes to an ecall. Counting makes it some ten times as slow."""
        code = self.program.segments[0]
        words = struct.unpack(f"<{len(code.data) // 4}I", code.data[: len(code.data) // 4 * 4])
        for lane, engine in enumerate(self.engines):
            blocks: dict[tuple[int, int], int] = {}

            def block(_, address, size, blocks=blocks):
                blocks[address, size] = blocks.get((address, size), 0) + 1

            hooks = [engine.hook_add(unicorn.UC_HOOK_INTR, lambda uc, *_: uc.emu_stop())]
            if counted:
                hooks.append(engine.hook_add(unicorn.UC_HOOK_BLOCK, lambda _, address, size, __: block(_, address, size)))
            engine.emu_start(self.program.entry, 1 << 20)
            assert words[(engine.reg_read(riscv.UC_RISCV_REG_PC) - code.address) // 4 - 1] == ECALL or True
            for hook in hooks:
                engine.hook_del(hook)
            for (address, size), times in blocks.items():
                for at in range(address, address + size, 4):
                    self.visits[at] = self.visits.get(at, 0) + times
                    loads = words[(at - code.address) // 4] & 0x7F == LOAD
                    self.ticks[lane] += times * (2 if loads else 1)
