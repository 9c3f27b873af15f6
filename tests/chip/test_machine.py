"""The machine around the core: programs that run as unicorn runs them, lanes side by side, what stops one."""

import copy

import pytest
import torch

from chip.assembled import A0, A1, A2, EBREAK, ECALL, FIBONACCI, RAM, S0, S1, T0, T1, op, rom, to_output, words
from chip.machine import Executed
from chip.random_programs import RAM as PLACE
from chip.random_programs import RAM_BYTES, random_run
from holdfast.chip.engines.by_name import ENGINES
from holdfast.chip.instructions import Cause
from holdfast.chip.machine import Machine
from holdfast.chip.memory import OUTPUT, Ram
from holdfast.chip.ports import STORED
from holdfast.chip.program import Program, Segment
from holdfast.circuits import Recurrent, build
from holdfast.errors import HoldfastError, UsageError

INSTRUCTIONS = 200


@pytest.fixture(params=ENGINES)
def on(request, core, clocked):
    """What a machine computes its ticks with."""
    if request.param != "network":
        pytest.importorskip("numba", reason='loops are compiled by numba: pip install "holdfast[encrypted]"')
    return {"engine": request.param, "core": clocked if request.param == "bits" else core}


def ended(on, *programs, cycles=2000, **more):
    machine = Machine(programs, **on, **{"ram": RAM} | more)
    machine.run(cycles)
    return machine


def stop_of(on, *instructions, **more):
    (stop,) = ended(on, rom(*instructions), **more).stops()
    return stop


def of_stretches(code, ram):
    """Each run of instructions is a segment of its own; between them is no memory."""
    starts = [pc for pc in sorted(code) if pc - 4 not in code]
    segments = []
    for pc in starts:
        last = pc
        while last + 4 in code:
            last += 4
        segments.append(Segment(pc, words(*(code[at] for at in range(pc, last + 4, 4))), writable=False))
    data = Segment(PLACE, ram, writable=True)
    return Program(tuple(sorted([*segments, data], key=lambda segment: segment.address)), 0)


@pytest.mark.parametrize("lanes", [1, 12])
def test_programs_side_by_side_in_lockstep_with_unicorn(on, lanes):
    """pc, registers and what is stored after each instruction; each lane has a program and a memory of its own."""
    runs = [random_run(seed, INSTRUCTIONS) for seed in range(lanes)]
    machine = Machine([of_stretches(run.code, run.ram_before) for run in runs], **on)
    traces, rams = [[] for _ in runs], [b""] * lanes
    while any(len(trace) < len(run.trace) for trace, run in zip(traces, runs, strict=True)):
        pcs, before = machine.pc_B.tolist(), machine.instructions_B.tolist()
        assert machine.tick()
        after, held = machine.instructions_B.tolist(), machine.registers_B32.tolist()
        for lane, run in enumerate(runs):
            if after[lane] == before[lane] or len(traces[lane]) == len(run.trace):
                continue
            stored = None
            if machine.asked and machine.asked.access_B[lane] & STORED:
                address = int(machine.asked.address_B[lane]) & ~3
                stored = address, int.from_bytes(machine.memory.read(lane, address, 4), "little")
            traces[lane].append(Executed(pcs[lane], tuple(held[lane][1:]), stored))
            if len(traces[lane]) == len(run.trace):
                rams[lane] = machine.memory.read(lane, PLACE, RAM_BYTES)
    assert traces == [run.trace for run in runs]
    assert rams == [run.ram_after for run in runs]


def test_fibonacci(on):
    machine = ended(on, FIBONACCI)
    numbers = [0, 1]
    while len(numbers) < 20:
        numbers.append(numbers[-1] + numbers[-2])
    (stop,) = machine.stops()
    assert machine.outputs == [numbers]
    assert (stop.done, stop.cause, stop.runs, stop.pc, stop.address) == (True, Cause.ECALL, False, 40, None)
    assert stop.why == "done (ecall) (pc 0x00000028: ecall)"
    assert (stop.instructions, stop.ticks, machine.ticks) == (3 + 20 * 7, 144, 144)


def test_a_copy_by_bytes_and_halves(on):
    """From ROM into RAM: 5 bytes by signed loads, and 3 halves beside them by unsigned ones."""
    data = bytes([0x80, 1, 0xFF, 3, 0x7F, 5, 0x86, 7])
    table = 0x100
    program = Program(
        (
            Segment(
                0,
                words(
                    op("lui", T0, imm=RAM.address),
                    op("addi", T1, 0, imm=5),
                    op("addi", A0, 0, imm=table),
                    op("addi", A1, T0, imm=1),
                    op("lb", A2, A0),
                    op("sb", 0, A1, A2),
                    op("addi", A0, A0, imm=1),
                    op("addi", A1, A1, imm=1),
                    op("addi", T1, T1, imm=-1),
                    op("bne", 0, T1, 0, -20),
                    *(
                        word
                        for at in range(3)
                        for word in (op("lhu", A2, 0, imm=table + 2 * at), op("sh", 0, T0, A2, 10 + 2 * at))
                    ),
                    op("lh", S0, 0, imm=table + 6),
                    op("lh", S1, T0, imm=10),
                    op("lbu", T1, 0, imm=table),
                    op("lb", A0, 0, imm=table),
                    ECALL,
                ),
                writable=False,
            ),
            Segment(table, data, writable=False),
        ),
        0,
    )
    machine = ended(on, program)
    assert machine.stops()[0].done
    assert machine.memory.read(0, RAM.address, 20) == b"\0" + data[:5] + bytes(4) + data[:6] + bytes(4)
    held = machine.registers_B32[0].tolist()
    assert (held[S0], held[S1], held[T1], held[A0]) == (0x0786, 0x0180, 0x80, 0xFFFF_FF80)


def test_constants_are_read_from_rom_and_what_is_stored_can_be_executed(on):
    program = rom(
        op("lw", T1, 0, imm=36),
        op("lui", T0, imm=RAM.address),
        op("lw", A1, 0, imm=40),
        op("sw", 0, T0, A1),
        op("sw", 0, T0, T1, 4),
        op("addi", A0, 0, imm=7),
        op("jalr", S0, T0),
        *to_output(A0),
        data=(ECALL, op("addi", A0, A0, imm=3)),
    )
    machine = ended(on, program)
    (stop,) = machine.stops()
    assert (stop.done, stop.pc, machine.registers_B32[0, A0]) == (True, RAM.address + 4, 10)


def test_an_instruction_that_is_stored_just_before_it_is_fetched(on):
    program = rom(
        op("lui", T0, imm=RAM.address), op("lw", A0, 0, imm=16), op("jalr", 0, T0), 0, op("addi", A1, A1, imm=9)
    )
    machine = Machine([program], ram=RAM, **on)
    machine.memory.write(0, RAM.address, words(op("sw", 0, T0, A0, 4), 0, ECALL))
    machine.run(100)
    assert (machine.stops()[0].done, machine.registers_B32[0, A1]) == (True, 9)


COUNTDOWN = rom(
    op("lui", T0, imm=RAM.address),
    op("lw", A0, T0),
    op("addi", A1, A1, imm=3),
    op("addi", A0, A0, imm=-1),
    op("bne", 0, A0, 0, -8),
    op("sw", 0, T0, A1, 4),
    *to_output(A1),
    ECALL,
)


def test_lanes_with_other_inputs_end_at_other_ticks_and_stay(on):
    """Sixteen with one ROM: each is what it is alone."""
    times = [1 + 5 * (lane * 7 % 16) for lane in range(16)]
    machine = Machine([COUNTDOWN] * 16, ram=RAM, **on)
    for lane, count in enumerate(times):
        machine.memory.write(lane, RAM.address, words(count))
    seen = []
    machine.run(1000, seen.append)
    assert machine.outputs == [[3 * count] for count in times]
    assert [stop.instructions for stop in machine.stops()] == [5 + 3 * count for count in times]
    assert [stop.ticks for stop in machine.stops()] == [7 + 3 * count for count in times]
    assert machine.ticks == max(stop.ticks for stop in machine.stops()) == seen[-1]
    assert [machine.memory.read(lane, RAM.address + 4, 4) for lane in range(16)] == [words(3 * n) for n in times]
    alone = Machine([COUNTDOWN], ram=RAM, **on)
    alone.memory.write(0, RAM.address, words(times[5]))
    alone.run(1000)
    assert torch.equal(alone.registers_B32[0], machine.registers_B32[5])
    assert alone.stops()[0] == machine.stops()[5]


def test_programs_that_differ_stop_each_for_its_reason(on):
    programs = [
        FIBONACCI,
        rom(EBREAK, at=0x400),
        rom(0xFFFF_FFFF),
        rom(op("lw", T0, 0, imm=2)),
        rom(op("sh", 0, 0, T0, 1)),
        rom(op("jalr", 0, 0, imm=2)),
        rom(op("jal", 0)),
    ]
    machine = ended(on, *programs, cycles=300)
    stops = machine.stops()
    assert [stop.cause for stop in stops] == [
        Cause.ECALL,
        Cause.EBREAK,
        Cause.ILLEGAL,
        Cause.MISALIGNED_LOAD,
        Cause.MISALIGNED_STORE,
        Cause.MISALIGNED_JUMP,
        None,
    ]
    assert [stop.runs for stop in stops] == [False] * 6 + [True]
    assert (stops[1].pc, stops[1].why) == (0x400, "ebreak (pc 0x00000400: ebreak)")
    assert stops[2].why == "no instruction of RV32I (pc 0x00000000: .word 0xffffffff)"
    assert (stops[6].why, stops[6].ticks) == ("still running (pc 0x00000000: jal zero,0)", 300)
    assert machine.ticks == 300


HAS = "; it has ROM 0x0 to 0x14, OUTPUT 0x10000000 to 0x10000004, RAM 0x80000000 to 0x80001000"


@pytest.mark.parametrize(
    ("access", "address", "why"),
    [
        (op("lw", A0, A1, imm=-4), 0x7FFF_FFFC, "a load from 0x7ffffffc, where no memory is"),
        (op("sb", 0, A1, A0, -1), 0x7FFF_FFFF, "a store to 0x7fffffff, where no memory is"),
        (op("lbu", A0, 0, imm=20), 20, "a load from 0x00000014, where no memory is"),
        (op("sw", 0, 0, A0, 12), 12, "a store to 0x0000000c, where ROM is"),
    ],
)
def test_an_access_where_there_is_no_memory(on, access, address, why):
    """The instruction is not executed: registers and memory stay, and so does the pc."""
    before = op("lui", A1, imm=RAM.address), op("addi", A0, 0, imm=77)
    program = rom(*before, access, op("addi", A0, 0, imm=1), ECALL)
    machine = ended(on, program, FIBONACCI)
    stop, other = machine.stops()
    assert stop.why.startswith(f"{why}{HAS} (pc 0x00000008: ")
    assert (stop.pc, stop.address, stop.cause, stop.done, stop.runs) == (8, address, None, False, False)
    assert (stop.instructions, stop.ticks) == (2, 3)
    assert machine.registers_B32[0].tolist()[A0 : A1 + 1] == [77, RAM.address]
    assert machine.memory.read(0, 12, 4) == words(op("addi", A0, 0, imm=1))
    assert other.done
    assert len(machine.outputs[1]) == 20
    alone = ended(on, program)
    assert (alone.ticks, alone.stops()) == (3, [stop])


def test_a_fetch_where_there_is_no_memory(on):
    stop = stop_of(on, op("addi", A0, 0, imm=5), op("jalr", S0, A0, imm=0x7FB))
    assert stop.why == (
        "no memory is at pc 0x00000800; it has ROM 0x0 to 0x8, OUTPUT 0x10000000 to 0x10000004, RAM 0x80000000 to "
        "0x80001000 (pc 0x00000800)"
    )
    assert (stop.pc, stop.address, stop.cause, stop.instructions) == (0x800, 0x800, None, 2)
    assert stop_of(on, op("addi", A0)).pc == 4


@pytest.mark.parametrize(("used", "beside"), [(RAM.address, RAM.address - 4), (RAM.end - 4, RAM.end)])
def test_just_beside_what_was_used_last(on, used, beside):
    """A word on each side of RAM's edges, one after the other, is loaded; and so is an instruction."""
    data, none = (used, beside, op("jal", 0, imm=beside - used)), [0] * 5
    place = op("lw", S0, 0, imm=40)
    loads = place, op("lw", S1, 0, imm=44), op("lw", A0, S0), op("lw", A0, S1), ECALL
    (stop,) = ended(on, rom(*loads, *none, data=data)).stops()
    assert (stop.pc, stop.address, stop.instructions) == (12, beside, 3)
    jumps = place, op("lw", S1, 0, imm=48), op("sw", 0, S0, S1), op("jalr", 0, S0), 0
    (stop,) = ended(on, rom(*jumps, *none, data=data)).stops()
    assert (stop.pc, stop.address, stop.instructions) == (beside, beside, 5)


def test_outputs_are_bytes_halves_and_words(on):
    machine = ended(
        on,
        rom(
            op("lui", S1, imm=OUTPUT),
            op("addi", A0, 0, imm=-2),
            op("sb", 0, S1, A0, 1),
            op("sh", 0, S1, A0, 2),
            op("sw", 0, S1, A0),
            op("addi", A0, 0, imm=65),
            op("sb", 0, S1, A0),
            op("lw", A1, S1),
            ECALL,
        ),
        rom(ECALL),
    )
    assert machine.outputs == [[0xFE, 0xFFFE, 0xFFFF_FFFE, 65], []]
    assert machine.registers_B32[0, A1] == 0xFFFF_FF41


def test_the_output_word_can_be_elsewhere(on):
    program = rom(op("addi", A0, 0, imm=9), op("sw", 0, 0, A0, 0x400), ECALL)
    assert ended(on, program, output=0x400, ram=None).outputs == [[9]]


def test_a_run_goes_on_where_it_was(on):
    machine = Machine([FIBONACCI], ram=RAM, **on)
    for _ in range(8):
        machine.run(10)
    assert machine.stops()[0].runs
    machine.run(1000)
    whole = ended(on, FIBONACCI)
    assert (machine.outputs, machine.stops()) == (whole.outputs, whole.stops())


def test_a_program_of_bare_bytes_writes_beside_itself(on):
    program = Program(
        (Segment(0x40, words(op("sw", 0, 0, T0, 0x4C), op("lw", A0, 0, imm=0x48), ECALL, 5), True),), 0x40
    )
    machine = ended(on, program, ram=None)
    assert (machine.registers_B32[0, A0], machine.memory.read(0, 0x4C, 4)) == (ECALL, bytes(4))


def test_what_is_refused(core, clocked):
    with pytest.raises(UsageError, match="a sequence of programs"):
        Machine(rom(ECALL), core=core)
    with pytest.raises(UsageError, match="a program for each lane; got none"):
        Machine([], core=core)
    with pytest.raises(UsageError, match="A run needs cycles of 1 or more; got 0"):
        Machine([FIBONACCI], core=core).run(0)
    sums = build("examples/sum.blif").network
    with pytest.raises(UsageError, match=r"that `compiled_core` gives, with 32 bits of rdata; got no such port"):
        Machine([FIBONACCI], core=Recurrent(sums, ()))
    with pytest.raises(UsageError, match="Unknown engine 'bit'. Perhaps you meant 'bits'"):
        Machine([FIBONACCI], core=core, engine="bit")
    with pytest.raises(UsageError, match="Engine bits computes a circuit and reads no weights"):
        Machine([FIBONACCI], core=core, engine="bits")
    with pytest.raises(UsageError, match="Engine kernel computes a network"):
        Machine([FIBONACCI], core=clocked, engine="kernel")


def test_other_dtypes_give_the_same_or_are_refused(core):
    double = ended({"core": copy.deepcopy(core).double()}, FIBONACCI)
    assert double.stops() == ended({"core": core}, FIBONACCI).stops()
    with pytest.raises(UsageError, match=r"is not exact in torch.float16: its sums reach .* net.to\(torch.float32\)"):
        Machine([FIBONACCI], core=copy.deepcopy(core).half())


def test_memory_in_all_is_limited(core):
    with pytest.raises(HoldfastError, match=r"512 lanes would have .* bytes of memory; expected 1,073,741,824"):
        Machine([FIBONACCI] * 512, ram=Ram(0x8000_0000, 1 << 24), core=core)
