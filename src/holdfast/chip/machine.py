"""A machine: cores side by side, each a lane of one network, with memory around them. (B lanes.)"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.chip.disassembly import disassemble
from holdfast.chip.engines.base import Event
from holdfast.chip.engines.by_name import engine_of
from holdfast.chip.instructions import Cause
from holdfast.chip.memory import OUTPUT, Kind, Memory, Ram, said
from holdfast.chip.ports import LOAD, Asked
from holdfast.chip.program import Program
from holdfast.circuits import Recurrent
from holdfast.circuits.clocked import Clocked
from holdfast.errors import UsageError, counted

FEWEST_TICKS, LEAST_S = 64, 0.05
"""An engine is asked for so many ticks, and for twice as many next while they take less time than this."""
WHY = {
    Cause.ECALL: "done (ecall)",
    Cause.EBREAK: "ebreak",
    Cause.ILLEGAL: "no instruction of RV32I",
    Cause.MISALIGNED_JUMP: "a jump to an address that is no multiple of 4",
    Cause.MISALIGNED_LOAD: "a load from a misaligned address",
    Cause.MISALIGNED_STORE: "a store to a misaligned address",
}


@dataclass(frozen=True)
class Stop:
    """Where a lane is, and why it goes no further."""

    why: str
    """In words, with the pc, and the address where there is no memory."""
    cause: Cause | None
    """Why its core halted. None if it still runs, or is outside of memory."""
    pc: int
    """Of the instruction at which it stopped."""
    address: int | None
    """Of what it wanted of memory and cannot have."""
    runs: bool
    ticks: int
    instructions: int
    """That it executed; the one at which it stopped is none of them."""

    @property
    def done(self) -> bool:
        """Whether it came to an ecall, by which a program says that it has ended."""
        return self.cause == Cause.ECALL


class Machine:
    """B cores, which between two runs are all at the same tick, without gradients (`System` has them).

    An instruction comes in the same tick in which its `pc` is shown, a word of memory in the next; stores are done
    before the next instruction is read.

    A lane ends where its core halts, where it is outside of memory, and where it stores in ROM; it then stays as
    it is. What it stores in the output word, be it a byte, a halfword or a word, is an output; a load there gives
    what the word holds.

    Args:
        programs: one for each lane. `[program] * 64` are 64 lanes with one ROM and a RAM each, into which
            `memory.write` may put something else for each.
        ram: memory beside what programs bring.
        output: address of the output word.
        core: the core as a network, or for the engine "bits" as a circuit. Default: `compiled_core()`,
            `clocked_core()`.
        engine: who computes the ticks, to the same bits: "network", PyTorch on the device where the core's weights
            are; "kernel", a compiled loop over them; "bits", the circuit they are made from, on words of bits.
            `engines.by_name.fastest()` says which is fastest here.

    Raises:
        UsageError: no lanes; addresses that are none; no such engine; a core that is none, or not for it.
        HoldfastError: programs that don't fit (`memory.regions`), or too much memory; no `hdl` to compile the
        core; no numba for the engine.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        ram: Ram | None = None,
        output: int = OUTPUT,
        core: Recurrent | Clocked | None = None,
        engine: str = "network",
    ) -> None:
        if isinstance(programs, Program) or not all(isinstance(each, Program) for each in programs):
            raise UsageError(
                f"A machine has a sequence of programs, one for each lane: [program] * lanes; got {programs!r:.80}."
            )
        if not programs:
            raise UsageError("A machine has a program for each lane; got none. Give one, or [program] * lanes.")
        self.memory = Memory(programs, ram, output)
        self.engine = engine
        self.ticks = 0
        """So far."""
        self.outputs: list[list[int]] = [[] for _ in programs]
        """What each lane has stored in the output word."""
        self._engine = engine_of(engine, self.memory, [program.entry for program in programs], core)
        self._refused: dict[int, tuple[str, int]] = {}

    @property
    def lanes(self) -> int:
        return len(self.outputs)

    @property
    def pc_B(self) -> Tensor:
        """Where the instruction is that the next tick executes."""
        return self._engine.pc_B.clone()

    @property
    def instr_B(self) -> Tensor:
        """That instruction; 0, which is none, outside of memory."""
        return self.memory.words[self.memory.find(self._engine.pc_B).at]

    @property
    def asked(self) -> Asked | None:
        """What the last tick wanted of memory; None if nothing."""
        return self._engine.asked

    @property
    def registers_B32(self) -> Tensor:
        """What x0 to x31 hold, whole numbers from 0 to 2^32."""
        return torch.stack([self.word(f"registers[{at}]") for at in range(32)], 1)

    @property
    def instructions_B(self) -> Tensor:
        """How many instructions each lane has executed."""
        return self.ticks - self._engine.waited_B - self._engine.halted_B

    def word(self, register: str) -> Tensor:
        """What a register ("pc", "registers[5]", "halted", ...) holds, a whole number for each lane."""
        return self._engine.word(register)

    def run(self, cycles: int, watch: Callable[[int], None] | None = None) -> None:
        """So many ticks, or fewer if every lane has ended.

        A KeyboardInterrupt from elsewhere than `watch` may leave lanes at different ticks: the machine is spoilt.

        Args:
            cycles: ticks.
            watch: called once in a while with how many of them are done.

        Raises:
            UsageError: no whole number of 1 or more.
        """
        counted("A run", cycles=cycles)
        done, stretch, runs = 0, FEWEST_TICKS, True
        while runs and done < cycles:
            began, before = time.perf_counter(), self.ticks
            runs = self._advance(min(stretch, cycles - done))
            done += self.ticks - before
            if watch:
                watch(done)
            if time.perf_counter() - began < LEAST_S:
                stretch *= 2

    def tick(self) -> bool:
        """One tick of every lane; whether any core still runs after it."""
        return self._advance(1)

    def _advance(self, ticks: int) -> bool:
        done, runs, events = self._engine.advance(ticks)
        self.ticks += done
        for event in events:
            if event.kind == Kind.OUTPUT:
                # What is stored is repeated over the word.
                stored = 8 * event.access.bit_count()
                self.outputs[event.lane].append(event.data & (1 << stored) - 1)
            else:
                self._refused[event.lane] = _refusal(event), event.address
        return runs

    def stops(self) -> list[Stop]:
        """Of each lane where it is, and why it goes no further, or that it still runs."""
        halted, causes = self.word("halted").tolist(), self.word("cause").tolist()
        columns = zip(self.pc_B.tolist(), self.instr_B.tolist(), self.instructions_B.tolist(), strict=True)
        # It halts in a tick of its own.
        ticks = (self.ticks - self._engine.halted_B + 1).clamp(max=self.ticks).tolist()
        found = []
        for lane, (pc, instr, executed) in enumerate(columns):
            cause, address, what = None, None, "still running"
            if lane in self._refused:
                what, address = self._refused[lane]
            elif halted[lane] and self.memory.kind(lane, pc) == Kind.OUTSIDE:
                what, address = f"no memory is at pc {pc:#010x}", pc
            elif halted[lane]:
                cause = Cause(causes[lane])
                what = WHY[cause]
            if address is not None:
                what += f"; it has {said(self.memory.regions[lane])}"
            where = f"pc {pc:#010x}" if address == pc else f"pc {pc:#010x}: {disassemble(instr, pc)}"
            found.append(Stop(f"{what} ({where})", cause, pc, address, not halted[lane], ticks[lane], executed))
        return found


def _refusal(event: Event) -> str:
    what = f"a {'load from' if event.access & LOAD else 'store to'} {event.address:#010x}, where "
    return what + ("ROM is" if event.kind == Kind.ROM else "no memory is")
