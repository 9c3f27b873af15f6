"""The compiled kernel gives the network's bits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.random_netlists import netlists
from holdfast import UsageError
from holdfast.circuits import build, simulate, trace
from holdfast.circuits.hashes import sha256

pytest.importorskip("numba", reason='the kernel is compiled by numba: pip install "holdfast[encrypted]"')
from holdfast.circuits.kernel import BLOCK, Kernel


@given(netlists(most_gates=60), st.sampled_from([1, 2, BLOCK, BLOCK + 3]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_simulators_bits(netlist, count, wide):
    network = build(netlist, wide=wide).network
    bits_NI = np.random.default_rng(count).integers(0, 2, (count, len(netlist.input_bits)), bool)
    out = Kernel(network)(torch.from_numpy(bits_NI))
    assert np.array_equal(out.numpy(), simulate(netlist, bits_NI))


def test_to_the_digit_on_a_hash():
    network = build(sha256(8), checks=16).network
    x = torch.randint(0, 2, (200, 512), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        assert torch.equal(Kernel(network)(x), network(x))


def test_what_is_refused():
    netlist = trace(lambda a, b: a + b, {"a": 4, "b": 4})
    with pytest.raises(UsageError, match=r"computes in float32; <lambda> is in torch.float64"):
        Kernel(build(netlist, dtype="float64").network)
    with pytest.raises(UsageError, match=r"takes bits of shape \(B, 8\); got \(2, 7\)"):
        Kernel(build(netlist).network)(torch.zeros(2, 7))
