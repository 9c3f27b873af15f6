"""Compiled networks: the same bits as the circuit on every input, off every kink, and with PyTorch's own gradients."""

import copy
import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from circuits.random_netlists import by_hand, netlists
from holdfast import HoldfastError, UsageError
from holdfast.circuits import build, compile, simulate, trace
from holdfast.circuits.compiling import some_inputs
from holdfast.circuits.decompose import product_units, restoring_units
from holdfast.circuits.hashes import keccak, padded, sha256
from holdfast.circuits.network import Network
from holdfast.circuits.simulate import bits, words
from holdfast.circuits.trace import mux

ENCODINGS = ["product", "restoring"]


@given(netlists(), st.sampled_from(ENCODINGS), st.integers(2, 4), st.sampled_from([1, 2, 3, 16]))
@settings(max_examples=60, deadline=None)
def test_network_simulator_and_python_agree_on_every_input(netlist, encoding, k, adder_bits):
    inputs = some_inputs(netlist, 0, 0)
    expected = [by_hand(netlist, row) for row in inputs]
    assert simulate(netlist, inputs).astype(int).tolist() == expected
    compiled = build(netlist, encoding=encoding, k=k, adder_bits=adder_bits)
    assert compiled.wrong_bits == 0
    assert compiled.checked == len(inputs) == 1 << len(netlist.input_bits)
    with torch.no_grad():
        assert compiled.network(torch.from_numpy(inputs)).int().tolist() == expected


@given(netlists(most_gates=40), st.sampled_from([1, 2, 3, 16]))
@settings(max_examples=60, deadline=None)
def test_sums_of_products_agree_on_every_input_and_take_no_more_layers(netlist, adder_bits):
    wide, tables = (build(netlist, wide=wide, k=2, adder_bits=adder_bits) for wide in (True, False))
    assert wide.wrong_bits == 0
    assert wide.layers.depth <= tables.layers.depth


def test_words_are_one_layer():
    """32 registers of 4 bits are read by a unit a bit of each; a word of 16 bits is shifted by any distance, and 40
    bits are compared with a constant by one unit."""

    def file(x: 128, a: 5):
        read = [x[4 * r : 4 * r + 4] for r in range(32)]
        for bit in range(5):
            read = [mux(a[bit], high, low) for low, high in zip(read[::2], read[1::2], strict=True)]
        return read[0]

    def shifted(x: 16, by: 4):
        for i in range(4):
            x = mux(by[i], x << (1 << i), x)
        return x

    equal = trace(lambda x: x == 12345678901, {"x": 40})
    circuits = {"file": file, "shifted": shifted, "equal": equal}
    found = {name: build(circuit, wide=True).layers for name, circuit in circuits.items()}
    assert {name: (layers.depth, layers.neurons) for name, layers in found.items()} == {
        "file": (1, 128),
        "shifted": (1, 136),
        "equal": (1, 1),
    }
    assert build(file, wide=True).wrong_bits == 0


def test_products_are_of_the_product_encoding():
    with pytest.raises(UsageError, match="wide=True makes sums of products"):
        build(trace(lambda x: x, {"x": 2}), wide=True, encoding="restoring")


@given(netlists(most_gates=12), st.sampled_from(ENCODINGS))
@settings(max_examples=25, deadline=None)
def test_no_unit_stands_on_its_kink(netlist, encoding):
    """So the gradient is that of the function: a step to either side gives the same slope."""
    network = build(netlist, encoding=encoding, dtype="float64").network
    for row in some_inputs(netlist, 0, 0)[:8]:
        x = torch.from_numpy(row)[None].double().requires_grad_()
        out = network(x)
        for o in range(min(3, out.shape[1])):
            (slope,) = torch.autograd.grad(out[0, o], x, retain_graph=True)
            for i in range(x.shape[1]):
                for side in (1e-6, -1e-6):
                    moved = x.detach().clone()
                    moved[0, i] += side
                    found = (network(moved)[0, o] - out[0, o].detach()).item() / side
                    assert found == pytest.approx(slope[0, i].item(), abs=1e-3)


def plain(network, x, weight, bias):
    """The network with autograd alone, row by row."""
    values = [x[:, i] for i in range(network.inputs)]
    for row in range(len(bias)):
        z = bias[row]
        for j in range(int(network.starts[row]), int(network.starts[row + 1])):
            z = z + weight[j] * values[int(network.indices[j])]
        values.append(z.relu() if network.relu[row] else z.expand(len(x)))
    return torch.stack([values[row] for row in network.outputs.tolist()], 1)


@given(netlists(most_gates=12), st.sampled_from(ENCODINGS), st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_gradients_are_autograds(netlist, encoding, seed):
    network = build(netlist, encoding=encoding, dtype="float64").network
    torch.manual_seed(seed)
    x = torch.rand(5, network.inputs, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    found = network(x)
    expected = plain(network, x, network.weight, network.bias)
    torch.testing.assert_close(found, expected)
    toward = torch.randn_like(found)
    over = [x, network.weight, network.bias]
    ours = torch.autograd.grad((found * toward).sum(), over, allow_unused=True)
    theirs = torch.autograd.grad((expected * toward).sum(), over, allow_unused=True)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, torch.zeros_like(mine) if other is None else other)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("units_of", [product_units, restoring_units])
def test_every_small_table_is_given_exactly_by_few_units(units_of, k):
    points = (np.arange(1 << k)[:, None] >> np.arange(k) & 1).astype(float)
    counts = {}
    for table in range(1 << (1 << k)):
        units = units_of(table, k)
        z = points @ np.array(units.weights).reshape(-1, k).T + np.array(units.biases)
        found = np.maximum(z, 0) @ np.array(units.reads) + points @ np.array(units.direct) + units.constant
        assert found.tolist() == [table >> m & 1 for m in range(1 << k)]
        assert (np.abs(z) >= 0.5).all(), "off its kink"
        counts[table] = units.count
    known = {2: {0b1000: (1, 2), 0b0110: (1, 4)}, 3: {0b10010110: (2, 6), 0b11101000: (2, 2), 0b11001010: (2, 4)}}[k]
    for table, expected in known.items():  # and; xor; xor of three; majority; multiplexer
        assert counts[table] == expected[units_of is restoring_units]
    if units_of is product_units:
        assert max(counts.values()) == k - 1


@given(st.integers(0, 65535))
@settings(max_examples=10, deadline=None)
def test_tables_of_four(table):
    points = (np.arange(16)[:, None] >> np.arange(4) & 1).astype(float)
    for units in (product_units(table, 4), restoring_units(table, 4)):
        z = points @ np.array(units.weights).reshape(-1, 4).T + np.array(units.biases)
        found = np.maximum(z, 0) @ np.array(units.reads) + points @ np.array(units.direct) + units.constant
        assert found.tolist() == [table >> m & 1 for m in range(16)]


MESSAGES = [b"", b"abc", b"a" * 55, bytes(range(40))]


@pytest.mark.parametrize(("encoding", "k"), [("product", 3), ("restoring", 3)])
def test_sha256_is_hashlibs(encoding, k):
    compiled = build(sha256(), encoding=encoding, k=k, checks=4)
    assert compiled.wrong_bits == 0
    blocks = bits([int.from_bytes(padded(message), "little") for message in MESSAGES], 512)
    with torch.no_grad():
        found = compiled.network(torch.from_numpy(blocks)).bool().numpy()
    assert [w.to_bytes(32, "little") for w in words(found)] == [hashlib.sha256(m).digest() for m in MESSAGES]
    if encoding == "product":
        assert compiled.layers.neurons <= 60_000


def sponge(message, rate, suffix=0x06):
    """One block of SHA-3's padding, as a state."""
    block = bytearray(message + bytes([suffix]) + bytes(rate - 1 - len(message)))
    block[rate - 1] |= 0x80
    return int.from_bytes(bytes(block), "little")


def test_keccak_is_hashlibs_sha3():
    compiled = build(keccak(), checks=2)
    assert (compiled.wrong_bits, compiled.layers.neurons <= 154_000) == (0, True)
    for size in (224, 256, 384, 512):
        rate = 200 - size // 4
        states = bits([sponge(message, rate) for message in MESSAGES], 1600)
        with torch.no_grad():
            found = compiled.network(torch.from_numpy(states)).bool().numpy()
        expected = [hashlib.new(f"sha3_{size}", message).digest() for message in MESSAGES]
        assert [w.to_bytes(200, "little")[: size // 8] for w in words(found)] == expected


def test_restoring_units_forget_small_errors_and_have_no_gradient():
    def adder(a: 8, b: 8):
        return a + b

    network = compile(adder, encoding="restoring")
    x = torch.randint(2, (200, 16)).float()
    exact = network(x)
    shaken = x + 0.08 * (2 * torch.rand_like(x) - 1)
    shaken.requires_grad_()
    out = network(shaken)
    assert torch.equal(out, exact)
    assert torch.autograd.grad(out.sum(), shaken)[0].abs().max() == 0
    loose = compile(adder)
    assert not torch.equal(loose(shaken), exact), "the other encoding lets them through"


def test_it_is_an_ordinary_module(tmp_path):
    def f(a: 6, b: 6):
        return {"sum": a + b, "less": a < b}

    network = compile(f)
    assert {name for name, _ in network.named_parameters()} == {"weight", "bias"}
    network.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors")
    x = torch.randint(2, (50, 12)).float()
    assert torch.equal(again(x), network(x))
    assert [port.name for port in again.output_ports] == ["sum", "less"]
    optimiser = torch.optim.SGD(again.parameters(), lr=0.1)
    again(x).square().sum().backward()
    optimiser.step()
    assert not torch.equal(again(x), network(x)), "it trains"
    with pytest.raises(UsageError, match=r"takes bits of shape \(B, 12\); got \(50, 11\)"):
        network(x[:, :11])


def test_a_dtype_in_which_it_is_not_exact_is_refused_whoever_changes_it(tmp_path):
    def wide(a: 16, b: 16):
        return a + b

    network = compile(wide)
    network.save(tmp_path / "net.safetensors")
    x = torch.from_numpy(some_inputs(trace(wide), 50, 0)).float()
    expected = network(x)
    assert torch.equal(copy.deepcopy(network).double()(x), expected.double())
    for net in (network, Network.load(tmp_path / "net.safetensors")):
        assert net.exact_in == ("float64", "float32")
        with pytest.raises(UsageError, match=r"wide is not exact in torch.float16.*net.to\(torch.float32\)"):
            net.half()(x)
        with pytest.raises(UsageError, match="not exact in torch.bfloat16"):
            net.bfloat16()(x)
    narrow = compile(lambda a=4, b=4: a & b).half()
    assert narrow(x[:, :8]).dtype == torch.float16


def test_a_file_that_is_none_of_ours(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"rubbish")
    for name in ("x.safetensors", "absent.safetensors"):
        with pytest.raises(HoldfastError, match="is not a compiled circuit"):
            Network.load(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("indices", lambda v: v + 1000),
        ("indices", lambda v: -v - 1),
        ("starts", lambda v: v.flip(0)),
        ("starts", lambda v: v[:-1].clone()),
        ("weight", lambda v: v[:-1].clone()),
        ("relu", lambda v: v[:-1].clone()),
        ("outputs", None),
    ],
)
def test_a_file_with_other_numbers_in_it(tmp_path, name, change):
    def f(a: 4, b: 4):
        return a + b

    compile(f).save(tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", framework="pt") as file:
        said = file.metadata()
        held = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    if change is None:
        said["ports"] = said["ports"].replace('"bits": [', '"bits": [999, ')
    else:
        held[name] = change(held[name])
    save_file(held, tmp_path / "net.safetensors", metadata=said)
    with pytest.raises(HoldfastError, match="is not a compiled circuit"):
        Network.load(tmp_path / "net.safetensors")


def test_what_cannot_be_exact_is_refused():
    def wide(a: 32, b: 32):
        return a + b

    assert build(trace(wide)).wrong_bits == 0
    with pytest.raises(HoldfastError, match=r"would not be exact in bfloat16.*fewer adder_bits"):
        build(trace(wide), dtype="bfloat16")
    with pytest.raises(HoldfastError, match="would not be exact in float32"):
        build(trace(wide), adder_bits=32)
    assert build(trace(wide), adder_bits=32, dtype="float64").wrong_bits == 0
    assert build(trace(wide), adder_bits=1, dtype="bfloat16").wrong_bits == 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": 7}, "k = 2 to 6"),
        ({"k": "3"}, "k must be a whole number; got '3'"),
        ({"k": 2.5}, "k must be a whole number; got 2.5"),
        ({"copies": "3"}, "copies must be a whole number"),
        ({"adder_bits": 2.0}, "adder_bits must be a whole number"),
        ({"encoding": None}, "Unknown encoding 'None'"),
        ({"encoding": ["product"]}, "Unknown encoding"),
        ({"dtype": torch.int32}, "Unknown dtype 'int32'"),
        ({"dtype": None}, "Unknown dtype 'None'"),
        ({"checks": -5}, "on 1 input or more; got checks=-5"),
        ({"checks": 0}, "on 1 input or more; got checks=0"),
        ({"checks": 1.5}, "checks must be a whole number"),
        ({"seed": -1}, "seed is a whole number from 0"),
        ({"seed": None}, "seed must be a whole number"),
        ({"encoding": "products"}, "product"),
        ({"dtype": "float8"}, "dtype"),
        ({"adder_bits": 0}, "1 to 40"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(UsageError, match=match):
        build(sha256(1), **options)


def test_a_circuit_however_it_is_given(tmp_path):
    def step(a: 3, b: 3):
        return a + b

    (tmp_path / "mine.py").write_text("def step(a: 3, b: 3):\n    return a + b\n")
    file = f"{tmp_path / 'mine.py'}:step"
    x = torch.from_numpy(some_inputs(trace(step), 0, 0)).float()
    expected = compile(trace(step))(x)
    for source in (step, file):
        assert torch.equal(compile(source, dtype=torch.float64)(x), expected.double())
        assert build(source).checked == 64
    with pytest.raises(UsageError, match="A circuit is a netlist, a function over words of bits, or a file; got 3"):
        compile(3)


def test_random_inputs_are_so_many_and_half_of_their_bits_are_set():
    circuit = trace(lambda a=2000: a)
    drawn = some_inputs(circuit, 10_000, 1)
    assert drawn.shape == (10_000, 2000)
    assert abs(drawn.mean() - 0.5) < 1e-3
    assert (np.abs(drawn.mean(0) - 0.5) < 0.03).all(), "6 standard deviations"
    assert len(np.unique(np.packbits(drawn, axis=1), axis=0)) == 10_000
