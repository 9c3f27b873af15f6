"""The core against unicorn, and what it does that unicorn doesn't: stop, and go on after a reset."""

import struct
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from chip.legality import legal
from chip.machine import hdl, run, sim
from chip.random_programs import BRANCHES, NAMES, RAM, Instruction, random_run
from holdfast.chip import core as core_file
from holdfast.chip.core import Core, core_rtlil
from holdfast.chip.instructions import ENCODINGS, Cause
from holdfast.errors import UsageError

SEEDS = range(12)
NOP = Instruction("addi").word
PLACE = RAM + 0x100
BELOW, AT_PLACE, ODD, EVEN = 1, 2, 3, 4
HELD = {BELOW: 0x7FFF_FFFF, AT_PLACE: PLACE, ODD: PLACE + 1, EVEN: PLACE + 2, 5: 0x102}


@cache
def program(seed):
    return random_run(seed, 400)


def words(ram):
    return {RAM + 4 * at: word for at, (word,) in enumerate(struct.iter_unpack("<I", ram))}


def agrees(core, program):
    """Whether it does what unicorn did: pc, registers and what is stored at each instruction, and RAM at last."""
    ram = words(program.ram_before)
    ended = run(core, program.code, ram, instructions=len(program.trace))
    return ended.trace == program.trace and ram == words(program.ram_after)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_lockstep_with_unicorn_through_random_programs(seed):
    assert agrees(Core(), program(seed))


def test_those_programs_have_every_instruction_and_every_branch_both_ways():
    counts = sum((program(seed).counts for seed in SEEDS), Counter())
    assert {name for name, _ in counts} == {*NAMES} == {*ENCODINGS} - {"ecall", "ebreak"}
    assert min(counts[name, taken] for name in BRANCHES for taken in (False, True)) >= 5
    assert counts.total() > 3000


MISTAKES = {
    "a[31] & instr[30]": ["0", "a[31]"],
    "a << b[:5]": ["a << b[:4]"],
    "write(a - b)": ["write(b - a)"],
    "write(a & b)": ["write(a & ~b)"],
    "write(a | b)": ["write(a ^ b)"],
    "Cat(a[:31], ~a[31]) < Cat(b[:31], ~b[31])": ["a < b", "Cat(a[:31], a[31]) < Cat(b[:31], ~b[31])"],
    '"below", 1, a < b': ['"below", 1, a <= b'],
    '"beq": jump(equal)': ['"beq": jump(a[:31] == b[:31])', '"beq": jump(0)'],
    '"bne": jump(~equal)': ['"bne": jump(equal)'],
    '"bge": jump(~less)': ['"bge": jump(less)', '"bge": jump(~below)'],
    '"jal": write(following,': ['"jal": write(near,'],
    "unless=~loading": ["unless=never"],
    "Cat(C(0, 1), address[1:])": ["address"],
    "instr[20:].as_signed()": ["instr[20:]"],
    "Cat(instr[7:12], instr[25:]).as_signed()": ["Cat(instr[7:12], instr[25:])"],
    "instr[25:31], instr[7], instr[31]": ["instr[25:31], instr[31], instr[31]"],
    "instr[20], instr[12:20],": ["instr[12], instr[12:20],", "instr[20], instr[12:19],"],
    '"following", 32': ['"following", 31'],
    '"lui": write(imm_u)': ['"lui": write(near)'],
    "load(byte.as_signed())": ["load(byte)"],
    "load(half, odd)": ["load(half.as_signed(), odd)"],
    "Mux(lane[0], half[8:], half[:8])": ["half[:8]"],
    "Mux(address[1], 0b1100, 0b0011)": ["0b0011"],
    "address[:2] == at": ["address[:2] == 3 - at"],
    "value.replicate(32 // len(value))": ["value"],
    "awake & writes & rd.addr.any()": ["awake & writes"],
    "awake & ~reads & ~fault": ["awake & ~fault"],
    "instr[5] & ~instr[2]": ["instr[5]"],
    "Mux(jumps, target, following)": ["target"],
}
"""What stands in the core, and mistakes in its place."""


@pytest.mark.parametrize(("right", "wrong"), [(right, wrong) for right in MISTAKES for wrong in MISTAKES[right]])
def test_a_core_with_a_mistake_is_noticed(right, wrong):
    text = Path(core_file.__file__).read_text()
    assert text.count(right) == 1
    broken = ModuleType("broken")
    exec(compile(text.replace(right, wrong), "broken", "exec"), vars(broken))
    assert not all(agrees(broken.Core(), program(seed)) for seed in SEEDS)


STOPS = [
    (Cause.ECALL, 0x0000_0073),
    (Cause.EBREAK, 0x0010_0073),
    (Cause.ILLEGAL, 0x0000_0000),
    (Cause.ILLEGAL, 0xFFFF_FFFF),
    (Cause.ILLEGAL, 0x0000_100F),  # fence.i
    (Cause.ILLEGAL, 0x0220_81B3),  # mul
    (Cause.ILLEGAL, 0x3000_9073),  # csrrw
    *((Cause.MISALIGNED_LOAD, Instruction(name, 6, ODD).word) for name in ("lh", "lhu", "lw")),
    *((Cause.MISALIGNED_LOAD, Instruction("lw", 6, AT_PLACE, imm=imm).word) for imm in (2, 3, -2)),
    *((Cause.MISALIGNED_STORE, Instruction(name, 0, ODD, 6).word) for name in ("sh", "sw")),
    (Cause.MISALIGNED_STORE, Instruction("sw", 0, EVEN, 6).word),
    (Cause.MISALIGNED_JUMP, Instruction("jal", 6, imm=-2).word),
    (Cause.MISALIGNED_JUMP, Instruction("jalr", 6, 5).word),
    (Cause.MISALIGNED_JUMP, Instruction("jalr", 6, 0, imm=7).word),
    (Cause.MISALIGNED_JUMP, Instruction("bltu", 0, 0, BELOW, imm=6).word),
]


@pytest.mark.parametrize(("cause", "word"), STOPS)
def test_it_stops_where_it_should_and_nothing_is_written(cause, word):
    ended = run(Core(), {0: NOP, 4: word, 8: NOP}, ram := {PLACE: 0x1234_5678}, held=HELD, ticks=9)
    assert (ended.halted, ended.cause, ended.pc) == (True, cause, 4)
    assert len(ended.trace) == 1
    assert ended.registers == ended.trace[0].registers
    assert ram == {PLACE: 0x1234_5678}


@pytest.mark.parametrize("jump", [Instruction("beq", 0, 0, BELOW, imm=6), Instruction("jalr", 0, 0, imm=9)])
def test_it_does_not_stop_at_a_branch_that_is_not_taken_nor_at_an_odd_target(jump):
    assert not run(Core(), {0: NOP, 4: jump.word, 8: NOP}, {}, held=HELD, instructions=3).halted


def test_a_reset_starts_it_again_with_what_the_registers_held():
    code = {0x40: Instruction("addi", 7, 7, imm=1).word, 0x44: 0x0000_0073}
    ended = run(Core(start=0x40), code, {}, ticks=10, reset_at=6)
    assert [each.pc for each in ended.trace] == [0x40, 0x40]
    assert (ended.halted, ended.cause, ended.registers[6]) == (True, Cause.ECALL, 2)


def test_nothing_is_stored_in_a_reset_and_a_load_begins_anew():
    code = {0: Instruction("sw", 0, AT_PLACE, 0).word}
    ended = run(Core(), code, ram := {PLACE: 7}, held=HELD, ticks=1)
    assert (ended.pc, ram) == (0, {PLACE: 7})
    code = {0: Instruction("lw", 6, AT_PLACE).word}
    ended = run(Core(), code, {PLACE: 7}, held=HELD, ticks=5, reset_at=2)
    assert [each.registers[5] for each in ended.trace] == [7]


def test_a_load_takes_two_ticks_and_everything_else_one():
    code = {0: NOP, 4: Instruction("lw", 6, AT_PLACE).word, 8: NOP, 12: NOP}
    assert run(Core(), code, {PLACE: 7}, held=HELD, instructions=4).ticks == 1 + 5


def test_the_same_words_are_instructions_as_in_unicorn():
    """One in 53 of them: no power of two, so all of each field occurs."""
    m = hdl.Module()
    m.domains.sync = sync = hdl.ClockDomain()
    m.submodules.core = core = Core()
    expected, found = legal(every=53), {}

    async def bench(ctx):
        for word in expected:
            ctx.set(sync.rst, 1)
            await ctx.tick()
            ctx.set(sync.rst, 0)
            ctx.set(core.instr, word)
            await ctx.tick()
            found[word] = not (ctx.get(core.halted) and ctx.get(core.cause) == Cause.ILLEGAL)

    simulator = sim.Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == expected
    assert 100 < sum(expected.values()) < len(expected) - 100


@pytest.mark.parametrize("start", [-4, 2, 1 << 32])
def test_a_start_that_is_no_address_is_refused(start):
    with pytest.raises(UsageError, match=r"start: expected .* multiple of 4 below 2\^32; got"):
        core_rtlil(start)


def test_without_amaranth_it_says_what_to_install():
    code = (
        "import sys; sys.modules['amaranth'] = None\n"
        "from holdfast.errors import HoldfastError\n"
        "try: import holdfast.chip.core\n"
        "except HoldfastError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "holdfast[hdl]"' in done.stdout
