"""Core, ROM and RAM as one recurrent network: as the machine, tick by tick, and with gradients."""

import numpy as np
import pytest
import torch

from chip.assembled import ECALL, T0, T1, T2, op, rom
from holdfast import HoldfastError, UsageError
from holdfast.chip.assembler import assemble
from holdfast.chip.lookup import LEVELS, RAM, Client, Lookup, N, answered, asked, stored
from holdfast.chip.machine import Machine
from holdfast.chip.memory import Ram
from holdfast.chip.program import Program, Segment
from holdfast.chip.system import System, bits_of, values_of
from holdfast.circuits.passing import Passing, passing

SMALL = Ram(0x400, 32)
MIXED = """
    lw   t0, 0x400(zero)
    lbu  t1, 0x405(zero)
    lh   t2, 0x40a(zero)
    add  a0, t0, t1
    sub  a1, a0, t2
    sb   a0, 0x407(zero)
    sh   a1, 0x40e(zero)
    sw   a1, 0x410(zero)
    lw   a2, table(zero)
    sw   a2, 0x414(zero)
    bltu a0, a1, end
    srai a3, a1, 3
    sw   a3, 0x418(zero)
end:
    ecall
table:
    .word 0xdeadbeef
"""


@pytest.fixture(scope="module")
def lookup(core):
    one = Lookup(1)
    return one, System(one.program(), RAM, core)


def test_it_does_what_the_machine_does_tick_by_tick(core):
    program, lanes = assemble(MIXED), 24
    system, machine = System(program, SMALL, core), Machine([program] * lanes, ram=SMALL, core=core)
    words = torch.randint(0, 2**32, (lanes, 8), generator=torch.Generator().manual_seed(0))
    words[:, 0] = torch.where(torch.arange(lanes) % 2 == 0, words[:, 0], 2**32 - 1)  # where carries run through
    for lane, row in enumerate(words):
        machine.memory.write(lane, SMALL.address, row.numpy().astype("<u4").tobytes())
    at = 0
    places = {}
    for register in core.registers:
        places[register.name] = slice(at, at := at + register.width)
    words_KR32 = system.words[None]
    with torch.no_grad():
        state = system.start(bits_of(words, system.words)[None], words_KR32)
        for _ in range(25):
            state = system.tick(state, words_KR32)
            machine.tick()
            ram = values_of(state.ram_LW32).long()
            for lane in range(lanes):
                held = np.frombuffer(machine.memory.read(lane, SMALL.address, SMALL.size), "<u4")
                assert ram[lane].tolist() == held.tolist()
            for number in (5, 6, 7, 10, 11, 12, 13):
                mine = values_of(state.registers_LS[:, places[f"registers[{number}]"]]).long()
                assert torch.equal(mine, machine.registers_B32[:, number])
            assert torch.equal(values_of(state.registers_LS[:, places["pc"]]).long(), machine.pc_B)
    assert all(stop.done for stop in machine.stops())


def test_outside_of_memory_reads_nothing(core):
    program = rom(op("lui", T0, imm=0x1000), op("lw", T1, T0), op("addi", T2, imm=7), op("sw", 0, 0, T2, 0x400), ECALL)
    out = System(program, SMALL, core)(torch.ones(1, 8, 32), 8)
    assert values_of(out)[0, 0] == 7


def test_nets_that_share_all_but_their_words_are_each_as_they_are_alone(lookup):
    one, system = lookup
    words = system.words.detach().expand(3, -1, -1).clone()
    rows = list(one.rows(system, 0))
    words[:, rows] = (torch.rand(3, len(rows), 32, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    ram = (torch.rand(3, 5, 6, 32, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    ram[:, :, 0, 3:] = 0
    with torch.no_grad():
        together = system.run(ram, one.ticks, words)
        for k in range(3):
            assert torch.equal(system.run(ram[k][None], one.ticks, words[k][None])[0], together[k])


@pytest.mark.parametrize("levels", [1, 2])
def test_a_lookup_is_right_on_all_questions(core, levels):
    """By the sum of messages, after decryption; and by the machine, whose last tick is its own."""
    one, generator = Lookup(levels), np.random.default_rng(levels)
    system, client = System(one.program(), RAM, core), Client.drawn(generator)
    tables = [generator.integers(0, 4, rows) for rows in LEVELS[:levels]]
    words = system.words.detach().clone()
    for level, table in enumerate(tables):
        rows_CR = torch.from_numpy(client.encrypt(table, generator)).T
        words[list(one.rows(system, level))] = bits_of(rows_CR.reshape(-1), words)
    selectors, messages = torch.arange(32) // 4, np.arange(32) % 4
    ciphertexts = torch.from_numpy(client.encrypt(messages, generator))
    assert (ciphertexts[:, :N].float().std(0) > 2**29).all()
    ram = asked(selectors, ciphertexts, words)
    with torch.no_grad():
        out = system.run(ram[None], one.ticks, words[None])[0]
        early = system.run(ram[None], one.ticks - 2, words[None])[0]
    wanted = sum(table[selectors.numpy() % len(table)] for table in tables) + messages
    phases = client.phases(answered(out))
    assert (torch.floor(phases * 4 + 0.5) % 4).tolist() == (wanted % 4).tolist()
    assert not torch.equal(out, early)
    held = words[one.rows(system, 0).start :][: sum(LEVELS[:levels]) * (N + 1)]
    data = values_of(held).numpy().astype("<u4").tobytes()
    program = Program((one.program().segments[0], Segment(one.at(0), data, writable=False)), 0)
    machine = Machine([program] * 32, ram=RAM, core=core)
    for lane in range(32):
        machine.memory.write(lane, RAM.address, values_of(ram[lane]).numpy().astype("<u4").tobytes())
    machine.run(100)
    assert all(stop.done for stop in machine.stops())
    assert machine.ticks == one.ticks <= 64
    assert RAM.size <= 64
    for lane in range(32):
        held = np.frombuffer(machine.memory.read(lane, RAM.address, RAM.size), "<u4")
        assert held.tolist() == values_of(out[lane]).long().tolist()


def test_gradients_pass_the_ticks_by_the_rule_that_is_set(lookup):
    """An answer's word is row + input modulo 2^32, so each bit of the row counts 2^i of it: that is the truth."""
    one, system = lookup
    for p in system.parameters():
        p.requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    words = system.words.detach().clone()
    rows = list(one.rows(system, 0))
    words[rows] = (torch.rand(len(rows), 32, generator=generator) < 0.5).float()
    ciphertexts = torch.randint(0, 2**32, (64, N + 1), generator=generator)
    ram = asked(torch.arange(64) % 8, ciphertexts, words)

    def of_rows(rule):
        free = words.clone().requires_grad_()
        with passing(rule):
            out = answered(system.run(ram[None], one.ticks, free[None])[0])
        (grad,) = torch.autograd.grad(out[:, -1].sum() / 2**32, free)
        return grad[rows].view(N + 1, 8, 32)

    assert (of_rows(Passing()) == 0).all()
    assert of_rows(Passing(False)).isnan().any()
    damped = of_rows(Passing(False, 2.0**-4))
    assert damped.isfinite().all()
    assert (damped[-1, :, 28:] > 0).all()
    assert of_rows(Passing(False, 1.0, True)).isfinite().all()


def may_pass(tick, known, bit):
    """Whether an exact gradient might pass from this input bit to any output, in any state of bits that agrees with
    those that are known: by intervals of what each unit sums, so that "no" is a proof, and "yes" is none."""
    starts, indices, weights = tick.starts.tolist(), tick.indices.tolist(), tick.weight.tolist()
    bias, relu, first = tick.bias.tolist(), tick.relu.tolist(), tick.inputs
    low, high = [float(known.get(at, 0)) for at in range(first)], [float(known.get(at, 1)) for at in range(first)]
    on = []
    for row, b in enumerate(bias):
        at = range(starts[row], starts[row + 1])
        least = b + sum(weights[j] * (low if weights[j] > 0 else high)[indices[j]] for j in at)
        most = b + sum(weights[j] * (high if weights[j] > 0 else low)[indices[j]] for j in at)
        on.append(not relu[row] or most > 0)
        low.append(max(least, 0) if relu[row] else least)
        high.append(max(most, 0) if relu[row] else most)
    reached = {row for port in tick.output_ports for row in port.bits}
    for row in reversed(range(len(bias))):
        if first + row in reached and on[row]:
            reached.update(indices[starts[row] : starts[row + 1]])
    return bit in reached


def test_exact_gradients_end_before_what_was_loaded(core):
    """In a load's second tick, whatever registers, pc and the other bits are: for all bits that are 0, of those that
    are 1 for the lowest eight (for the others intervals are too coarse). A bit of a register that is kept passes."""
    tick = core.tick
    ports = {port.name: port.bits for port in tick.input_ports}
    (word,) = np.frombuffer(assemble("lw a1, 256(t0)").segments[0].data, "<u4").tolist()
    known = {at: word >> i & 1 for i, at in enumerate(ports["instr"])}
    known |= {ports["rst"][0]: 0, ports["halted"][0]: 0, ports["loading"][0]: 1} | dict.fromkeys(ports["lane"], 0)
    for bit, value in ((0, 0), (9, 0), (31, 0), (0, 1), (7, 1)):
        at = ports["rdata"][bit]
        assert not may_pass(tick, known | {at: value}, at)
    kept = ports["registers[9]"][4]
    assert may_pass(tick, known | {kept: 1}, kept)


def test_numbers_stand_in_memory_as_bits():
    turns = torch.tensor([0.0, 0.5, -0.25, 1.75, float("nan"), float("inf")], dtype=torch.float64, requires_grad=True)
    bits = stored(turns, torch.zeros(()))
    assert values_of(bits[:4]).tolist() == [0, 2**31, 3 * 2**30, 3 * 2**30]
    assert bits[4:].isnan().all()
    weights = torch.arange(32.0)
    (exact,) = torch.autograd.grad((bits[:4] * weights).sum(), turns)
    assert (exact == 0).all()
    with passing(Passing(False)):
        bits = stored(turns, torch.zeros(()))
    (grad,) = torch.autograd.grad((bits[:4] * weights).sum(), turns)
    assert grad.tolist() == [62.0] * 4 + [0.0] * 2


def test_bad_input(core, lookup):
    system = lookup[1]
    with pytest.raises(UsageError, match="1 or 2 tables; got 3"):
        Lookup(3)
    with pytest.raises(UsageError, match="RAM of"):
        system(torch.zeros(2, 3, 32), 4)
    with pytest.raises(UsageError, match="words of ROM are"):
        system.run(torch.zeros(2, 1, 6, 32), 4)
    with pytest.raises(UsageError, match="ticks"):
        system(torch.zeros(2, 6, 32), 0)
    with pytest.raises(UsageError, match="No 3 words of ROM are at 0x8000"):
        system.rows(0x8000, 3)
    writable = Program((Segment(0, b"\x73\0\0\0", writable=True),), 0)
    with pytest.raises(HoldfastError, match="expected all of it in ROM"):
        System(writable, SMALL, core)
    with pytest.raises(HoldfastError, match="4,096 at most"):
        System(rom(ECALL), Ram(0x400, 1 << 16), core)
