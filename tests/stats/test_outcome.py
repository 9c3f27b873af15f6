import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.stats.outcome import Outcome, Trace, outcome

NAN = math.nan


def net(presence, accuracy=None, diverged=False, spacing=10):
    steps = tuple(spacing * i for i in range(len(presence)))
    return Trace(
        steps=steps, presence=tuple(presence), accuracy=tuple(accuracy or [0.9] * len(presence)), diverged=diverged
    )


def is_(kind, event, end, returned=False):
    return Outcome(kind=kind, event=event, end=end, returned=returned)


# Checkpoints at 0, 10, 20, 30, 40 (the budget) and 50 (the extra one); half the presence at step 0 is 0.5.
ROWS = {
    "held": ([1, 1, 1, 1, 1, 1], is_("held", None, 40)),
    "exactly half is there": ([1, 0.5, 0.5, 0.5, 0.5, 0.5], is_("held", None, 40)),
    "removed": ([1, 0.8, 0.2, 0.1, 0, 0], is_("removed", 20, 20)),
    "removed at the first checkpoint": ([1, 0, 0, 0, 0, 0], is_("removed", 10, 10)),
    "flicker": ([1, 1, 0.2, 1, 1, 1], is_("held", None, 40)),
    "flickers that never meet": ([1, 0.2, 1, 0.2, 1, 0.2], is_("held", None, 40)),
    "returned": ([1, 0.2, 0.2, 1, 1, 1], is_("held", 10, 10, returned=True)),
    "returned after two removals": ([1, 0, 0, 1, 1, 0], is_("held", 10, 10, returned=True)),
    "gone, back, gone for good": ([1, 0, 0, 1, 0, 0], is_("removed", 10, 10)),
    "confirmed by the extra checkpoint": ([1, 1, 1, 1, 0.2, 0.2], is_("removed", 40, 40)),
    "not confirmed at the budget": ([1, 1, 1, 1, 0.2, 1], is_("held", None, 40)),
    "confirmed by the one before": ([1, 1, 1, 0.2, 0.2, 1], is_("removed", 30, 30)),
    "below at the extra one only": ([1, 1, 1, 1, 1, 0], is_("held", None, 40)),
    "gone once, unconfirmed at the budget": ([1, 0, 0, 1, 0, 1], is_("held", 10, 10, returned=True)),
}


@pytest.mark.parametrize("name", ROWS)
def test_presence_rules(name):
    presence, want = ROWS[name]
    assert outcome(net(presence), budget=40) == want


GONE_AT_20 = [1, 1, 0, 0, 0, 0]
ACCURACY = {
    "wrecked before the event": ([0.9, 0.8, 0.9, 0.9, 0.9, 0.9], is_("wrecked", None, 10)),
    "wrecked at the event": ([0.9, 0.9, 0.8, 0.9, 0.9, 0.9], is_("wrecked", None, 20)),
    "a loss after the event that mends": ([0.9, 0.9, 0.9, 0.5, 0.9, 0.9], is_("removed", 20, 20)),
    "wrecked at the budget, after the event": ([0.9, 0.9, 0.9, 0.5, 0.5, 0.9], is_("wrecked", 20, 20)),
    "lost at the extra checkpoint only": ([0.9, 0.9, 0.9, 0.9, 0.9, 0.1], is_("removed", 20, 20)),
    "five points are no wreck": ([1.0, 0.95, 0.95, 0.95, 0.95, 0.95], is_("removed", 20, 20)),
    "just over five are": ([1.0, 0.9499, 0.95, 0.95, 0.95, 0.95], is_("wrecked", None, 10)),
    "better is no wreck": ([0.5, 1.0, 1.0, 1.0, 1.0, 1.0], is_("removed", 20, 20)),
}


@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy_rules(name):
    accuracy, want = ACCURACY[name]
    assert outcome(net(GONE_AT_20, accuracy), budget=40) == want


def test_without_an_event_any_checkpoint_to_the_budget_can_wreck():
    assert outcome(net([1] * 6, [0.9, 0.9, 0.9, 0.8, 0.9, 0.9]), budget=40) == is_("wrecked", None, 30)
    assert outcome(net([1] * 6, [0.9, 0.9, 0.9, 0.8, 0.9, 0.9]), budget=40, wreck_points=11).kind == "held"


DIVERGED = {
    "nan presence": (net([1, 1, NAN, NAN, NAN, NAN]), 10),
    "nan accuracy": (net([1] * 6, [0.9, 0.9, 0.9, NAN, 0.9, 0.9]), 20),
    "infinite": (net([1, math.inf, 1, 1, 1, 1]), 0),
    "at the extra checkpoint": (net([1, 1, 1, 1, 1, NAN]), 40),
    "over a wreck": (net([1] * 6, [0.9, 0.1, 0.1, 0.1, 0.1, NAN]), 40),
    "ends early": (net([1, 1, 1], diverged=True), 20),
    "ends early with nan": (net([1, 1, NAN]), 10),
    "right away": (net([1], diverged=True), 0),
    "no extra checkpoint": (net([1] * 5, diverged=True), 40),
    "finite readings of a net that was not": (net([1] * 6, diverged=True), 40),
}


@pytest.mark.parametrize("name", DIVERGED)
def test_divergence_goes_before_all_else(name):
    trace, end = DIVERGED[name]
    assert outcome(trace, budget=40) == is_("diverged", None, end)


def test_a_removal_before_the_divergence_stays_on_the_curve():
    assert outcome(net([1, 0, 0, 0, NAN]), budget=40) == is_("diverged", 10, 10)
    assert outcome(net([1, 1, 1, 0, NAN, NAN]), budget=40) == is_("diverged", None, 30), "never confirmed"


def test_a_longer_trace_can_be_judged_at_a_shorter_budget():
    trace = net([1, 1, 0, 0, NAN])
    assert outcome(trace, budget=10) == is_("held", None, 10)
    assert outcome(trace, budget=20) == is_("removed", 20, 20)
    assert outcome(trace, budget=30).kind == "diverged"


@pytest.mark.parametrize("budget", [50, 45, 60, 0])
def test_no_checkpoint_at_the_budget_or_after_it(budget):
    with pytest.raises(ValueError, match="one extra"):
        outcome(net([1] * 6), budget=budget)


@pytest.mark.parametrize("presence", [0.0, -0.2, NAN])
def test_nothing_to_remove(presence):
    with pytest.raises(ValueError, match="never planted"):
        outcome(net([presence, 1, 1]), budget=10)


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": (0, 1), "presence": (1.0,), "accuracy": (1.0, 1.0)},
        {"steps": (), "presence": (), "accuracy": ()},
        {"steps": (5, 6), "presence": (1.0, 1.0), "accuracy": (1.0, 1.0)},
        {"steps": (0, 6, 6), "presence": (1.0,) * 3, "accuracy": (1.0,) * 3},
        {"steps": (0, 1), "presence": (1.0, 1.0), "accuracy": (97.0, 96.0)},
    ],
)
def test_a_trace_refuses(fields):
    with pytest.raises(ValueError, match="Expected"):
        Trace(**fields)


@given(st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), min_size=3, max_size=12), st.integers(2, 1000))
def test_the_unit_of_steps_only_scales(tail, factor):
    presence, last = [1.0, *tail], len(tail) - 1
    one, scaled = (
        outcome(net(presence, spacing=1), budget=last),
        outcome(net(presence, spacing=factor), budget=last * factor),
    )
    assert (one.kind, one.returned, one.end * factor) == (scaled.kind, scaled.returned, scaled.end)
    assert scaled.event == (None if one.event is None else one.event * factor)
    assert one.kind != "removed" or one.event is not None
    assert one.returned == (one.kind == "held" and one.event is not None)
