"""A machine: cores side by side, each a lane of one network, with memory around them. (B lanes.)"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.chip.compiled import compiled_core
from holdfast.chip.disassembly import disassemble
from holdfast.chip.instructions import Cause
from holdfast.chip.memory import OUTPUT, Kind, Memory, Ram, said
from holdfast.chip.ports import HALTED, LOAD, RUNS, STORED, Asked, Ports
from holdfast.chip.program import Program
from holdfast.circuits import Recurrent
from holdfast.errors import UsageError, counted

WATCHED_EVERY = 64
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
    """B cores in lockstep, all of them one tick at a time, without gradients (`Recurrent` has them).

    In a tick the network is computed once. What the cores ask is read off its rows: an instruction comes in the
    same tick in which its `pc` is shown, a word of memory in the next; stores are done before the next instruction
    is read.

    A lane ends where its core halts, where it is outside of memory, and where it stores in ROM; it then stays as
    it is. What it stores in the output word, be it a byte, a halfword or a word, is an output; a load there gives
    what the word holds.

    Args:
        programs: one for each lane. `[program] * 64` are 64 lanes with one ROM and a RAM each, into which
            `memory.write` may put something else for each.
        ram: memory beside what programs bring.
        output: address of the output word.
        core: the core as a network. Default: `compiled_core()`. The machine is where its weights are.

    Raises:
        UsageError: no lanes; addresses that are none; a network that is no core.
        HoldfastError: programs that don't fit (`memory.regions`), or too much memory; no `hdl` to compile the
        core.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        ram: Ram | None = None,
        output: int = OUTPUT,
        core: Recurrent | None = None,
    ) -> None:
        if not programs:
            raise UsageError("A machine has a program for each lane; got none. Give one, or [program] * lanes.")
        self.memory = Memory(programs, ram, output)
        core = compiled_core() if core is None else core
        self.ports = Ports(core, len(programs))
        device = core.tick.weight.device
        self.memory.to(device)
        self.ticks = 0
        """So far."""
        self.outputs: list[list[int]] = [[] for _ in programs]
        """What each lane has stored in the output word."""
        self.asked: Asked | None = None
        """What the last tick wanted of memory; None if nothing."""
        self.pc_B = torch.tensor([program.entry for program in programs], device=device)
        """Where the instruction is that the next tick executes."""
        self.ports.set("pc", self.pc_B)
        self.instr_B = self._fetch(self.pc_B)
        """That instruction; 0, which is none, outside of memory."""
        self._waited_B, self._halted_B = torch.zeros(2, len(programs), dtype=torch.int64, device=device)
        self._refused: dict[int, tuple[str, int]] = {}

    @property
    def lanes(self) -> int:
        return len(self.outputs)

    @property
    def registers_B32(self) -> Tensor:
        """What x0 to x31 hold, whole numbers from 0 to 2^32."""
        return torch.stack([self.ports.word(f"registers[{at}]") for at in range(32)], 1)

    @property
    def instructions_B(self) -> Tensor:
        """How many instructions each lane has executed."""
        executed_B: Tensor = self.ticks - self._waited_B + self._halted_B
        return executed_B

    def run(self, cycles: int, watch: Callable[[int], None] | None = None) -> None:
        """So many ticks, or fewer if every lane has ended.

        Args:
            cycles: ticks.
            watch: called once in a while with how many of them are done.

        Raises:
            UsageError: no whole number of 1 or more.
        """
        counted("A run", cycles=cycles)
        for at in range(1, cycles + 1):
            runs = self.tick()
            if watch and (at % WATCHED_EVERY == 0 or not runs):
                watch(at)
            if not runs:
                return

    @torch.no_grad()
    def tick(self) -> bool:
        """One tick of every lane; whether any core still runs after it."""
        asked = self.ports.tick()
        self.ticks += 1
        # One look at numbers a tick, since on a GPU each waits for all that is under way.
        wanted, most = torch.stack([asked.access_B, asked.halted_B]).amax(1).tolist()
        self.asked, refused = asked if wanted else None, len(self._refused)
        if wanted:
            self.ports.set("rdata", self._access(asked))
        if len(self._refused) > refused:
            most = int(asked.halted_B.amax())
        self._waited_B += asked.waits_B
        self._halted_B += asked.halted_B
        self.pc_B, self.instr_B = asked.pc_B, self._fetch(asked.pc_B)
        return bool(most == RUNS)

    def _fetch(self, pc_B: Tensor) -> Tensor:
        instr_B = self.memory.words[self.memory.find(pc_B).at]
        self.ports.set("instr", instr_B)
        return instr_B

    def _access(self, asked: Asked) -> Tensor:
        """Do what was asked; the words that were there before."""
        found = self.memory.find(asked.address_B)
        held_B = self.memory.words[found.at]
        notable_B = self.memory.notable(asked.access_B, found.piece)
        if notable_B.any():
            for lane in notable_B.nonzero()[:, 0].tolist():
                kind = self.memory.kinds[int(found.piece[lane])]
                if kind == Kind.OUTPUT:
                    # What is stored is repeated over the word.
                    stored = 8 * int(asked.access_B[lane]).bit_count()
                    self.outputs[lane].append(int(asked.data_B[lane]) & (1 << stored) - 1)
                else:
                    self._refuse(lane, asked, kind)
        self.memory.store(found.at, asked.access_B & STORED, held_B, asked.data_B)
        return held_B

    def _refuse(self, lane: int, asked: Asked, kind: Kind) -> None:
        """Halt this core where it is; the instruction has not been executed."""
        address, loads = int(asked.address_B[lane]), bool(asked.access_B[lane] & LOAD)
        what = f"a {'load from' if loads else 'store to'} {address:#010x}, where "
        what += "ROM is" if kind == Kind.ROM else "no memory is"
        self._refused[lane] = what, address
        asked.access_B[lane] = asked.waits_B[lane] = 0
        asked.halted_B[lane] = HALTED
        asked.pc_B[lane] = self.pc_B[lane]
        self.ports.put("pc", lane, int(self.pc_B[lane]))
        self.ports.put("halted", lane, 1)

    def stops(self) -> list[Stop]:
        """Of each lane where it is, and why it goes no further, or that it still runs."""
        halted, causes = self.ports.word("halted").tolist(), self.ports.word("cause").tolist()
        columns = zip(self.pc_B.tolist(), self.instr_B.tolist(), self.instructions_B.tolist(), strict=True)
        # It halts in a tick of its own.
        ticks = (self.ticks + self._halted_B + 1).clamp(max=self.ticks).tolist()
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
