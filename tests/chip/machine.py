"""The core in Amaranth's simulator, with ROM and RAM around it."""

from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

WHY = 'the core is written in Amaranth: pip install "holdfast[hdl]"'
hdl = pytest.importorskip("amaranth.hdl", reason=WHY)
sim = pytest.importorskip("amaranth.sim", reason=WHY)
ILLEGAL = 0
"""What ROM holds where no instruction stands."""


class Executed(NamedTuple):
    """One instruction: where it stood, what x1 to x31 held after it, and of a store the word in RAM after it."""

    pc: int
    registers: tuple[int, ...]
    stored: tuple[int, int] | None


@dataclass
class Ended:
    """What the core executed, and where it is after the last tick."""

    trace: list[Executed] = field(default_factory=list)
    registers: tuple[int, ...] = ()
    pc: int = 0
    halted: bool = False
    cause: int = 0
    ticks: int = 0


def run(core, code, ram, *, instructions=0, ticks=0, held=None, reset_at=0, traced=True):
    """A reset in the first tick (and one in that of `reset_at`); then so many instructions, or until it halts.

    Args:
        code: word addresses to instructions.
        ram: word addresses to words; changed in place.
        ticks: if given, exactly so many instead, also when it halts.
        held: what registers hold at first, where it isn't 0.
    """
    ended = Ended()
    m = hdl.Module()
    m.domains.sync = sync = hdl.ClockDomain()
    m.submodules.core = core

    async def bench(ctx):
        def registers():
            return tuple(ctx.get(core.registers.data[at]) for at in range(1, 32))

        for register, value in (held or {}).items():
            ctx.set(core.registers.data[register], value)
        executed = 0
        # An instruction takes two ticks at most; a broken core may take forever.
        while ended.ticks < (ticks or 2 * instructions + 1):
            if not ticks and (executed == instructions or ctx.get(core.halted)):
                break
            ctx.set(sync.rst, ended.ticks in (0, reset_at))
            pc = ctx.get(core.pc)
            ctx.set(core.instr, code.get(pc, ILLEGAL))
            address, strobe = ctx.get(core.address) & ~3, ctx.get(core.strobe)
            stored = None
            if strobe:
                mask = sum(0xFF << 8 * at for at in range(4) if strobe >> at & 1)
                ram[address] = ram.get(address, 0) & ~mask | ctx.get(core.wdata) & mask
                stored = address, ram[address]
            answer = ram.get(address, 0) if ctx.get(core.read) else 0xDEAD_BEEF
            done = not (ctx.get(core.read) or ctx.get(sync.rst) or ctx.get(core.halted))
            await ctx.tick()
            ctx.set(core.rdata, answer)
            ended.ticks += 1
            if done and not ctx.get(core.halted):
                executed += 1
                if traced:
                    ended.trace.append(Executed(pc, registers(), stored))
        ended.registers, ended.pc = registers(), ctx.get(core.pc)
        ended.halted, ended.cause = bool(ctx.get(core.halted)), ctx.get(core.cause)

    simulator = sim.Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return ended
