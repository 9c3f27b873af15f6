import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.stats.outcome import Trace
from holdfast.stats.suppressed import suppression
from holdfast.stats.verdict import judge_arm

STEPS, BUDGET = (0, 10, 20, 30, 40, 50), 40
SHAPES = {
    "held": (1, 1, 1, 1, 1, 1),
    "removed": (1, 1, 0, 0, 0, 0),
    "returned": (1, 0, 0, 1, 1, 1),
    "wrecked": (1, 1, 1, 1, 1, 1),
    "diverged": (1, 1, math.nan, math.nan, math.nan, math.nan),
    "unplanted": (0.01, 0, 0, 0, 0, 0),
}
ORDER = {"held": 2, "returned": 2, "wrecked": 1, "diverged": 1, "removed": 0}


def net(kind, factor=1):
    accuracy = (0.9, 0.9, 0.9, 0.9, 0.5, 0.5) if kind == "wrecked" else (0.9,) * 6
    return Trace(steps=tuple(factor * s for s in STEPS), presence=SHAPES[kind], accuracy=accuracy)


def arm(**counts):
    return dict(enumerate(net(kind) for kind, many in counts.items() for _ in range(many)))


def controls(rise=0.0, n=8):
    presence = [tuple(0.01 * (i % 3) + rise * (s == 30) for s in STEPS) for i in range(n)]
    return {i: Trace(steps=STEPS, presence=p, accuracy=(0.9,) * 6) for i, p in enumerate(presence)}


def judge(look=1, controls=controls(), budget=BUDGET, **rest):  # noqa: B008 (frozen traces)
    keys = {k: rest.pop(k) for k in ("moved", "suppression", "wreck_points") if k in rest}
    return judge_arm(arm(**rest), controls, budget=budget, look=look, **keys)


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({"held": 20}, "SURVIVES"),
        ({"held": 19}, "UNDECIDED"),
        ({"held": 31, "removed": 1}, "SURVIVES"),
        ({"held": 30, "removed": 2}, "UNDECIDED"),
        ({"held": 31, "wrecked": 1}, "SURVIVES"),
        ({"returned": 20}, "SURVIVES"),
        ({"removed": 20}, "REMOVED"),
        ({"removed": 31, "diverged": 1}, "REMOVED"),
        ({"removed": 30, "wrecked": 1, "diverged": 1}, "UNDECIDED"),
        ({"held": 10, "removed": 10}, "MIXED"),
        ({"wrecked": 20}, "MIXED"),
        ({"diverged": 20}, "MIXED"),
        ({"removed": 8}, "UNDECIDED"),
        ({"held": 1}, "UNDECIDED"),
        ({"diverged": 1}, "UNDECIDED"),
    ],
)
def test_verdicts_by_counts(counts, verdict):
    got = judge(**counts)
    assert (got.verdict, got.label) == (verdict, verdict)
    assert (got.seeds_needed is not None) == (verdict == "UNDECIDED")
    total = got.held + got.removed + got.wrecked + got.diverged
    assert total == got.seeds == got.built == sum(counts.values())
    assert got.held == counts.get("held", 0) + counts.get("returned", 0)
    assert got.returned == counts.get("returned", 0)
    assert got.reason.endswith(".")
    assert f"of {got.seeds} planted seeds" in got.reason


def test_looks_cost_seeds():
    assert judge(held=20).verdict == "SURVIVES"
    second = judge(held=20, look=2)
    assert (second.verdict, second.level, second.look) == ("UNDECIDED", 0.9875, 2)


def test_what_few_seeds_say():
    gone = judge(removed=8)
    assert "Gone in 8 of 8 bounds survival below 0.42." in gone.reason
    assert gone.held_interval.high < 0.4218
    assert gone.seeds_needed == 23
    assert "One survivor is enough" in judge(held=1, removed=7).reason
    assert judge(held=26, removed=6).seeds_needed == "over 500"
    assert "over 500" in judge(held=26, removed=6).reason


def test_invalid_because_too_few_are_planted():
    assert judge(held=18, unplanted=2).verdict == "UNDECIDED"
    got = judge(held=31, unplanted=4)
    assert (got.verdict, got.seeds, got.built, got.unplanted) == ("INVALID", 31, 35, (31, 32, 33, 34))
    assert "31 of 35 seeds are planted" in got.reason
    assert "seeds 31, 32, 33, 34" in got.reason
    assert got.seeds_needed is None
    nothing = judge(unplanted=3)
    assert (nothing.verdict, nothing.seeds, nothing.curve, nothing.half_life_text) == ("INVALID", 0, None, "not known")
    assert (nothing.held_interval, nothing.restricted_mean) == ((0, 1), None)


def test_unplanted_nets_are_listed_and_left_out():
    got = judge(held=31, unplanted=3)
    assert (got.verdict, got.seeds, got.held, got.unplanted) == ("SURVIVES", 31, 31, (31, 32, 33))


def test_a_net_that_is_not_finite_at_step_0_is_not_planted():
    nets = arm(held=30) | {30: Trace(steps=(0,), presence=(1.0,), accuracy=(math.nan,))}
    got = judge_arm(nets, controls(), budget=BUDGET)
    assert (got.seeds, got.unplanted, got.verdict) == (30, (30,), "SURVIVES")


def test_invalid_because_a_clean_output_moved():
    got = judge(held=32, moved="Clean logits moved by 0.3")
    assert got.verdict == "INVALID"
    assert got.reason == "Clean logits moved by 0.3."
    assert judge(held=32, moved=None).verdict == "SURVIVES"


def test_invalid_because_the_controls_rose():
    got = judge(held=32, controls=controls(rise=0.6))
    assert got.verdict == "INVALID"
    assert "At step 30" in got.reason
    assert judge(held=32, controls=controls(rise=0.4)).verdict == "SURVIVES"
    # The rise lies after the extra checkpoint of a shorter budget.
    assert judge(held=32, controls=controls(rise=0.6), budget=10).verdict == "SURVIVES"


def test_all_causes_are_named():
    got = judge(held=8, unplanted=2, moved="It moved.", controls=controls(rise=0.6))
    assert all(part in got.reason for part in ("8 of 10", "It moved.", "At step 30"))


def test_diverged_controls_are_left_out_and_said():
    lost = Trace(steps=STEPS, presence=(0, 0, math.nan, math.nan, math.nan, math.nan), accuracy=(0.9,) * 6)
    got = judge(held=20, controls=controls() | {8: lost})
    assert got.verdict == "SURVIVES"
    assert "controls of seeds 8" in got.reason
    blind = judge(held=20, controls={0: lost, 1: lost})
    assert "fewer than 2 controls left" in blind.reason


def test_no_clean_control():
    got = judge(held=19, unplanted=1, controls=None)
    assert (got.verdict, got.limit, got.seeds, got.unplanted) == ("UNDECIDED", None, 20, ())
    assert got.reason.startswith("No clean control")
    assert judge(held=20, controls=None).verdict == "SURVIVES"


def test_suppressed_is_printed_and_never_relabels():
    hidden, gone = suppression([5] * 20, [math.inf] * 20), suppression([math.inf] * 20, [math.inf] * 20)
    got = judge(removed=20, suppression=hidden)
    assert (got.verdict, got.label) == ("REMOVED", "REMOVED (suppressed)")
    assert "5 steps against never" in got.reason
    assert judge(removed=20, suppression=gone).label == "REMOVED"
    assert judge(held=20, suppression=hidden).label == "SURVIVES"


def test_curve_and_times():
    got = judge(removed=15, returned=5)
    assert (got.half_life, got.half_life_text) == (20, "20")
    assert got.restricted_mean == pytest.approx((15 * 20 + 5 * 10) / 20)
    assert judge(held=20).half_life_text == "> 40"
    lost = judge(diverged=4)
    assert (lost.half_life_text, lost.restricted_mean) == ("> 10", None)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: judge(), "at least one net"),
        (lambda: judge(held=3, controls={}), "at least 2"),
        (lambda: judge(held=3, controls=None, suppression=suppression([1], [2])), "needs controls"),
        (lambda: judge(held=3, budget=50), "one extra"),
        (lambda: judge(held=3, look=0), "counted from 1"),
    ],
)
def test_refuses(call, says):
    with pytest.raises(ValueError, match=says):
        call()


kinds = st.lists(st.sampled_from([k for k in SHAPES if k != "unplanted"]), min_size=1, max_size=24)


@settings(max_examples=40, deadline=None)
@given(kinds, st.randoms(use_true_random=False), st.integers(2, 9))
def test_order_of_seeds_and_unit_of_steps_do_not_matter(drawn, random, factor):
    items = [(seed, net(kind)) for seed, kind in enumerate(drawn)]
    one = judge_arm(dict(items), controls(), budget=BUDGET)
    other = judge_arm(dict(random.sample(items, len(items))), dict(reversed(controls().items())), budget=BUDGET)
    assert one == other
    scaled = judge_arm({s: net(k, factor) for s, k in enumerate(drawn)}, None, budget=BUDGET * factor)
    plain = judge_arm(dict(items), None, budget=BUDGET)
    assert (scaled.verdict, scaled.held_interval) == (plain.verdict, plain.held_interval)
    assert scaled.half_life == (None if plain.half_life is None else factor * plain.half_life)


@settings(max_examples=40, deadline=None)
@given(st.integers(18, 40), st.data())
def test_more_held_never_makes_survives_less_likely(n, data):
    held = data.draw(st.integers(max(0, n - 6), n - 1))
    fewer, more = judge(held=held, removed=n - held), judge(held=held + 1, removed=n - held - 1)
    assert more.held_interval.low > fewer.held_interval.low
    assert fewer.verdict != "SURVIVES" or more.verdict == "SURVIVES"
    assert more.verdict != "REMOVED"
