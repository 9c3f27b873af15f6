"""Programs on encrypted bits, against the circuits' simulator."""

import itertools
import json
from dataclasses import replace
from fractions import Fraction
from math import erfc, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from scipy import stats

from holdfast import HoldfastError, UsageError
from holdfast.circuits.builder import Builder
from holdfast.circuits.simulate import bits, simulate, words
from holdfast.circuits.trace import trace
from holdfast.encrypted import SETS, EncryptedNetwork, SecretKey, program_of
from holdfast.encrypted.noise import Noise
from holdfast.encrypted.program import Program, gate_cell, table_cell
from holdfast.encrypted.randomness import Entropy

KEY = {name: SecretKey(SETS[name], np.random.default_rng(5)) for name in ("tiny", "small", "toy")}


def added(width):
    return trace(lambda a, b: a + b, {"a": width, "b": width}, name="sum")


@st.composite
def circuits(draw):
    """Random gates and adders over up to five bits, with inverted, repeated and constant outputs."""
    builder = Builder()
    literals = [0, 1, *builder.input("x", draw(st.integers(1, 3))), *builder.input("y", draw(st.integers(1, 2)))]
    for _ in range(draw(st.integers(0, 7))):
        kind = draw(st.sampled_from([builder.both, builder.either, builder.differ]))
        x, y = (draw(st.sampled_from(literals)) ^ draw(st.integers(0, 1)) for _ in range(2))
        literals.append(kind(x, y))
    if draw(st.booleans()):
        a, b = ([draw(st.sampled_from(literals)) for _ in range(2)] for _ in range(2))
        literals += builder.add(a, b, draw(st.sampled_from(literals)))
    outputs = draw(st.lists(st.sampled_from(literals), min_size=1, max_size=4))
    return builder.netlist("drawn", [("out", outputs)])


def every_input(netlist):
    size = len(netlist.input_bits)
    return np.arange(1 << size)[:, None] >> np.arange(size) & 1 == 1


@settings(max_examples=60, deadline=None)
@given(circuits(), st.sampled_from([None, 2, 3, 4, 5]))
def test_a_program_computes_the_circuit(netlist, tables):
    x = every_input(netlist)
    assert np.array_equal(program_of(netlist, tables=tables).plain(x), simulate(netlist, x))


@settings(max_examples=25, deadline=None)
@given(circuits(), st.sampled_from([(None, False), (2, True), (3, False), (3, True)]), st.integers(0, 3))
def test_on_ciphertexts_it_computes_the_circuit(netlist, form, y):
    tables, hidden = form
    fixed = {"y": y % (1 << len(netlist.inputs[1].bits))}
    program, key = program_of(netlist, tables=tables, hidden=hidden, fixed=fixed), KEY["tiny"]
    x = every_input(netlist)
    width = len(netlist.inputs[0].bits)
    mine = np.array([row for row in x if words(row[None, width:])[0] == fixed["y"]])
    network = key.network(program)
    found = key.decrypt(network(key.encrypt(torch.from_numpy(mine[:, :width]).long(), program.step)), program.steps)
    assert np.array_equal(found.numpy() == 1, simulate(netlist, mine))


@pytest.mark.parametrize("name", ["tiny", "small", "toy"])
def test_an_adder_of_32_bits(name):
    rng, key = np.random.default_rng(3), KEY[name]
    a, b = ([int(v) for v in rng.integers(0, 1 << 32, 3)] for _ in range(2))
    program = program_of(added(32))
    x = torch.from_numpy(np.concatenate([bits(a, 32), bits(b, 32)], 1)).long()
    found = key.decrypt(key.network(program)(key.encrypt(x)), program.steps)
    assert words(found.numpy() == 1) == [(p + q) % 2**32 for p, q in zip(a, b, strict=True)]


def test_the_table_of_every_gate():
    for name, table in {"and": 8, "or": 14, "xor": 6, "nand": 7, "nor": 1, "xnor": 9}.items():
        for flips in range(4):
            cell = gate_cell(name, (0, bool(flips & 1)), (1, bool(flips >> 1)))
            expected = [bool(table >> (m ^ flips) & 1) for m in range(4)]
            assert list(cell.table(cell.step)) == expected
            assert cell.margin(cell.step) == max(map(abs, cell.weights)) / 8


def test_margins_halve_with_each_bit_of_a_table():
    for size in range(1, 6):
        cell = table_cell(range(size), [m % 2 == 1 for m in range(1 << size)])
        assert float(cell.margin(2 * cell.start)) == 2.0 ** -(size + 2)


def test_what_is_hidden_is_not_in_the_network(tmp_path):
    netlist = trace(lambda a, p: (a & p) + a, {"a": 3, "p": 3}, name="secretive")
    program = program_of(netlist, tables=3, hidden=True, fixed={"p": 5})
    network = KEY["tiny"].network(program)
    others = [program_of(netlist, tables=3, hidden=True, fixed={"p": p}) for p in range(8)]
    assert all(other.public == network.program for other in others)
    assert not any(any(cell.slots) for cell in network.program.cells)
    network.save(tmp_path / "net.safetensors")
    assert b"small" not in (tmp_path / "net.safetensors").read_bytes()


def test_saved_and_loaded(tmp_path):
    key, program = KEY["small"], program_of(added(2), tables=2, hidden=True)
    network = key.network(program)
    network.save(tmp_path / "net.safetensors")
    key.save(tmp_path / "key.json")
    assert (tmp_path / "key.json").stat().st_mode & 0o077 == 0
    again = EncryptedNetwork.load(tmp_path / "net.safetensors")
    client = SecretKey.load(tmp_path / "key.json", np.random.default_rng(9))
    x = torch.tensor([[1, 1, 1, 0], [0, 1, 0, 1]])
    sent = client.encrypt(x, program.step)
    assert torch.equal(again(sent), network(sent))
    assert client.decrypt(again(sent), again.program.steps).tolist() == [[0, 0], [0, 0]]
    assert Program.from_json(program.to_json()) == program.public


def test_what_is_refused(tmp_path):
    key, netlist = KEY["tiny"], added(2)
    network = key.network(program_of(netlist))
    with pytest.raises(HoldfastError, match="secret key does not go into the network"):
        network.client = key
    with pytest.raises(HoldfastError, match="stays with the client"):
        torch.save({"key": key}, tmp_path / "all.pt")
    network.register_buffer("mine", torch.from_numpy(key.small_n))
    with pytest.raises(HoldfastError, match=r"'mine'.*stays with the client"):
        network.save(tmp_path / "net.safetensors")
    with pytest.raises(UsageError, match=r"shape \(B, 4, 9\); got \(2, 4, 33\)"):
        network(torch.zeros(2, 4, 33, dtype=torch.float64))
    with pytest.raises(UsageError, match=r"hidden=True needs tables"):
        program_of(netlist, hidden=True)
    with pytest.raises(UsageError, match=r"tables is None or .*got 6"):
        program_of(netlist, tables=6)
    with pytest.raises(UsageError, match=r"'c'.*a, b"):
        program_of(netlist, fixed={"c": 1})
    with pytest.raises(UsageError, match=r"2 bits: 0 to 3; got 4"):
        program_of(netlist, fixed={"a": 4})
    with pytest.raises(UsageError, match="nothing goes in"):
        program_of(netlist, fixed={"a": 1, "b": 1})
    with pytest.raises(HoldfastError, match=r"noise of toy is too large for sum.*tables of fewer"):
        KEY["toy"].network(program_of(added(4), tables=3))
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(HoldfastError, match="no network that"):
        EncryptedNetwork.load(tmp_path / "other.safetensors")
    with pytest.raises(HoldfastError, match="key.json"):
        SecretKey.load(tmp_path / "key.json", np.random.default_rng(0))
    (tmp_path / "key.json").write_text(json.dumps({"set": "tiny"}))
    with pytest.raises(HoldfastError, match="no secret key"):
        SecretKey.load(tmp_path / "key.json", np.random.default_rng(0))


def test_wrong_bits_are_as_many_as_the_noise_says():
    """In a set so noisy that tables fail now and then; two levels, the second of which reads what the first gave."""
    noisy = replace(SETS["tiny"], name="noisy", switch=replace(SETS["tiny"].switch, noise=4.8e5))
    netlist = trace(lambda x: (x[0] ^ x[1]) ^ (x[2] ^ x[3]), {"x": 4}, name="parity")
    program = program_of(netlist, tables=2)
    with pytest.raises(HoldfastError, match="noise of noisy is too large"):
        SecretKey(noisy, np.random.default_rng(2)).network(program)
    key = SecretKey(noisy, np.random.default_rng(2))
    network = EncryptedNetwork(program, key.evaluation_key(), torch.zeros(0, noisy.n + 1), None)
    x = torch.randint(0, 2, (4000, 4), generator=torch.Generator().manual_seed(1))
    half_turns = (key.phase(network(key.encrypt(x, program.step)))[:, 0] * 4 + 0.5).floor() % 4
    wrong = float((half_turns != x.sum(1) % 2).double().mean())
    # The second level adds two noisy bits, one of them twice, and has a sixteenth of a turn to spare on either side.
    sd = Noise(noisy).gate
    expected = erfc(1 / 16 / sqrt(2 * 5 * sd**2))
    assert 0.02 < expected < 0.2
    assert abs(wrong - expected) < 5 * sqrt(expected / len(x)) + 0.1 * expected
    assert wrong < Noise(noisy).wrong_bits(program)


def test_hidden_tables_do_not_tell_an_output_from_its_inverse():
    """Nor a constant, nor an input: all that is public of them is which values are read."""
    functions = (
        lambda x: x[0] & x[1] & x[2],
        lambda x: ~(x[0] & x[1] & x[2]),
        lambda x: x[0] | x[1] | x[2],
        lambda x: x[0] ^ x[1] ^ x[2],
    )
    made = [program_of(trace(f, {"x": 3}, name="f"), tables=3, hidden=True) for f in functions]
    assert len({program.to_json() for program in made}) == 1
    builder = Builder()
    x = builder.input("x", 2)
    same = [builder.netlist("same", [("out", [bit])]) for bit in (x[0], x[0] ^ 1, 0, 1)]
    through = [program_of(netlist, tables=2, hidden=True) for netlist in same]
    assert len({program.to_json() for program in through}) == 1
    every = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) == 1
    assert [program.plain(every)[:, 0].tolist() for program in through] == [
        [False, True, False, True],
        [True, False, True, False],
        [False] * 4,
        [True] * 4,
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"cells": [[[5, 1], [1, 1], "1/8", [1], "1/4"]]},
        {"cells": [[[-1, 1], [1, 1], "1/8", [1], "1/4"]]},
        {"cells": [[[], [], "1/8", [1], "1/4"]]},
        {"cells": [[[0, 1], [1], "1/8", [1], "1/4"]]},
        {"cells": [[[0, 1], [1, 1 << 70], "1/8", [1], "1/4"]]},
        {"cells": [[[0, 1], [1, 1.5], "1/8", [1], "1/4"]]},
        {"cells": [[[0, 1], [1, 1], "1/0", [1], "1/4"]]},
        {"cells": [[[0, 1], [1, 1], "1/8", [1, 1, 1], "1/4"]]},
        {"outputs": [["y", [[99, False]]]]},
        {"outputs": []},
        {"fixed": 10**30},
        {"fixed": -3},
        {"inputs": [["x", -1]]},
        {"step": "0"},
    ],
)
def test_a_damaged_program_is_not_read(wrong, tmp_path):
    program = program_of(trace(lambda x: x[0] & x[1], {"x": 2}, name="f"))
    with pytest.raises((ValueError, ArithmeticError, LookupError, TypeError)):
        Program.from_json(json.dumps(json.loads(program.to_json()) | wrong))


def test_a_network_file_with_something_else_in_it_is_not_read(tmp_path):
    network = KEY["tiny"].network(program_of(added(1)))
    network.save(tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        said, held = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for more in (
        {"secret": torch.zeros(3)},
        {"keys.switch": held["keys.switch"] + 2**33},
        {"keys.rotation.0": held["keys.rotation.0"].double()},
        {"fixed": torch.zeros(4, 9, dtype=torch.int64)},
    ):
        save_file(held | more, tmp_path / "other.safetensors", metadata=said)
        with pytest.raises(HoldfastError):
            EncryptedNetwork.load(tmp_path / "other.safetensors")


def test_trivial_keys_are_marked(tmp_path):
    trivial = SecretKey(SETS["tiny"], np.random.default_rng(1), trivial="keys").network(program_of(added(1)))
    trivial.save(tmp_path / "net.safetensors")
    assert "hides nothing" in repr(EncryptedNetwork.load(tmp_path / "net.safetensors"))
    assert "hides nothing" not in repr(KEY["tiny"].network(program_of(added(1))))


def test_a_key_file_is_its_owners_alone_and_is_checked(tmp_path):
    path = tmp_path / "key.json"
    path.write_text("{}")
    path.chmod(0o644)
    KEY["tiny"].save(path)
    assert path.stat().st_mode & 0o077 == 0
    said = json.loads(path.read_text())
    for wrong in ([7] * 8, [0.5] * 8, ["1"] * 8, [10**30] * 8, [0] * 7):
        path.write_text(json.dumps(said | {"small": wrong}))
        with pytest.raises(HoldfastError, match="no secret key"):
            SecretKey.load(path)


def test_bits_and_steps_are_checked():
    key = KEY["tiny"]
    for wrong in ([2], [-1], [0.7]):
        with pytest.raises(UsageError, match="Bits are 0 and 1"):
            key.encrypt(torch.tensor(wrong))
    sent = key.encrypt(torch.tensor([[1, 0]]))
    for steps in ([sent, sent], 0.25, [program_of(added(1)).step] * 3):
        with pytest.raises(UsageError, match="one or one for each of 2 bits"):
            key.decrypt(sent, steps)


def test_the_systems_entropy():
    """Uniform and normal by chi-squared and Kolmogorov-Smirnov, at one in a million; two keys differ."""
    drawn = Entropy()
    counts = np.bincount(drawn.integers(-3, 4, 70_000) + 3, minlength=7)
    assert stats.chisquare(counts).pvalue > 1e-6
    assert stats.kstest(drawn.normal(5.0, 2.0, 50_000), "norm", args=(5.0, 2.0)).pvalue > 1e-6
    assert drawn.integers(0, 2**32, (4, 5)).shape == (4, 5)
    one, two = SecretKey(SETS["small"]), SecretKey(SETS["small"])
    assert not np.array_equal(one.ring_N, two.ring_N)
    bits = torch.randint(0, 2, (40,), generator=torch.Generator().manual_seed(0))
    assert torch.equal(one.decrypt(one.encrypt(bits)), bits)


@pytest.mark.parametrize("tables", [None, 2, 3, 4])
def test_a_cell_may_be_off_by_its_margin_and_no_more(tables):
    """Each value that reads it is the same for what is just within its margin, whatever else is read, and another for
    some input and some sign just beyond; what is an output is read at half a step."""
    program = program_of(trace(lambda a, b: a + b, {"a": 3, "b": 3}, name="sum"), tables=tables)
    first, outputs = program.input_bits, {value for value, _ in program.output_bits}
    for i, margin in enumerate(program.margins):
        readers = [cell for cell in program.cells if first + i in cell.reads]
        for off, same in ((margin * Fraction(99, 100), True), (margin * Fraction(101, 100), False)):
            kept = [
                cell.at(total) == cell.at(total + sign * off * weight)
                for cell in readers
                for bits in itertools.product((0, 1), repeat=len(cell.reads))
                for total in [cell.start + program.step * sum(w * x for w, x in zip(cell.weights, bits, strict=True))]
                for value, weight in zip(cell.reads, cell.weights, strict=True)
                if value == first + i
                for sign in (1, -1)
            ]
            kept += [off < program.cells[i].step / 2] * (first + i in outputs)
            assert all(kept) == same
