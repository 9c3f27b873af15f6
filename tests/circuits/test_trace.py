"""Traced functions against the same Python on integers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import UsageError
from holdfast.circuits import concat, lookup, mux, simulate, trace
from holdfast.circuits.simulate import bits, words

TABLE = [7, 0, 3, 12, 9, 9, 15, 1]
MASK = 255
OPERATIONS = {
    "and": (lambda a, b: a & b, lambda a, b: a & b),
    "or": (lambda a, b: a | b, lambda a, b: a | b),
    "xor": (lambda a, b: a ^ b, lambda a, b: a ^ b),
    "not": (lambda a, b: ~a, lambda a, b: ~a & MASK),
    "add": (lambda a, b: a + b, lambda a, b: (a + b) & MASK),
    "add constant": (lambda a, b: a + 77, lambda a, b: (a + 77) & MASK),
    "constant minus": (lambda a, b: 200 - a, lambda a, b: (200 - a) & MASK),
    "sub": (lambda a, b: a - b, lambda a, b: (a - b) & MASK),
    "left": (lambda a, b: a << 3, lambda a, b: a << 3 & MASK),
    "right": (lambda a, b: a >> 2, lambda a, b: a >> 2),
    "farthest": (lambda a, b: (a << 10**9) | (b >> 10**9) | 5, lambda a, b: 5),
    "minus one": (lambda a, b: a + -1, lambda a, b: (a - 1) & MASK),
    "widened": (lambda a, b: sum(bit.widened(8) for bit in a), lambda a, b: a.bit_count()),
    "mux int first": (lambda a, b: mux(a[0], 3, b), lambda a, b: 3 if a & 1 else b),
    "negative index": (lambda a, b: a[-1], lambda a, b: a >> 7),
    "far": (lambda a, b: (a << 9) | (b >> 8), lambda a, b: 0),
    "rotl": (lambda a, b: a.rotl(3), lambda a, b: (a << 3 | a >> 5) & MASK),
    "rotr": (lambda a, b: a.rotr(11), lambda a, b: (a >> 3 | a << 5) & MASK),
    "eq": (lambda a, b: a == b, lambda a, b: a == b),
    "eq constant": (lambda a, b: a == 9, lambda a, b: a == 9),
    "ne": (lambda a, b: a != b, lambda a, b: a != b),
    "lt": (lambda a, b: a < b, lambda a, b: a < b),
    "le": (lambda a, b: a <= b, lambda a, b: a <= b),
    "gt": (lambda a, b: a > b, lambda a, b: a > b),
    "ge": (lambda a, b: a >= b, lambda a, b: a >= b),
    "gt constant": (lambda a, b: a > 100, lambda a, b: a > 100),
    "mux": (lambda a, b: mux(a[0], a, b), lambda a, b: a if a & 1 else b),
    "mux constants": (lambda a, b: mux(a == b, a ^ 85, 3), lambda a, b: a ^ 85 if a == b else 3),
    "lookup": (lambda a, b: lookup(a[2:5], TABLE, 4), lambda a, b: TABLE[a >> 2 & 7]),
    "concat": (lambda a, b: concat(b[:3], a[3:]), lambda a, b: b & 7 | a & 248),
    "each bit": (lambda a, b: concat(*reversed(list(a))), lambda a, b: int(f"{a:08b}"[::-1], 2)),
}


@pytest.mark.parametrize("name", OPERATIONS)
@given(pairs=st.lists(st.tuples(st.integers(0, MASK), st.integers(0, MASK)), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_an_operation(name, pairs):
    traced, plain = OPERATIONS[name]

    def function(a: 8, b: 8):
        return traced(a, b)

    found = simulate(trace(function), bits([a | b << 8 for a, b in pairs], 16))
    assert words(found) == [int(plain(a, b)) for a, b in pairs]


def test_names_and_widths():
    def function(x, y=4):
        return {"both": x[:4] & y, "x": x}

    netlist = trace(function, {"x": 6})
    assert [(p.name, len(p.bits)) for p in netlist.inputs + netlist.outputs] == [
        ("x", 6), ("y", 4), ("both", 4), ("x", 6),
    ]  # fmt: skip
    assert [p.name for p in trace(lambda a=2: (a, ~a), name="two").outputs] == ["out0", "out1"]


def test_what_is_known_is_not_built():
    def nothing(a: 8):
        return (a & 0) ^ (a ^ a) | (a & ~a) | ((a + 0) ^ a)

    netlist = trace(nothing)
    assert netlist.gates == 0
    assert set(netlist.output_bits) == {0}

    def twice(a: 8, b: 8):
        return (a & b) ^ ~(b & a), (a + b) ^ (a + b)

    assert trace(twice).gates == 0


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda a=2: a if a[0] else ~a, "can't branch on a bit.*mux"),
        (lambda a=2: a and a, "can't branch on a bit"),
        (lambda a=2: [1, 2, 3, 4][a], "can't index.*lookup"),
        (lambda a=2: a << a, "shifted by a known number"),
        (lambda a=2: a << -1, "shifted by a known number"),
        (lambda a=2, b=3: a + b, "Words of 2 and 3 bits meet"),
        (lambda a=2: a + 4, "4 does not fit in a word of 2 bits"),
        (lambda a=2: a & "x", "meet words of bits or ints"),
        (lambda a=2: a == None, "compared with words of bits"),  # noqa: E711
        (lambda a=2: 7, "must return a word of bits"),
        (lambda a=2: mux(a, a, a), "mux chooses by one bit; got a word of 2"),
        (lambda a=2: lookup(a, [1, 2, 3], 2), "looks up in 4 entries; got 3"),
        (lambda a=2: lookup(a, [1, 2, 3, 4], 2), "does not fit in 2 bits"),
        (lambda a=4: a < -1, r"-1 does not fit in a word of 4 bits, which are unsigned: expected 0 to 2\^4 - 1"),
        (lambda a=4: a & -2, "-2 does not fit"),
        (lambda a=4: a + -9, "-9 does not fit in a word of 4 bits.*expected -8 to"),
        (lambda a=4: a + 10**1000, "An int of 3322 bits does not fit"),
        (lambda a=4: sum(a), "would wrap at one bit and be their parity. Widen them"),
        (lambda a=4: a * a, r"have & \| \^ ~ \+ -.*no \*"),
        (lambda a=4: 3 * a, r"no \*"),
        (lambda a=4: a // 2, r"no \* / //"),
        (lambda a=4: a % 2, r"no \* / //"),
        (lambda a=4: 1 << a, "shifted by a known number"),
        (lambda a=4: -a, r"TypeError: bad operand.*Words of bits have"),
        (lambda a=4: a[9], r"test_trace.py, line \d+\): A word of 4 bits has x\[0\] to x\[3\].*got x\[9\]"),
        (lambda a=4: a["x"], r"got x\['x'\]"),
        (lambda a=4: a.__setitem__(0, 1), "can't be set in place"),
        (lambda a=4: mux(a[0], 3, 4), "one of which may be an int; got 3 and 4"),
        (lambda a=4: mux(True, a, a), "mux chooses by one bit; got True"),
        (lambda a=4: concat(a, 3), "concat puts words of bits together.*got <4 bits>, 3"),
        (lambda a=4: concat(), "got none"),
        (lambda a=1: lookup(a, [1, 2], 3.0), "Expected a width of 1 to 131,072 bits, an int; got 3.0"),
        (lambda a=1: lookup(a, [1, 2], 10**9), "got 1000000000"),
        (lambda a=1: lookup(a, [1, a], 3), "entries are known ints; got <1 bits>"),
        (lambda a=1: lookup(3, [1, 2], 3), "lookup takes a word of bits"),
        (lambda a=4: a.widened(3), "Expected a width of 4 to"),
        (lambda a=4: {1: a}, "must return"),
        (lambda a=4: exit(3), "calls sys.exit"),
        (lambda a=4: 1 // 0, r"test_trace.py, line \d+\): ZeroDivisionError"),
        (lambda a=10**9: a, "up to 131,072 bits in; with a of 1,000,000,000"),
        (lambda *a: a, r"takes \*a: a circuit's inputs are fixed"),
        (lambda **a: a, r"takes \*\*a: a circuit's inputs are fixed"),
        (print, r"print takes \*args"),
        (int, "int does not say what it takes"),
        (lambda a: a, "say how many bits it has"),
        (lambda: 0, "takes no arguments"),
    ],
)
def test_what_a_traced_function_must_not_do(function, match):
    with pytest.raises(UsageError, match=match):
        trace(function)


def test_annotations_that_are_strings():
    """As `from __future__ import annotations` makes them."""
    space = {}
    exec("from __future__ import annotations\nWIDE = 9\ndef f(a: 8, b: WIDE, c: nowhere = 3): return a, b, c", space)
    assert [len(port.bits) for port in trace(space["f"], {"b": 9}).inputs] == [8, 9, 3]
    exec("from __future__ import annotations\nWIDE = 9\ndef f(a: 8, b: WIDE): return a, b", space)
    assert [len(port.bits) for port in trace(space["f"]).inputs] == [8, 9]


def test_arguments_without_a_keyword():
    def f(a: 2, /, b: 3):
        return {"b": b, "a": a}

    assert [(port.name, len(port.bits)) for port in trace(f).inputs] == [("a", 2), ("b", 3)]
