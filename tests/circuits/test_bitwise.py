"""Straight-line code on words of bits gives what the simulator gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.random_netlists import netlists
from holdfast import HoldfastError, UsageError
from holdfast.circuits import bitwise, simulate, trace
from holdfast.circuits.bitwise import Bitwise, CompiledBitwise, compiler
from holdfast.circuits.hashes import sha256

NEEDS_C = pytest.mark.skipif(compiler() is None, reason="needs a C compiler (cc, gcc, clang or $CC)")


def in_python(netlist, bits_NI):
    columns = [int.from_bytes(np.packbits(c, bitorder="little").tobytes(), "little") for c in bits_NI.T]
    out = Bitwise(netlist)(columns, len(bits_NI))
    return np.array([[word >> lane & 1 for word in out] for lane in range(len(bits_NI))], bool)


def in_c(netlist, bits_NI):
    words_IW = np.ascontiguousarray(np.packbits(bits_NI.T, axis=1, bitorder="little")).view(np.uint64)
    out_OW = CompiledBitwise(netlist)(words_IW)
    return np.unpackbits(out_OW.view(np.uint8), axis=1, bitorder="little").T.astype(bool)


@given(netlists(most_gates=60), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_in_python(netlist, lanes):
    bits_NI = np.random.default_rng(lanes).integers(0, 2, (lanes, len(netlist.input_bits)), bool)
    assert np.array_equal(in_python(netlist, bits_NI), simulate(netlist, bits_NI))


@NEEDS_C
@pytest.mark.parametrize("lanes", [512, 1536])
def test_in_c(lanes):
    """Several functions' worth of gates; adders with and without their carry out."""

    def f(a: 40, b: 40, c: 1):
        total = a + b
        wide = a.widened(41) + b.widened(41) + c.widened(41)
        return {"sum": total, "wide": wide, "less": a < b, "both": (a ^ b) & (total | wide[:40])}

    netlist = trace(f)
    bits_NI = np.random.default_rng(0).integers(0, 2, (lanes, 81), bool)
    assert np.array_equal(in_c(netlist, bits_NI), simulate(netlist, bits_NI))


@NEEDS_C
def test_sha256_in_both():
    netlist = sha256(4)
    bits_NI = np.random.default_rng(0).integers(0, 2, (512, 512), bool)
    expected = simulate(netlist, bits_NI)
    assert np.array_equal(in_c(netlist, bits_NI), expected)
    assert np.array_equal(in_python(netlist, bits_NI), expected)


def test_what_is_refused(monkeypatch):
    netlist = trace(lambda a: a, {"a": 4})
    with pytest.raises(UsageError, match="takes 4 bits; got 2"):
        Bitwise(netlist)([1, 2], 8)
    if compiler():
        with pytest.raises(UsageError, match=r"shape \(4, a multiple of 8\); got \(4, 3\)"):
            CompiledBitwise(netlist)(np.zeros((4, 3), np.uint64))
    bitwise._built.cache_clear()
    monkeypatch.setattr(bitwise, "compiler", lambda: None)
    with pytest.raises(HoldfastError, match="A C compiler was expected"):
        CompiledBitwise(netlist)
