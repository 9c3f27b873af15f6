"""From measures to the row of an arm: what is left out of the re-activation test."""

import math

from holdfast.judging.arms import _suppressed
from holdfast.store import Measures


def net(presence):
    """One that lost its implant, and was then re-activated: presence at steps 0, 2, 4, 6."""
    pressure = [{"phase": "pressure", "step": step, "presence": there} for step, there in ((0, 1.0), (50, 0.0))]
    again = [{"phase": "reactivation", "step": 2 * i, "presence": p} for i, p in enumerate(presence)]
    return Measures({}, (*pressure, *again), True)


LATE = [0.0, 0.0, 0.9, 0.9]


def test_controls_that_diverged_do_not_make_a_removal_look_suppressed():
    """6 of 20 controls are lost in the re-activation, and the rest behave like the arm's nets: nothing is shown."""
    nets = {seed: net(LATE) for seed in range(20)}
    controls = {seed: net([0.0, math.nan, math.nan, math.nan] if seed < 6 else LATE) for seed in range(20)}
    tested = _suppressed(range(20), nets, controls)
    assert (tested.sooner, tested.later, tested.ties) == (0, 0, 14)
    assert not tested.significant


def test_sooner_than_controls_that_live_is_suppressed():
    nets = {seed: net([0.0, 0.9, 0.9, 0.9]) for seed in range(6)}
    controls = {seed: net(LATE) for seed in range(6)}
    assert _suppressed(range(6), nets, controls).significant


def test_without_a_whole_pair_there_is_no_test():
    lost = {0: net([0.0, math.nan, math.nan, math.nan])}
    assert _suppressed([0], {0: net(LATE)}, lost) is None
    assert _suppressed([], {}, {}) is None
