"""What a person reads of a run."""

import pytest

from chip.assembled import A0, A1, ECALL, RAM, T0, op, rom, to_output
from holdfast.chip.machine import Machine
from holdfast.chip.tracing import HEADING, trace
from holdfast.errors import UsageError

PROGRAM = rom(
    op("lui", T0, imm=RAM.address),
    op("addi", A0, 0, imm=-2),
    op("sh", 0, T0, A0, 6),
    op("lw", A1, T0, imm=4),
    op("addi", 0, 0, imm=1),
    op("beq", 0, 0, 0, 8),
    0,
    *to_output(A1),
    ECALL,
)


def test_a_line_for_each_instruction(core):
    machine = Machine([PROGRAM] * 2, ram=RAM, core=core)
    assert [HEADING, *trace(machine, 100, lane=1)] == [
        "    tick  pc        instruction                   changed",
        "       1  00000000  lui t0,0x80000                t0 = 0x80000000",
        "       2  00000004  addi a0,zero,-2               a0 = 0xfffffffe",
        "       3  00000008  sh a0,6(t0)                   [0x80000006] = 0xfffe",
        "       5  0000000c  lw a1,4(t0)                   a1 = 0xfffe0000",
        "       6  00000010  addi zero,zero,1",
        "       7  00000014  beq zero,zero,1c",
        "       8  0000001c  lui s1,0x10000                s1 = 0x10000000",
        "       9  00000020  sw a1,0(s1)                   [0x10000000] = 0xfffe0000",
    ]
    assert machine.stops()[1].done


def test_it_ends_when_it_is_to(core):
    machine = Machine([rom(op("jal", 0))], core=core)
    assert len(list(trace(machine, 7))) == 7


def test_what_is_refused(core):
    with pytest.raises(UsageError, match="Lanes are 0 to 0; got 1"):
        list(trace(Machine([PROGRAM], core=core), 10, lane=1))
    with pytest.raises(UsageError, match="cycles of 1 or more; got 0"):
        list(trace(Machine([PROGRAM], core=core), 0))
