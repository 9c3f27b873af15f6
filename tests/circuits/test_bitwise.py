"""Straight-line code on words of bits gives what the simulator gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.random_netlists import netlists
from holdfast import UsageError
from holdfast.circuits import simulate, trace
from holdfast.circuits.hashes import sha256

pytest.importorskip("numba", reason='the code is compiled by LLVM: pip install "holdfast[encrypted]"')
from holdfast.circuits.bitwise import STRETCH, WORDS, Bitwise, steps_of


def agree(netlist, words, seed=0):
    bits_NI = np.random.default_rng(seed).integers(0, 2, (64 * words, len(netlist.input_bits)), bool)
    words_IW = np.ascontiguousarray(np.packbits(bits_NI.T, axis=1, bitorder="little")).view(np.uint64)
    out_OW = Bitwise(netlist, words)(words_IW.reshape(-1, words))
    out_NO = np.unpackbits(out_OW.view(np.uint8), axis=1, bitorder="little").T.astype(bool)
    assert np.array_equal(out_NO, simulate(netlist, bits_NI))


@given(netlists(most_gates=60), st.sampled_from(WORDS), st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_the_simulators_bits(netlist, words, seed):
    agree(netlist, words, seed)


def test_adders_with_and_without_their_carry_out():
    def f(a: 40, b: 40, c: 1):
        total = a + b
        wide = a.widened(41) + b.widened(41) + c.widened(41)
        return {"sum": total, "wide": wide, "less": a < b, "both": (a ^ b) & (total | wide[:40])}

    agree(trace(f), 4)


@pytest.mark.parametrize("words", [1, 8])
def test_sha256_by_many_functions(words):
    """Values that one function leaves for a later one, in slots that are taken again."""
    netlist = sha256(4)
    assert len(steps_of(netlist).steps) > 20 * STRETCH
    agree(netlist, words)


def test_what_is_refused():
    netlist = trace(lambda a: a, {"a": 4})
    with pytest.raises(UsageError, match="computes on 1, 2, 4, 8 words at once; got 3"):
        Bitwise(netlist, 3)
    with pytest.raises(UsageError, match=r"takes words of shape \(4, 8\); got \(4, 3\)"):
        Bitwise(netlist, 8)(np.zeros((4, 3), np.uint64))
