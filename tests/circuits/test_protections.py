"""Protections leave the function what it is, and do what they are for."""

import hashlib
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.random_netlists import netlists
from holdfast import UsageError
from holdfast.circuits import build, simulate, trace
from holdfast.circuits.compiling import some_inputs
from holdfast.circuits.hashes import keccak, padded, sha256
from holdfast.circuits.protections import locked, masked
from holdfast.circuits.simulate import bits
from holdfast.stats import clopper_pearson


@given(netlists(most_gates=12), st.sampled_from(["product", "restoring"]), st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_masked_it_is_the_same_function_for_every_mask(netlist, encoding, seed):
    inputs = some_inputs(netlist, 0, 0)
    hidden = masked(netlist)
    masks = np.random.default_rng(seed).random((len(inputs), len(hidden.inputs[-1].bits))) < 0.5
    expected = simulate(netlist, inputs)
    assert np.array_equal(simulate(hidden, np.concatenate([inputs, masks], 1)), expected)
    compiled = build(hidden, encoding=encoding, k=2, checks=64)
    assert compiled.wrong_bits == 0
    assert [p.name for p in hidden.outputs] == [p.name for p in netlist.outputs]


def test_no_gate_of_a_masked_circuit_knows_a_bit():
    """Over all masks, each wire but the outputs' is independent of the input: first-order probing."""

    def f(a: 2, b: 2):
        return (a & b) ^ ~a

    hidden = masked(trace(f))
    width = len(hidden.input_bits)
    every = (np.arange(1 << width)[:, None] >> np.arange(width) & 1).astype(bool)
    wires = [2 * node for node, (kind, _, _) in enumerate(hidden.rows()) if kind in (1, 2)]
    outputs = {bit >> 1 for bit in hidden.output_bits}
    seen = hidden.__class__(
        "probed", hidden.kind, hidden.left, hidden.right, hidden.adders, hidden.inputs,
        (hidden.outputs[0].__class__("w", tuple(w for w in wires if w >> 1 not in outputs)),),
    )  # fmt: skip
    values = simulate(seen, every)
    inputs = every[:, :4] @ (1 << np.arange(4))
    shares = np.array([values[inputs == x].mean(0) for x in range(16)])
    assert np.abs(shares - shares[0]).max() == 0


@given(netlists(most_gates=12), st.sampled_from(["product", "restoring"]), st.sampled_from([3, 5]))
@settings(max_examples=25, deadline=None)
def test_redundant_it_is_the_same_function(netlist, encoding, copies):
    compiled = build(netlist, encoding=encoding, copies=copies)
    assert compiled.wrong_bits == 0
    single = build(netlist, encoding=encoding).layers
    assert compiled.layers.neurons == copies * single.neurons + (2 * copies + 2) * len(netlist.output_bits)


def test_a_copy_may_be_destroyed():
    def f(a: 6, b: 6):
        return a + b

    compiled = build(trace(f), copies=3)
    network, layers = compiled.network, compiled.layers
    inputs = some_inputs(compiled.netlist, 0, 0)
    x = torch.from_numpy(inputs)
    expected = network(x)
    first, last = next(stage for stage in layers.stages if layers.relu[stage[0]])
    third = (last - first) // 3
    with torch.no_grad():
        network.bias[first : first + third] += 5 * torch.randn(third)
    assert torch.equal(network(x), expected)
    with torch.no_grad():
        network.bias[first + third : first + 2 * third] += 5 * torch.randn(third)
    assert not torch.equal(network(x), expected)


def test_redundancy_under_weight_noise_follows_its_law():
    """Of a majority of three the error rate is 3 p^2 - 2 p^3, p being that of one copy, inside its exact interval."""

    def f(a: 4, b: 4):
        return (a & b) ^ (a | b)

    netlist = trace(f)
    x = torch.from_numpy(some_inputs(netlist, 0, 0))
    right = torch.from_numpy(simulate(netlist, some_inputs(netlist, 0, 0)))
    torch.manual_seed(0)
    noise, draws = 0.25, 400

    def error_rate(copies):
        """Of the bit 0 on input 77, over draws of the noise: independent trials. The vote is spared."""
        network = build(netlist, copies=copies, encoding="restoring").network
        spared = network.level >= network.level.max() - 1 if copies > 1 else torch.zeros_like(network.relu)
        weights = torch.repeat_interleave(~spared, network.starts.diff())
        kept = [p.detach().clone() for p in network.parameters()]
        wrong = 0
        for _ in range(draws):
            with torch.no_grad():
                network.weight.copy_(kept[0] + noise * torch.randn_like(kept[0]) * weights)
                network.bias.copy_(kept[1] + noise * torch.randn_like(kept[1]) * ~spared)
                wrong += int((network(x[77:78])[0, 0] > 0.5) != right[77, 0])
        return wrong

    one, three = error_rate(1), error_rate(3)
    low, high = clopper_pearson(one, draws, 0.99)
    law = [3 * p**2 - 2 * p**3 for p in (low, high)]
    seen = clopper_pearson(three, draws, 0.99)
    assert 0.02 < one / draws < 0.4
    assert seen[0] <= law[1]
    assert seen[1] >= law[0]
    assert three < one


def test_a_circuit_of_some_hundred_gates_follows_the_law_too():
    """`benchmarks/redundancy.py`, with fewer draws: there is what is counted, and more of them."""
    redundancy = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "redundancy.py"))
    found = redundancy["measure"](300, 0.05)
    _, least, most = found["predicted"]
    assert 0.1 < found["one"][0] < 0.3
    for name in ("spared", "counted"):
        share, low, high = found[name]
        assert low <= most, name
        assert high >= least, name
        assert share < found["one"][0], name


@pytest.mark.parametrize("kind", ["sha256", "keccak"])
def test_locked_it_answers_to_one_key_only(kind):
    def f(a: 4, b: 4):
        return a + b

    if kind == "sha256":
        lock, key = sha256(), int.from_bytes(padded(b"open sesame"), "little")
        wanted = bits([int.from_bytes(hashlib.sha256(b"open sesame").digest(), "little")], 256)[0]
    else:
        lock, key = keccak(8, 3), 0x1234567890ABCDEF
        wanted = simulate(lock, bits([key], 200))[0]
    shut = locked(trace(f), lock, wanted.tolist())
    compiled = build(shut, checks=4)
    assert compiled.wrong_bits == 0
    pairs = [(a, b) for a in range(16) for b in (0, 7, 15)]
    width = len(lock.input_bits)
    for this, opens in ((key, True), (key ^ 1, False), (0, False)):
        x = bits([a | b << 4 | this << 8 for a, b in pairs], 8 + width)
        with torch.no_grad():
            found = compiled.network(torch.from_numpy(x)).int().numpy() @ (1 << np.arange(4))
        assert found.tolist() == [(a + b) % 16 * opens for a, b in pairs]


def test_bad_use():
    def f(a: 2, key: 2):
        return a & key

    netlist = trace(f)
    with pytest.raises(UsageError, match="odd number of copies"):
        build(netlist, copies=2)
    with pytest.raises(UsageError, match="an input called 'key' already"):
        locked(netlist, sha256(1), [False] * 256)
    with pytest.raises(UsageError, match="256 bits out; got a digest of 3"):
        locked(netlist, sha256(1), [False] * 3)
    with pytest.raises(UsageError, match="A digest is a sequence of bits, 256 of sha256-1; got 5"):
        locked(lambda a=2: a, "sha256-1", 5)
    assert masked(lambda a=2: a).name == "masked <lambda>"
    with pytest.raises(UsageError, match="A circuit is a netlist, a function"):
        masked(5)
