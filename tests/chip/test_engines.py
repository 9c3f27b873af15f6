"""The engines agree tick by tick: all registers of the cores, memory, what it is asked, outputs, stops.

$HOLDFAST_EXACT: so many ticks of all lanes together, the float32 network against the circuit on words of bits.
"""

import os
import random
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chip.assembled import ECALL, FIBONACCI, RAM, S1, T0, op, rom, words
from chip.random_programs import ACCESSES, BRANCHES, EDGES, NAMES, STORES, Instruction
from holdfast.chip.engines.by_name import ENGINES, fastest
from holdfast.chip.machine import Machine
from holdfast.chip.memory import OUTPUT
from holdfast.chip.program import Program, Segment
from holdfast.errors import HoldfastError

pytest.importorskip("numba", reason='loops are compiled by numba: pip install "holdfast[encrypted]"')
from holdfast.chip.engines import looped

CODE, PAST = 160, 3
"""Instructions of a program, and the register that points to its start; s1 and t0 point to output and RAM."""
TICKS = int(os.environ.get("HOLDFAST_EXACT", 0))


def endless(seed):
    """Never stops: accesses go into RAM, jumps into the code. Now and then a store is an output."""
    draw = random.Random(seed)
    free = [at for at in range(32) if at not in (S1, T0, PAST)]

    def instruction(at):
        name, rd = draw.choice(NAMES), draw.choice((draw.choice(free), draw.choice(free[:6])))
        rs1, rs2, target = draw.randrange(32), draw.choice(free), 4 * draw.randrange(CODE)
        if name in BRANCHES or name == "jal":
            return Instruction(name, rd, rs1, rs2, target - 4 * at)
        if name == "jalr":
            return Instruction(name, rd, PAST, 0, target + 12)
        if name in ACCESSES:
            to = S1 if name in STORES and draw.random() < 0.1 else T0
            size = ACCESSES[name][1]
            return Instruction(name, rd, to, rs2, size * draw.randrange(4 // size if to == S1 else 2048 // size))
        if name in ("lui", "auipc"):
            return Instruction(name, rd, imm=draw.getrandbits(32))
        return Instruction(name, rd, rs1, rs2, draw.choice((draw.randrange(-2048, 2048), draw.choice(EDGES))))

    head = op("lui", T0, imm=RAM.address), op("lui", S1, imm=OUTPUT), op("addi", PAST, 0, imm=0)
    body = [instruction(at).word for at in range(CODE - 1)]
    code = words(*head, *body, op("jal", 0, imm=-4 * (CODE - 1)))
    return Program((Segment(0, code, False), Segment(RAM.address, draw.randbytes(RAM.size), True)), 0)


def careless(seed):
    """Stops soon, for any reason, or changes its own code: all of it lies in RAM."""
    draw = random.Random(seed)

    def instruction():
        if draw.random() < 0.03:
            return draw.choice((draw.getrandbits(32), op("lw", 1, 0, imm=4 * draw.randrange(40))))
        imm = draw.choice((draw.choice(EDGES), 4 * draw.randrange(40), 4 * draw.randrange(-8, 8)))
        at = draw.choice((0, 0, T0, S1, draw.randrange(32)))
        return Instruction(draw.choice(NAMES), draw.randrange(32), at, draw.randrange(32), imm).word

    head = op("lui", T0, imm=RAM.address), op("lui", S1, imm=OUTPUT)
    return Program((Segment(0, words(*head, *(instruction() for _ in range(38))), True),), 0)


def machines(programs, core, clocked, engines=ENGINES):
    cores = {"network": core, "kernel": core, "bits": clocked}
    return [Machine(programs, ram=RAM, core=cores[engine], engine=engine) for engine in engines]


def state(machine, clocked):
    """Everything that one tick leaves to the next, and what it asked."""
    held = {register.name: machine.word(register.name).tolist() for register in clocked.registers}
    asked = machine.asked and [
        [access and int(each) for access, each in zip(machine.asked.access_B.tolist(), of, strict=True)]
        for of in (machine.asked.access_B, machine.asked.address_B, machine.asked.data_B)
    ]
    counts = machine.ticks, machine.instructions_B.tolist()
    return held, asked, counts, machine.pc_B.tolist(), machine.instr_B.tolist(), machine.outputs


def agree(programs, core, clocked, ticks):
    side = machines(programs, core, clocked)
    for _ in range(ticks):
        runs = [machine.tick() for machine in side]
        states = [state(machine, clocked) for machine in side]
        assert states[0] == states[1] == states[2]
        assert torch.equal(side[0].memory.words, side[1].memory.words)
        assert torch.equal(side[0].memory.words, side[2].memory.words)
        assert runs in ([True] * 3, [False] * 3)
        if not runs[0]:
            break
    stops = [machine.stops() for machine in side]
    assert stops[0] == stops[1] == stops[2]
    return stops[0]


@pytest.mark.parametrize("lanes", [1, 70, 140])
def test_all_engines_on_endless_programs(core, clocked, lanes):
    """In one block of each engine, and in two of the kernel."""
    stops = agree([endless(seed) for seed in range(lanes)], core, clocked, 60)
    assert all(stop.runs for stop in stops)


def test_all_engines_on_careless_programs(core, clocked):
    stops = agree([careless(seed) for seed in range(150)], core, clocked, 40)
    assert len({stop.cause for stop in stops if not stop.runs}) >= 4
    assert sum(stop.address is not None for stop in stops) > 10


@given(st.integers(0, 1 << 30))
@settings(max_examples=12, deadline=None)
def test_all_engines_on_any_seed(core, clocked, seed):
    agree([careless(seed), endless(seed), careless(seed + 1)], core, clocked, 30)


@pytest.mark.parametrize("engine", ENGINES)
def test_long_runs_are_ticks_one_by_one(core, clocked, engine):
    """Blocks run for many ticks by themselves, some of them to an end of their own."""
    programs = [careless(seed) if seed % 2 else endless(seed) for seed in range(600)]
    (one,), (long,) = (machines(programs, core, clocked, [each]) for each in ("network", engine))
    for _ in range(150):
        one.tick()
    seen = []
    long.run(150, seen.append)
    assert seen[-1] == 150
    assert state(one, clocked) == state(long, clocked)
    assert one.stops() == long.stops()
    assert torch.equal(one.memory.words, long.memory.words)


@pytest.mark.parametrize("engine", ["kernel", "bits"])
def test_blocks_that_end_and_blocks_that_speak_more_than_is_kept(core, clocked, engine, monkeypatch):
    """Whole blocks of lanes that end at once, that have an output every three ticks, that just count."""
    monkeypatch.setattr(looped, "MOST_EVENTS", 1)
    chatter = rom(op("lui", S1, imm=OUTPUT), op("addi", T0, T0, imm=1), op("sw", 0, S1, T0), op("jal", 0, imm=-8))
    count = rom(op("addi", T0, T0, imm=1), op("jal", 0, imm=-4))
    programs = [rom(ECALL)] * 512 + [chatter] * 512 + [count] * 60
    slow, fast = machines(programs, core, clocked, ["network", engine])
    for machine in (slow, fast):
        machine.run(1 + 3 * 30)
    assert fast.outputs == [[]] * 512 + [list(range(1, 31))] * 512 + [[]] * 60
    assert state(slow, clocked) == state(fast, clocked)
    assert slow.stops() == fast.stops()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_written_between_runs_is_what_runs(core, clocked, engine):
    """Also where the next instruction is."""
    (machine,) = machines([rom(op("jal", 0, imm=0)), FIBONACCI], core, clocked, [engine])
    machine.run(200)
    assert [stop.runs for stop in machine.stops()] == [True, False]
    machine.memory.write(0, 0, words(op("addi", T0, 0, imm=5)))
    assert machine.tick()
    assert machine.registers_B32[0, T0] == 5


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_beyond_memory_just_behind_what_was_there(core, clocked, engine):
    """A loop remembers where it last found something: up to there, and no further."""
    last = RAM.end - 4
    load = rom(op("lui", T0, imm=RAM.end), op("lw", 1, T0, imm=-4), op("lw", 1, T0))
    below = rom(op("lui", T0, imm=RAM.address), op("lw", 1, T0), op("lw", 1, T0, imm=-4))
    store = rom(op("lui", T0, imm=RAM.end), op("sw", 0, T0, T0, -4), op("sb", 0, T0, T0))
    past = rom(op("addi", 1, 0, imm=1), op("addi", 1, 1, imm=1))
    (machine,) = machines([load, below, store, past], core, clocked, [engine])
    machine.run(20)
    stops = machine.stops()
    assert [(stop.address, stop.instructions) for stop in stops] == [
        (RAM.end, 2), (RAM.address - 4, 2), (RAM.end, 2), (8, 2)
    ]  # fmt: skip
    assert stops[3].why.startswith("no memory is at pc 0x00000008")
    assert machine.memory.read(2, last, 4) == words(RAM.end)


def rows_of(machine, clocked):
    """The cores' whole state of a looped engine, (bits, lanes)."""
    engine = machine._engine
    width = sum(len(port.bits) for port in clocked.tick.inputs)
    rows = slice(width - clocked.state_bits, width)
    return np.concatenate([engine.bits(number, rows) for number in range(len(engine._blocks))], 1)


def test_the_float32_network_has_no_wrong_bit(core, clocked):
    """Every bit of state after every tick, what memory is asked, outputs, and all of memory at the end."""
    lanes, ticks = (1024, 1000) if TICKS else (192, 60)
    for batch in range(max(1, -(-TICKS // (lanes * ticks)))):
        programs = [endless(1 << 20 | batch << 10 | lane) for lane in range(lanes)]
        floats, bits = machines(programs, core, clocked, ["kernel", "bits"])
        for _ in range(ticks):
            floats.tick()
            bits.tick()
            assert np.array_equal(rows_of(floats, clocked), rows_of(bits, clocked))
            ours, theirs = floats._engine._lanes, bits._engine._lanes
            assert np.array_equal(ours.access, theirs.access)
            assert np.array_equal(ours.address * (ours.access > 0), theirs.address * (theirs.access > 0))
            assert np.array_equal(ours.data * (ours.access > 0), theirs.data * (theirs.access > 0))
        assert floats.outputs == bits.outputs
        assert sum(map(len, bits.outputs)) > ticks
        assert torch.equal(floats.memory.words, bits.memory.words)
        assert len(np.unique(rows_of(bits, clocked), axis=1).T) > 0.9 * lanes
        if TICKS:
            print(f"{(batch + 1) * lanes * ticks:,} ticks of all lanes, no wrong bit", flush=True)


def test_the_kernel_takes_the_weights_there_are(core):
    with torch.no_grad():
        broken = type(core)(core.tick, core.registers)
        before = core.tick.weight.clone()
        core.tick.weight.zero_()
        try:
            machine = Machine([FIBONACCI], core=broken, engine="kernel")
        finally:
            core.tick.weight.copy_(before)
    machine.run(20)
    assert machine.outputs == [[]]


def test_without_numba(core, monkeypatch):
    assert fastest() == "bits"
    for name in ("bits", "looped", "loops", "kernel"):
        monkeypatch.delitem(sys.modules, f"holdfast.chip.engines.{name}", raising=False)
    for name in ("kernel", "bitwise", "compiler"):
        monkeypatch.delitem(sys.modules, f"holdfast.circuits.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert fastest() == "network"
    with pytest.raises(HoldfastError, match=r"by numba, which cannot be loaded .*holdfast\[encrypted\]"):
        Machine([FIBONACCI], core=core, engine="kernel")
