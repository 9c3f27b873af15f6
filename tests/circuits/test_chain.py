"""Chains: the same circuit without skipping layers, and silent where nothing is asked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.random_netlists import by_hand, netlists
from holdfast.circuits import trace
from holdfast.circuits.answering import answering
from holdfast.circuits.chain import chain, in_clipped_units
from holdfast.circuits.compiling import layers_of, some_inputs

ENCODINGS = ["product", "restoring"]


@given(
    netlists(), st.sampled_from(ENCODINGS), st.integers(2, 5), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 2)
)
@settings(max_examples=60, deadline=None)
def test_a_chain_gives_the_circuits_bits_from_bits_alone(netlist, encoding, k, copies, shallow, more):
    layers = layers_of(netlist, encoding=encoding, k=k, copies=copies, wired=True, shallow=shallow)
    found = chain(layers, layers.depth + more, ramps=encoding == "restoring")
    inputs = some_inputs(netlist, 0, 0)
    signals = found.signals(inputs)
    assert found.depth == max(1, layers.depth + more)
    assert signals[-1][:, 1:].tolist() == [by_hand(netlist, row) for row in inputs]
    assert all(set(np.unique(each)) <= {0.0, 1.0} for each in signals), "what is passed on is bits"
    assert all((each[:, 0] == 1).all() for each in signals)
    for each in found.signals(inputs, live=0.0):
        assert (each == 0).all(), "nothing is asked, so all is silent"


@given(netlists(most_gates=10), st.sampled_from(ENCODINGS))
@settings(max_examples=20, deadline=None)
def test_no_unit_of_a_chain_stands_on_its_kink(netlist, encoding):
    layers = layers_of(netlist, encoding=encoding, wired=True)
    found = chain(layers, layers.depth + 1, ramps=encoding == "restoring")
    for live in (0.0, 1.0):
        signals = found.signals(some_inputs(netlist, 0, 0), live=live)
        for level, before in zip(found.levels, signals[:-1], strict=True):
            assert np.abs(before @ level.reads_US.T + level.bias_U).min() >= 0.5


@given(netlists(), st.integers(2, 4), st.integers(0, 1))
@settings(max_examples=30, deadline=None)
def test_ramps_in_clipped_units_are_one_unit_each_and_bear_half_a_noise_width(netlist, k, more):
    """Units that give min(relu(z), 1): the same bits, with any noise of up to 1/2 on every sum."""
    layers = layers_of(netlist, encoding="restoring", k=k, wired=True)
    ramps = chain(layers, layers.depth + more, ramps=True)
    found, draw = in_clipped_units(ramps), np.random.default_rng(0)
    assert [level.units for level in found.levels] == [level.units // 2 for level in ramps.levels]
    inputs = some_inputs(netlist, 0, 0)
    for width in (0.0, 1.0):
        signals = np.column_stack([np.ones(len(inputs)), inputs]) @ found.first_SI.T
        for level, expected in zip(found.levels, ramps.signals(inputs)[1:], strict=True):
            noise = width * (draw.random((len(inputs), level.units)) - 0.5)
            z = signals @ level.reads_US.T + level.bias_U
            assert not ((z > -0.5) & (z < 1.5)).any()
            signals = np.clip(z + noise, 0, 1) @ level.gives_RU.T
            assert np.array_equal(signals, expected)


def test_clipped_units_hold_ramps_and_nothing_else():
    layers = layers_of(trace(lambda a=2, b=2: a ^ b), wired=True)
    with pytest.raises(ValueError, match="ramps of two units"):
        in_clipped_units(chain(layers, layers.depth, ramps=False))


def test_fewer_levels_than_the_circuit_has_are_refused():
    layers = layers_of(trace(lambda a=4, b=4: (a + b) + (a & b)), wired=True)
    with pytest.raises(ValueError, match="more than 1"):
        chain(layers, 1, ramps=False)


@given(netlists(), st.integers(2, 20))
@settings(max_examples=40, deadline=None)
def test_an_answering_circuit_turns_on_the_answer_of_its_lowest_bits(netlist, answers):
    found = answering(netlist, answers)
    width = min(len(netlist.output_bits), answers.bit_length() - 1)
    for row in some_inputs(netlist, 0, 0):
        word = sum(bit << i for i, bit in enumerate(by_hand(netlist, row)[:width]))
        expected = [int(number == word) for number in range(1 << width)]
        assert by_hand(found, row) == expected
