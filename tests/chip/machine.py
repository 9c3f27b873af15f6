"""The core in Amaranth's simulator, with ROM and RAM around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator

from holdfast.chip.core import Core

ILLEGAL = 0
"""What ROM holds where no instruction stands."""


@dataclass
class Ended:
    """Where the core is after the last tick, and what it executed: (pc, x1 to x31 after it, word stored)."""

    trace: list[tuple[int, tuple[int, ...], tuple[int, int] | None]] = field(default_factory=list)
    registers: tuple[int, ...] = ()
    pc: int = 0
    halted: bool = False
    cause: int = 0
    ticks: int = 0


def run(
    core: Core,
    code: Mapping[int, int],
    ram: dict[int, int],
    *,
    instructions: int = 1 << 30,
    ticks: int = 1 << 30,
    held: Mapping[int, int] | None = None,
    reset_at: int = 0,
    traced: bool = True,
) -> Ended:
    """Reset in the first tick (or in that of `reset_at` too), then so many instructions or ticks, or until it halts.

    Args:
        code: word addresses to instructions.
        ram: word addresses to words; changed in place.
        held: what registers hold at first, where it isn't 0.
    """
    ended = Ended()
    m = Module()
    m.domains.sync = sync = ClockDomain()
    m.submodules.core = core

    async def bench(ctx):
        def registers():
            return tuple(ctx.get(core.registers.data[at]) for at in range(1, 32))

        for register, value in (held or {}).items():
            ctx.set(core.registers.data[register], value)
        executed = 0
        while executed < instructions and ended.ticks < ticks and not ctx.get(core.halted):
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
            done = not (ctx.get(core.read) or ctx.get(sync.rst))
            await ctx.tick()
            ctx.set(core.rdata, answer)
            ended.ticks += 1
            if done and not ctx.get(core.halted):
                executed += 1
                if traced:
                    ended.trace.append((pc, registers(), stored))
        ended.registers, ended.pc = registers(), ctx.get(core.pc)
        ended.halted, ended.cause = bool(ctx.get(core.halted)), ctx.get(core.cause)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return ended
