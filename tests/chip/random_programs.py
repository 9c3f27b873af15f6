"""Random RV32I programs, written while an independent simulator (unicorn, which is QEMU's) executes them.

Every instruction is chosen when the program counter first comes by. What the registers hold is known then, so that
loads, stores and jumps by register go where there is something.
"""

import random
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from chip.machine import Executed

unicorn = pytest.importorskip("unicorn", reason="unicorn is the judge: pip install unicorn")
riscv = pytest.importorskip("unicorn.riscv_const", reason="unicorn is the judge: pip install unicorn")

CODE = (0x0000_0000, 0xF000_0000)
CODE_BYTES = 0x10_0000
RAM, RAM_BYTES = 0x7FFF_F000, 0x2000
"""On both sides of 2^31, where signed and unsigned part."""
REGISTERS = [riscv.UC_RISCV_REG_X0 + at for at in range(1, 32)]
ILLEGAL_INSTRUCTION = 2
NEVER = 1
"""An address at which no instruction stands, for unicorn to stop at."""

# What distinguishes each: funct7 and funct3, or funct3; of loads and stores funct3, and how many bytes they move.
REGISTER_FORM = {
    "add": (0, 0), "sub": (32, 0), "sll": (0, 1), "slt": (0, 2), "sltu": (0, 3), "xor": (0, 4), "srl": (0, 5),
    "sra": (32, 5), "or": (0, 6), "and": (0, 7),
}  # fmt: skip
SHIFTS = {"slli": (0, 1), "srli": (0, 5), "srai": (32, 5)}
IMMEDIATE_FORM = {"addi": 0, "slti": 2, "sltiu": 3, "xori": 4, "ori": 6, "andi": 7}
BRANCHES = {"beq": 0, "bne": 1, "blt": 4, "bge": 5, "bltu": 6, "bgeu": 7}
LOADS = {"lb": (0, 1), "lh": (1, 2), "lw": (2, 4), "lbu": (4, 1), "lhu": (5, 2)}
STORES = {"sb": (0, 1), "sh": (1, 2), "sw": (2, 4)}
ACCESSES = LOADS | STORES
UPPER = {"lui": 0x37, "auipc": 0x17}  # by opcode
NAMES = [*REGISTER_FORM, *IMMEDIATE_FORM, *SHIFTS, *BRANCHES, *ACCESSES, *UPPER, "jal", "jalr", "fence"]
EDGES = (0, 1, -1, 2, 4, 31, 32, -2048, 2047)
Registers = tuple[int, ...]


class Instruction(NamedTuple):
    """An instruction. Of `lui` and `auipc`, `imm` is the whole number that is added."""

    name: str
    rd: int = 0
    rs1: int = 0
    rs2: int = 0
    imm: int = 0

    @property
    def word(self) -> int:
        name, rd, rs1, rs2, imm = self

        def bits(high, low, to):
            return (imm >> low & (1 << high - low + 1) - 1) << to

        if name in REGISTER_FORM or name in SHIFTS:
            high, low = (REGISTER_FORM | SHIFTS)[name]
            source, opcode = (bits(4, 0, 20), 0x13) if name in SHIFTS else (rs2 << 20, 0x33)
            return high << 25 | source | rs1 << 15 | low << 12 | rd << 7 | opcode
        if name in STORES:
            return bits(11, 5, 25) | rs2 << 20 | rs1 << 15 | STORES[name][0] << 12 | bits(4, 0, 7) | 0x23
        if name in BRANCHES:
            ends = bits(12, 12, 31) | bits(10, 5, 25) | bits(4, 1, 8) | bits(11, 11, 7)
            return ends | rs2 << 20 | rs1 << 15 | BRANCHES[name] << 12 | 0x63
        if name == "jal":
            return bits(20, 20, 31) | bits(10, 1, 21) | bits(11, 11, 20) | bits(19, 12, 12) | rd << 7 | 0x6F
        if name in UPPER:
            return bits(31, 12, 12) | rd << 7 | UPPER[name]
        function, opcode = {"jalr": (0, 0x67), "fence": (0, 0x0F)}.get(name) or (
            (LOADS[name][0], 0x03) if name in LOADS else (IMMEDIATE_FORM[name], 0x13)
        )
        return bits(11, 0, 20) | rs1 << 15 | function << 12 | rd << 7 | opcode

    def address(self, held: Registers) -> int:
        """Where a load, a store or a jump by register goes."""
        return ((0, *held)[self.rs1] + self.imm) % (1 << 32)

    def goes_well(self, held: Registers) -> bool:
        """Whether there is something at that address, and it is aligned."""
        if self.name in ACCESSES:
            address = self.address(held)
            return RAM <= address < RAM + RAM_BYTES and address % ACCESSES[self.name][1] == 0
        if self.name == "jalr":
            target = self.address(held) & ~1
            return target % 4 == 0 and any(start <= target < start + CODE_BYTES for start in CODE)
        return True


@dataclass
class Run:
    """A program, what it did, and how often each instruction occurred, with and without going on at pc + 4."""

    ram_before: bytes
    ram_after: bytes = b""
    code: dict[int, int] = field(default_factory=dict)
    trace: list[Executed] = field(default_factory=list)
    counts: Counter[tuple[str, bool]] = field(default_factory=Counter)


class Reference:
    """Unicorn with the memory that programs have here. Its registers start as 0."""

    def __init__(self, ram: bytes = bytes(RAM_BYTES)) -> None:
        self.engine = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        for start, size in (*((start, CODE_BYTES) for start in CODE), (RAM, RAM_BYTES)):
            self.engine.mem_map(start, size)
        self.engine.mem_write(RAM, ram)
        self.interrupt = 0
        self.engine.hook_add(unicorn.UC_HOOK_INTR, self._interrupted)

    def _interrupted(self, engine, number, _):
        self.interrupt = number
        engine.emu_stop()

    def put(self, pc: int, word: int) -> None:
        self.engine.mem_write(pc, word.to_bytes(4, "little"))
        self.engine.ctl_remove_cache(pc, pc + 4)

    def step(self, pc: int) -> Registers:
        """Execute one instruction; what x1 to x31 hold after it."""
        self.engine.emu_start(pc, NEVER, count=1)
        return tuple(self.engine.reg_read_batch(REGISTERS))

    def accepts(self, word: int) -> bool:
        """Whether it is an instruction of any of the extensions that unicorn knows."""
        self.put(0, word)
        self.interrupt = 0
        with suppress(unicorn.UcError):  # access to where nothing is, and ebreak
            self.engine.emu_start(0, NEVER, count=1)
        return self.interrupt != ILLEGAL_INSTRUCTION

    @property
    def pc(self) -> int:
        return self.engine.reg_read(riscv.UC_RISCV_REG_PC)

    def word_at(self, address: int) -> int:
        return int.from_bytes(self.engine.mem_read(address & ~3, 4), "little")


def random_run(seed: int, length: int) -> Run:
    """A program that starts at 0, and up to so many of its instructions.

    It ends where it goes round and round, or comes again, with other registers, to an access that would now fail.
    """
    draw = random.Random(seed)
    run = Run(ram_before=draw.randbytes(RAM_BYTES))
    reference = Reference(run.ram_before)
    program: dict[int, Instruction] = {}
    visits: Counter[int] = Counter()
    pc, held = 0, (0,) * 31
    while len(run.trace) < length and visits[pc] < 16:
        visits[pc] += 1
        if pc not in program:
            program[pc] = chosen(draw, program, pc, held)
            run.code[pc] = program[pc].word
            reference.put(pc, run.code[pc])
        instruction = program[pc]
        if not instruction.goes_well(held):
            break
        address = instruction.address(held) & ~3 if instruction.name in STORES else None
        held = reference.step(pc)
        run.trace.append(Executed(pc, held, None if address is None else (address, reference.word_at(address))))
        run.counts[instruction.name, reference.pc != pc + 4] += 1
        pc = reference.pc
    run.ram_after = bytes(reference.engine.mem_read(RAM, RAM_BYTES))
    return run


def chosen(draw: random.Random, program: Collection[int], pc: int, held: Registers) -> Instruction:
    """A random instruction that goes well at this place with these registers."""

    def register() -> int:
        return draw.choice((draw.randrange(32), draw.randrange(5)))  # often one of few: results are used soon

    start = next(start for start in CODE if start <= pc < start + CODE_BYTES)
    name = "jal" if pc >= start + CODE_BYTES - 16 else draw.choice(NAMES)
    rd, rs1, rs2 = register(), register(), register()
    if name in BRANCHES or name == "jal":
        reach = 4096 if name in BRANCHES else CODE_BYTES
        low, high = max(start, pc - reach), min(start + CODE_BYTES, pc + reach)
        targets = [draw.randrange(low, high, 4) for _ in range(8)]
        target = next((target for target in targets[1:] if target not in program), targets[0])
        return Instruction(name, rd, rs1, draw.choice((rs1, rs2, rs2, rs2)), target - pc)
    if name in ACCESSES or name == "jalr":
        window, size = (draw.choice(CODE), CODE_BYTES) if name == "jalr" else (RAM, RAM_BYTES)
        reached = [
            (register, max(window - value, -2048), min(window + size - value, 2048))
            for register, value in enumerate((0, *held))
        ]
        reached = [each for each in reached if each[1] < each[2]]
        tries = []
        if reached and draw.random() < 0.9:
            rs1, low, high = draw.choice(reached)
            tries = [Instruction(name, rd, rs1, rs2, draw.randrange(low, high)) for _ in range(16)]
        well = [instruction for instruction in tries if instruction.goes_well(held)]
        somewhere = window + draw.randrange(CODE_BYTES) if name == "jalr" else 1 << 31
        return well[0] if well else Instruction("lui", rd, imm=somewhere)
    if name in UPPER:
        return Instruction(name, rd, imm=draw.getrandbits(32))
    return Instruction(name, rd, rs1, rs2, draw.choice((draw.randrange(-2048, 2048), draw.choice(EDGES))))
