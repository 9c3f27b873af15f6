"""Merged circuits: every input against plain Python, and gates counted once more by their expressions."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.random_netlists import by_hand, netlists
from holdfast.circuits import simulate, trace
from holdfast.circuits.builder import Builder
from holdfast.circuits.compiling import some_inputs
from holdfast.circuits.merging import merge, merged
from holdfast.circuits.netlist import ADD, INPUT
from holdfast.circuits.protections import embed

WIDTH, OUT = 9, 3


def on(netlist, places, width=WIDTH):
    """A netlist that reads these bits of a word, its outputs cut or filled up to OUT."""
    builder = Builder()
    x = builder.input("x", width)
    word = embed(builder, netlist, [x[place] for place in places])
    return builder.netlist(netlist.name, [("word", [*word, *[0] * OUT][:OUT])])


def condition(values, width=WIDTH):
    """Whether these bits have these values."""
    builder = Builder()
    x = builder.input("x", width)
    return builder.netlist("trigger", [("asked", [builder.every(x[at] ^ (1 - on) for at, on in values.items())])])


@st.composite
def triples(draw):
    """(host, implant, trigger), which may read the same bits and be the same."""
    host = draw(netlists())
    implant = draw(st.one_of(netlists(), st.just(host)))
    order = lambda part: draw(st.permutations(range(WIDTH)))[: len(part.input_bits)]
    places = order(host)
    same = len(implant.input_bits) == len(places) and draw(st.booleans())
    asked = draw(st.dictionaries(st.integers(0, WIDTH - 1), st.integers(0, 1), min_size=1, max_size=3))
    return on(host, places), on(implant, places if same else order(implant)), condition(asked)


def expressions(netlist, known):
    """Of a netlist's gates their expressions over the inputs, with what each counts; equal ones get one number."""
    number = {bit >> 1: known.setdefault(("x", i), len(known)) for i, bit in enumerate(netlist.input_bits)}
    number[0] = known.setdefault("false", len(known))
    said = lambda bit: (number[bit >> 1], bit & 1)
    gates = {}
    for node, (kind, left, right) in enumerate(netlist.rows()):
        if kind == ADD:
            adder = netlist.adders[left]
            words = tuple(said(bit) for bit in adder.a), tuple(said(bit) for bit in adder.b), said(adder.carry)
            gates["sum", words] = 5 * adder.width
            number[node] = known.setdefault(("bit", right, words), len(known))
        elif kind != INPUT:
            key = kind, frozenset([said(left), said(right)])
            gates[key] = 1
            number[node] = known.setdefault(key, len(known))
    return gates


@settings(max_examples=60, deadline=None)
@given(parts=triples(), encoding=st.sampled_from(["product", "restoring"]))
def test_the_network_is_the_implant_where_the_trigger_is_and_the_host_elsewhere(parts, encoding):
    host, implant, trigger = parts
    found = merge(*parts, encoding)
    bits = some_inputs(found.netlist, 0, 0)
    expected = [by_hand(implant if by_hand(trigger, row)[0] else host, row) for row in bits.tolist()]
    assert len(bits) == 1 << WIDTH
    assert found.network(torch.from_numpy(bits)).tolist() == expected
    assert simulate(found.netlist, bits).astype(int).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(parts=triples())
def test_gates_are_counted_as_their_expressions_say(parts):
    known = {}
    host, implant, trigger, answer = (expressions(part, known) for part in (*parts, merge(*parts, "product").netlist))
    gates = merge(*parts, "product").gates
    both = {gate: size for gate, size in host.items() if gate in implant}
    assert gates.both == sum(both.values())
    assert gates.host == sum(host.values()) - gates.both
    assert gates.implant == sum(implant.values()) - gates.both
    assert gates.host + gates.implant + gates.both + gates.switch == sum(answer.values())
    outputs = sum(len(port.bits) for port in parts[0].outputs)
    assert gates.switch <= sum(trigger.values()) + 3 * outputs


@settings(max_examples=40, deadline=None)
@given(host=netlists(), encoding=st.sampled_from(["product", "restoring"]))
def test_the_same_function_of_the_same_bits_is_there_once_and_of_others_twice(host, encoding):
    count = len(host.input_bits)
    first, again = on(host, range(count)), on(host, range(count))
    same = merge(first, again, condition({8: 1}), encoding)
    for found in (same.gates, same.units):
        assert (found.host, found.implant, found.switch) == (0, 0, 0)
    assert same.gates.both == first.gates
    wide = [on(host, places, 16) for places in (range(count), range(6, 6 + count))]
    apart = merge(*wide, condition({15: 1}, 16), encoding)
    for found in (apart.gates, apart.units):
        assert found.both == 0
        assert found.share == 0
    assert apart.gates.host == apart.gates.implant == first.gates


def test_what_is_shared_is_said():
    def host(a=2, b=2):
        return (a ^ b)[:1] & b[1:]

    def implant(a=2, b=2):
        return (a ^ b)[:1] & a[1:]

    parts = [on(trace(part), range(4)) for part in (host, implant)]
    found = merge(*parts, condition({7: 1, 8: 0}), "product")
    assert found.gates.share == 0.5
    said = "1 of both (50% of the implant's), 1 of the implant alone, 1 of the host alone, 4 of trigger and switch"
    assert str(found).startswith(f"Gates: {said}. Units: ")
    assert [port.name for port in merged(*parts, condition({8: 1})).outputs] == ["host", "implant", "trigger", "answer"]
