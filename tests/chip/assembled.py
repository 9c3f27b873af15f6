"""Programs for machines, by hand."""

import struct

from chip.random_programs import Instruction
from holdfast.chip.memory import OUTPUT, Ram
from holdfast.chip.program import Program, Segment

ECALL, EBREAK = 0x0000_0073, 0x0010_0073
RAM = Ram(0x8000_0000, 0x1000)
T0, T1, T2, S0, S1, A0, A1, A2 = 5, 6, 7, 8, 9, 10, 11, 12


def op(name, rd=0, rs1=0, rs2=0, imm=0):
    return Instruction(name, rd, rs1, rs2, imm).word


def words(*each):
    return b"".join(struct.pack("<I", word % (1 << 32)) for word in each)


def rom(*instructions, at=0, data=()):
    """Instructions, and words that stand behind them."""
    return Program((Segment(at, words(*instructions, *data), writable=False),), at)


def to_output(register):
    """Store it in the output word. Uses s1."""
    return op("lui", S1, imm=OUTPUT), op("sw", 0, S1, register)


FIBONACCI = rom(
    op("addi", T1, 0, imm=0),
    op("addi", T2, 0, imm=1),
    op("addi", A1, 0, imm=20),
    *to_output(T1),
    op("add", S0, T1, T2),
    op("addi", T1, T2),
    op("addi", T2, S0),
    op("addi", A1, A1, imm=-1),
    op("bne", 0, A1, 0, -24),
    ECALL,
)
"""The first 20 numbers of Fibonacci, to the output word."""
