import math

import pytest

from holdfast.stats.controls import check_controls
from holdfast.stats.outcome import Trace
from holdfast.stats.planted import control_limit

STEPS = (0, 10, 20)


def control(*presence):
    n = len(presence)
    return Trace(steps=STEPS[:n], presence=presence, accuracy=(0.9,) * n)


def test_quiet_controls():
    got = check_controls({0: control(0, 0.01, 0), 1: control(0.01, 0, 0), 2: control(0, 0, 0.01)}, STEPS, 0.4)
    assert (got.risen_at, got.limit, got.left_out, got.blind, got.notes) == (None, None, (), (), ())


def test_the_first_rise_is_named():
    got = check_controls({0: control(0, 0.5, 0.9), 1: control(0, 0.6, 0.9)}, STEPS, 0.4)
    assert got.risen_at == 10
    assert got.limit == pytest.approx(control_limit([0.5, 0.6]))


def test_controls_that_are_not_finite_are_left_out_and_said():
    controls = {3: control(0, math.nan, math.nan), 1: control(0, 0.01, 0), 2: control(0, 0, math.nan)}
    got = check_controls(controls, STEPS, 0.9)
    assert (got.risen_at, got.left_out, got.blind) == (None, (2, 3), (20,))
    assert "seeds 2, 3" in got.notes[0]
    assert "From step 20 on" in got.notes[1]
    assert check_controls({0: control(0), 1: control(0)}, STEPS, 0.4).blind == (10, 20)
