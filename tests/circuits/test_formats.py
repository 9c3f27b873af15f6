"""Files of circuits: round trips, examples from the formats' own documents, and whatever a damaged file may hold."""

import contextlib
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.random_netlists import as_aiger, netlists
from holdfast import HoldfastError
from holdfast.circuits import simulate
from holdfast.circuits.compiling import some_inputs
from holdfast.circuits.formats.aiger import read_aiger
from holdfast.circuits.formats.blif import read_blif, write_blif
from holdfast.circuits.formats.bristol import read_bristol, write_bristol


def same_function(one, other):
    inputs = some_inputs(one, 300, 0)
    return np.array_equal(simulate(one, inputs), simulate(other, inputs))


@given(netlists())
@settings(max_examples=60, deadline=None)
def test_written_and_read_again_it_is_the_same_circuit(netlist):
    blif = read_blif(write_blif(netlist))
    assert same_function(netlist, blif)
    assert [(p.name, len(p.bits)) for p in blif.inputs] == [("x", len(netlist.input_bits))]
    assert same_function(netlist, read_bristol(write_bristol(netlist)))


@given(netlists(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_aiger_in_both_forms(netlist, binary):
    found = read_aiger(as_aiger(netlist, binary))
    assert same_function(netlist, found)
    assert [(p.name, len(p.bits)) for p in found.inputs] == [("x", len(netlist.input_bits))]


HALF_ADDER = b"aag 7 2 0 2 3\n2\n4\n6\n12\n6 13 15\n12 2 4\n14 3 5\ni0 x\ni1 y\no0 s\no1 c\nc\nhalf adder\n"
"""The example of the AIGER format's document (there with its gates in this, not topological, order)."""


def test_aigers_own_example():
    netlist = read_aiger(HALF_ADDER)
    assert [p.name for p in netlist.inputs + netlist.outputs] == ["x", "y", "s", "c"]
    found = simulate(netlist, some_inputs(netlist, 0, 0)).astype(int).tolist()
    assert found == [[x ^ y, x & y] for y in (0, 1) for x in (0, 1)]


def test_tables_with_dont_cares_offsets_and_many_inputs():
    text = r"""
    .model wide  # a comment
    .inputs a[1] a[0] b c d e f \
            g h i
    .outputs y z one zero
    .names a[0] a[1] b y
    1-0 1
    -11 1
    .names b c z
    11 0
    .names one
    1
    .names zero
    .end
    """
    netlist = read_blif(text)
    assert next((p.name, len(p.bits)) for p in netlist.inputs) == ("a", 2)
    inputs = some_inputs(netlist, 0, 0)
    for row, out in zip(inputs, simulate(netlist, inputs), strict=True):
        low, high, b, c = row[:4]
        assert out.tolist() == [(low and not b) or (high and b), not (b and c), True, False]
    names = [f"x{i}" for i in range(11)]
    rows = ["1-0--------", "--1------01"]
    netlist = read_blif(
        "\n".join(
            [
                ".model m",
                ".inputs " + " ".join(names),
                ".outputs y",
                ".names " + " ".join(names) + " y",
                *(r + " 1" for r in rows),
                ".end",
            ]
        )
    )
    inputs = some_inputs(netlist, 0, 0)
    expected = (inputs[:, 0] & ~inputs[:, 2]) | (inputs[:, 2] & ~inputs[:, 9] & inputs[:, 10])
    assert np.array_equal(simulate(netlist, inputs)[:, 0], expected)


BLIF = ".model m\n.inputs a b\n.outputs y\n.names a b y\n11 1\n.end\n"
BRISTOL = "2 4\n2 1 1\n1 1\n\n2 1 0 1 2 AND\n1 1 2 3 INV\n"


@pytest.mark.parametrize(
    ("read", "text", "match"),
    [
        (read_blif, BLIF.replace("11 1", "1 1"), r"line 5: Expected 2 of 0, 1 or -"),
        (read_blif, BLIF.replace(".end\n", ""), "ends before `.end`"),
        (read_blif, BLIF.replace(".end", ".names a y\n1 1\n.end"), r"line 6: y is driven twice"),
        (read_blif, BLIF.replace("a b y", "a q y"), r"line 4: q is used, and nothing drives it"),
        (read_blif, BLIF.replace("a b y", "a y y"), r"line 4: y depends on itself"),
        (read_blif, BLIF.replace(".end", ".latch y q re clk 0\n.end"), "line 6: A latch .*Cut the design"),
        (read_blif, BLIF.replace(".end", ".subckt foo x=a\n.end"), "line 6: Unknown cell foo.*Flatten"),
        (read_blif, BLIF.replace("11 1", "11 1\n00 0"), "all must state where it is on"),
        (read_blif, "", "no model"),
        (read_blif, "11 1\n", "outside .names"),
        (read_blif, BLIF.replace("11 1", "11 1\\"), "Expected 2 of 0, 1 or -"),
        (read_bristol, BRISTOL.replace("AND", "NAND"), "line 5: Unknown gate 'NAND'"),
        (read_bristol, BRISTOL.replace("1 1 2 3 INV\n", ""), "header says 2 gates, and 1 follow"),
        (read_bristol, BRISTOL.replace("0 1 2 AND", "0 9 2 AND"), "Wire 9 is beyond the 4"),
        (read_bristol, BRISTOL.replace("2 3 INV", "2 2 INV"), "line 6: 2 is driven twice"),
        (read_bristol, BRISTOL.replace("0 1 2 AND", "0 3 2 AND"), "line [56]: [23] depends on itself"),
        (read_bristol, BRISTOL.replace("2 1 0 1 2 AND", "2 1 0 1 AND"), "AND is written"),
        (read_bristol, BRISTOL.replace("2 4", "2 x"), "line 1: Expected whole numbers"),
        (read_bristol, BRISTOL.replace("2 4", "2 99999999999999"), "line 1: Expected whole numbers"),
        (read_bristol, "2 4\n", "ends in its header"),
        (read_bristol, BRISTOL.replace("2 1 1", "2 1 9"), "do not fit"),
        (read_aiger, HALF_ADDER.replace(b"7 2 0", b"7 2 1"), "has 1 latches.*Cut it at its latches"),
        (read_aiger, HALF_ADDER.replace(b"12 2 4\n", b"12 2 6\n"), "line [67]: literal (6|12) depends on itself"),
        (read_aiger, HALF_ADDER.replace(b"12 2 4\n", b"12 2 400\n"), "Literal 400 is beyond"),
        (read_aiger, HALF_ADDER.replace(b"12 2 4\n", b"13 2 4\n"), "even literal"),
        (read_aiger, HALF_ADDER.replace(b"12 2 4\n", b"6 2 4\n"), "literal 6 is driven twice"),
        (read_aiger, b"aag 3 1 0 1 1\n2\n7\n6 2 5\n", "line 4: literal 4 is used, and nothing drives it"),
        (read_aiger, HALF_ADDER[:20], "cut off|Expected"),
        (read_aiger, b"aig 5 2 0 1 3\n10\n\x02", "cut off"),
        (read_aiger, b"hello", "Expected a header"),
        (read_aiger, HALF_ADDER.replace(b"i0 x", b"i9 x"), "symbol table"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(read, text, match):
    with pytest.raises(HoldfastError, match=match):
        read(text)


SEEDS = {
    "blif": (read_blif, BLIF.encode()),
    "bristol": (read_bristol, BRISTOL.encode()),
    "aag": (read_aiger, HALF_ADDER),
    "aig": (read_aiger, b"aig 5 2 0 2 3\n10\n6\n\x02\x02\x03\x02\x01\x02i0 x\n"),
}


SYMBOLS = {"blif": "\n", "bristol": "\n", "aag": "\ni0 x\ni1 y\no0 s\no1 c\nc\nhalf adder\n", "aig": "i0 x\n"}
"""What may be missing at the end."""


@pytest.mark.parametrize("form", SEEDS)
def test_a_file_cut_off_anywhere(form):
    """The end of a comment or of the last line may be missing; else what is said is that the file is cut off, or what
    is wrong with its last line."""
    read, seed = SEEDS[form]
    for size in range(len(seed)):
        try:
            read(seed[:size] if form.startswith("a") else seed[:size].decode())
        except HoldfastError:
            continue
        rest = seed[size:].decode("latin-1")
        assert SYMBOLS[form].endswith(rest)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_blif, BLIF.replace("a b", f"a[{'9' * 5000}] b")),
        (read_aiger, b"aag 1 1 0 1 0\n2\n2\ni" + b"9" * 5000 + b" x\n"),
        (read_aiger, b"aig 99999999 99999999 0 0 0\n"),
        (read_aiger, b"aig 0 0 0 99999999 0\n"),
        (read_bristol, "0 99999999\n1 99999999\n1 1\n"),
        (read_blif, ".model m\n.inputs " + "a \\\n" * 100_000 + "\n.end"),
        (read_aiger, b"aig 1000000 1000000 0 1 0\n2\n"),
        (read_bristol, "1 1000000\n1 999999\n1 1\n\n2 1 0 1 999999 AND\n"),
    ],
    ids=["index", "symbol", "inputs", "outputs", "wires", "continued", "a million", "almost a million"],
)
def test_large_numbers_and_long_lines_take_neither_memory_nor_time(read, text):
    began = time.process_time()
    with contextlib.suppress(HoldfastError):
        read(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("form", SEEDS)
def test_damaged_files_are_refused_or_read_and_never_more(form):
    """Bytes changed, dropped, doubled; files cut off. An error of ours, or a circuit that can be simulated."""
    read, seed = SEEDS[form]
    draw = random.Random(form)
    read_well = 0
    for _ in range(1500):
        data = bytearray(seed)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data) or 1)
            what = draw.randrange(4)
            if what == 0:
                data[at : at + 1] = bytes([draw.randrange(256)])
            elif what == 1:
                del data[at : at + draw.randint(1, 6)]
            elif what == 2:
                data[at:at] = data[at : at + draw.randint(1, 12)]
            else:
                data[at:at] = draw.choice([b"0", b"1", b"9" * 30, b" ", b"\n", b"-", b".names", b"\xff", b"AND"])
        try:
            netlist = read(bytes(data) if form.startswith("a") else data.decode("latin-1"))
        except HoldfastError:
            continue
        read_well += 1
        if netlist.input_bits:
            simulate(netlist, some_inputs(netlist, 8, 0)[:8])
    assert read_well > 10
