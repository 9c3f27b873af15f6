"""Encrypted programs on a chip, against the network that computes them: every coefficient is to be the same."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chip.emulated import Emulated
from chip.test_assembler import gnu, gnu_assembled, placed
from encrypted.test_program import circuits
from holdfast.chip import evaluator as evaluating
from holdfast.chip.assembler import assemble
from holdfast.chip.evaluator import Evaluator
from holdfast.chip.machine import Machine
from holdfast.circuits.trace import lookup, trace
from holdfast.encrypted import SETS, Bootstrap, EncryptedNetwork, Gadget, SecretKey, program_of
from holdfast.encrypted.parameters import Switch
from holdfast.errors import HoldfastError, UsageError

EDGES = (0, 1, 1 << 13, (1 << 31) - (1 << 13) - 1, (1 << 31) - (1 << 13), (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
"""Where roundings and digits part, among others."""
TINY = SETS["tiny"]
WIDE = replace(TINY, name="wide", degree=128)
"""Tables of four bits leave no room for the noise of `tiny`."""


def sized(n, degree, digits, base, switch_digits, switch_base):
    return replace(
        TINY,
        name="own",
        n=n,
        degree=degree,
        gadgets=(Gadget(unit=2**32 // base**digits, base=base, digits=digits, count=n),),
        switch=replace(TINY.switch, digits=switch_digits, base=switch_base),
    )


SMALLEST = sized(2, 16, 2, 2**4, 2, 2**4)


def drawn(draw, shape):
    """Words, one in four of them an edge."""
    numbers = torch.from_numpy(draw.integers(0, 1 << 32, shape))
    edges = torch.from_numpy(draw.choice(EDGES, shape))
    return torch.where(torch.from_numpy(draw.random(shape) < 0.25), edges, numbers)


def random_network(p, program, draw, hidden):
    """Keys, tables and bits that are no encryptions of anything."""
    gadget = p.gadgets[0]
    keys = Bootstrap(
        p,
        [drawn(draw, (p.n, 1, gadget.digits, 2, 2, p.degree))],
        drawn(draw, (p.degree, p.switch.digits, p.n + 1)),
    )
    tables = drawn(draw, (len(program.cells), 2, p.degree)) if hidden else None
    return EncryptedNetwork(program, keys, drawn(draw, (len(program.fixed), p.n + 1)), tables)


def emulated(network, ciphertexts):
    evaluator = Evaluator(network)
    lanes = Emulated(evaluator.program, len(ciphertexts))
    evaluator.write(lanes, ciphertexts)
    lanes.run()
    return evaluator.read(lanes), lanes, evaluator


def table_of(answers):
    return trace(lambda x: lookup(x, answers, 1), {"x": 4}, name="table")


def every_input():
    return torch.arange(16)[:, None] >> torch.arange(4) & 1


@settings(deadline=None, max_examples=30)
@given(
    circuits(),
    st.sampled_from([None, 2, 3]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from([16, 32]),
    st.sampled_from([(3, 2**6), (2, 2**4), (4, 2), (1, 2**5), (2, 2**11)]),
    st.sampled_from([(3, 2**5), (1, 2), (2, 2**8)]),
    st.integers(0, 1000),
)
def test_any_numbers_as_the_network_computes_them(netlist, k, hidden, fixed, n, degree, cut, switch, seed):
    draw = np.random.default_rng(seed)
    program = program_of(netlist, tables=k, hidden=hidden and k is not None, fixed={"y": 1} if fixed else None)
    network = random_network(sized(n, degree, *cut, *switch), program.public, draw, program.hidden)
    ciphertexts = drawn(draw, (2, program.input_bits, n + 1)).double()
    found, _, _ = emulated(network, ciphertexts)
    assert torch.equal(found, network(ciphertexts))


@pytest.mark.parametrize("seed", range(2))
def test_a_hidden_table_of_four_bits_on_all_inputs(seed):
    """In a ring that has room for its noise."""
    draw = np.random.default_rng(seed)
    answers = draw.integers(0, 2, 16).tolist()
    program, key = program_of(table_of(answers), tables=4, hidden=True), SecretKey(WIDE, draw)
    network = key.network(program)
    ciphertexts = key.encrypt(every_input(), program.step)
    found, lanes, evaluator = emulated(network, ciphertexts)
    assert torch.equal(found, network(ciphertexts))
    assert key.decrypt(found, program.steps)[:, 0].tolist() == answers
    assert max(lanes.ticks) < 7_000_000
    assert evaluator.ticks == pytest.approx(np.mean(lanes.ticks), rel=0.03)


@pytest.mark.parametrize("trivial", ["nothing", "keys", "all"])
def test_a_function_of_four_bits_under_tiny(trivial):
    draw = np.random.default_rng(7)
    answers = draw.integers(0, 2, 16).tolist()
    program, key = program_of(table_of(answers), tables=3, hidden=True), SecretKey(TINY, draw, trivial=trivial)
    network = key.network(program)
    ciphertexts = key.encrypt(every_input(), program.step)
    found, lanes, evaluator = emulated(network, ciphertexts)
    assert torch.equal(found, network(ciphertexts))
    assert key.decrypt(found, program.steps)[:, 0].tolist() == answers
    assert max(lanes.ticks) < 2_150_000 * len(program.cells)
    if trivial == "nothing":  # else exponents are 0, and their blocks are skipped
        assert evaluator.ticks == pytest.approx(np.mean(lanes.ticks), rel=0.03)


def test_on_the_chip_that_is_a_network(core):
    """As unicorn, and in as many ticks."""
    draw = np.random.default_rng(1)
    program = program_of(trace(lambda a, b: a & ~b, {"a": 1, "b": 1}, name="gate"), tables=None)
    key = SecretKey(SMALLEST, draw)
    network = key.network(program)
    ciphertexts = key.encrypt(torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]))
    by_unicorn, lanes, evaluator = emulated(network, ciphertexts)
    machine = Machine([evaluator.program] * 4, core=core)
    evaluator.write(machine.memory, ciphertexts)
    machine.run(2 * evaluator.ticks)
    assert [stop.done for stop in machine.stops()] == [True] * 4
    found = evaluator.read(machine.memory)
    assert torch.equal(found, by_unicorn)
    assert torch.equal(found, network(ciphertexts))
    assert key.decrypt(found)[:, 0].tolist() == [0, 1, 0, 0]
    assert [stop.ticks for stop in machine.stops()] == lanes.ticks


def test_no_secret_stands_in_rom():
    """Keys made twice, with other masks, share no word: nothing of them is the secret as it is."""
    program = program_of(table_of([0, 1] * 8), tables=3, hidden=True)
    key = SecretKey(TINY, np.random.default_rng(0))
    with pytest.raises(HoldfastError, match="does not go into the network"):
        key.network(program).key = key
    first, second = (np.frombuffer(Evaluator(key.network(program)).program.segments[1].data, "<u4") for _ in range(2))
    keys = 8 * 12 * 80 + 64 * 3 * 9
    assert (first[:keys] == second[:keys]).mean() < 0.001


@gnu
def test_the_code_as_gnu_makes_it(tmp_path):
    symbols = evaluating._sizes(TINY) | {
        "count": 6,
        "cells": 0x2_0000,
        "rotation_key": 0x1_0000,
        "switch_key": 0x1_8000,
    }
    text = evaluating.SOURCE.read_text(encoding="utf-8")
    told = [f"--defsym={name}={value}" for name, value in symbols.items()]
    assert placed(assemble(text, rom=0x1000, symbols=symbols)) == placed(gnu_assembled(tmp_path, text, *told))


MISTAKES = {
    "no rounding to units": ("srai t0, t0, log_unit - 1 .*\n    addi t0, t0, 1", "srai t0, t0, log_unit - 1\n    nop"),
    "the key switch rounds down": ("addi s4, s4, 1\n", "nop\n"),
    "exponents round down": ("add  \\\\to, \\\\to, t0\n    srli", "srli"),
    "digits from 0 up": ("addi t0, t0, 1 << \\(log_base - 1\\)", "nop"),
    "the top digit is cut": ("beqz t5, top_digit", "nop"),
    "the wrap keeps its sign": ("add  t4, t4, t0\n    add  t4, t4, t5", "add  t4, t4, t0\n    nop"),
    "no wrap": ("add  t4, t4, t0\n    add  t4, t4, t5", "nop"),
    "a stretch is one digit short": ("addi t3, sp, tile", "addi t3, sp, tile - 4"),
    "negative digits are added": ("sub  \\\\to, \\\\to, t0", "add  \\\\to, \\\\to, t0"),
    "one multiple too few": ("extended << \\(log_base - 1\\)", "(extended << (log_base - 1)) - extended"),
    "rotated the other way": ("sub  a0, t0, a0", "nop"),
    "nothing subtracted": ("li   a0, degree  ", "li   a0, 0  "),
    "rotations keep their sign": ("neg  t5, t5", "mv   t5, zero"),
    "the product is not erased": ("la   t0, product\n    li   t1, pair", "la   t0, product\n    li   t1, 4"),
    "the accumulator is not erased": (
        "la   t0, accumulator\n    li   t1, pair",
        "la   t0, accumulator\n    li   t1, 4",
    ),
    "the constant coefficient negated": ("lw   s4, 0\\(s2\\)", "lw   s4, 0(s2)\n    neg  s4, s4"),
    "coefficients not negated": ("neg  s4, s4", "nop"),
    "the switch adds": ("neg  a1, a1", "nop"),
    "no height": ("lw   t1, 8\\(s0\\)", "li   t1, 0"),
    "no start": ("lw   t0, 12\\(s0\\)", "li   t0, 0"),
    "weights without sign": ("xor  t5, t5, t0\n    sub  t5, t5, t0", "nop"),
    "a block skipped": ("bnez a0, external_product", "addi a0, a0, -5\n    bgtz a0, external_product"),
    "a skipped block's key is read": ("add  s3, s3, t0\n    j    next_block", "j    next_block"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_code_are_noticed(mistake, tmp_path, monkeypatch):
    wrong, made = MISTAKES[mistake]
    text, count = re.subn(wrong, made, evaluating.SOURCE.read_text(encoding="utf-8"))
    assert count == 1
    (tmp_path / "evaluator.s").write_text(text)
    monkeypatch.setattr(evaluating, "SOURCE", tmp_path / "evaluator.s")
    draw = np.random.default_rng(0)
    program = program_of(trace(lambda a, b: a - b, {"a": 2, "b": 2}, name="some"), tables=None)
    network = random_network(sized(4, 32, 2, 2**5, 2, 2**5), program, draw, False)
    ciphertexts = drawn(draw, (4, program.input_bits, 5)).double()
    ciphertexts[:, 0, 1] = 0  # an exponent of 0 before others
    ciphertexts[:, 1, 1] = 0
    try:
        found, _, _ = emulated(network, ciphertexts)
    except Exception:
        return
    assert not torch.equal(found, network(ciphertexts))


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (SETS["toy"], "takes a set with moduli of 2.32; toy has something else. Sets that fit: tiny, small"),
        (SETS["std128"], "moduli of 2.32"),
        (replace(TINY, degree=8), "a degree of 16 or more"),
        (replace(TINY, switch=Switch(modulus=2**32, digits=1, base=25, table=True, noise=1.0)), "no table"),
        (sized(8, 64, 2, 2**12, 3, 2**5), "bases that are powers of two from 2 to 2048"),
        (sized(8, 64, 4, 2**8, 3, 2**5), "units of two ticks or more"),
        (replace(TINY, secret="ternary"), "secrets of 0 and 1"),
        (
            replace(TINY, gadgets=(replace(TINY.gadgets[0], count=3), replace(TINY.gadgets[0], count=5))),
            "one gadget for all keys",
        ),
    ],
)
def test_sets_that_do_not_fit_are_refused(p, said):
    with pytest.raises(HoldfastError, match=said):
        evaluating._refuse_set(p)


def test_other_ciphertexts_are_refused():
    key = SecretKey(SMALLEST, np.random.default_rng(0))
    program = program_of(trace(lambda a, b: a & b, {"a": 1, "b": 1}, name="gate"))
    evaluator = Evaluator(key.network(program))
    with pytest.raises(UsageError, match=r"takes ciphertexts of shape \(B, 2, 3\); got \(4, 1, 3\)"):
        evaluator.write(Emulated(evaluator.program, 4), torch.zeros(4, 1, 3))
