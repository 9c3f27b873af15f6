import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from holdfast.stats.outcome import Outcome, Trace
from holdfast.stats.paired import compare, present_at_first, sign_flip, survival_time

BUDGET = 100


def scipys_p(d):
    return permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True).pvalue


@pytest.mark.parametrize("n", [2, 3, 6, 9, 12])
def test_exact_p_equals_scipys(n):
    for seed in range(3):
        d = np.random.default_rng(seed).integers(-3, 8, n).astype(float)
        got = sign_flip(d, 0.95)
        assert got.exact
        assert got.p == pytest.approx(scipys_p(d), abs=1e-12)


def test_random_flips_come_near_the_exact_p():
    d = np.random.default_rng(4).normal(0.5, 1, 17)
    got = sign_flip(d, 0.95)
    assert not got.exact
    assert abs(got.p - scipys_p(d)) < 5 * math.sqrt(0.05 / 20_000)
    assert got == sign_flip(d, 0.95)
    assert sign_flip(np.full(40, 1.0), 0.95).p == 2 / 20_001


@pytest.mark.parametrize("n", [6, 10, 20])
def test_the_interval_inverts_the_test(n):
    d = np.random.default_rng(n).normal(1, 2, n)
    low, high = sign_flip(d, 0.9).interval
    eps = 1e-6
    assert sign_flip(d - (low + eps), 0.9).p > 0.1 >= sign_flip(d - (low - eps), 0.9).p
    assert sign_flip(d - (high - eps), 0.9).p > 0.1 >= sign_flip(d - (high + eps), 0.9).p


def test_simulated_coverage_and_false_alarms():
    rng, draws, covered, alarms, width = np.random.default_rng(6), 1000, 0, 0, 0.0
    for _ in range(draws):
        d = rng.normal(0, 1, 9)
        got = sign_flip(d, 0.95)
        covered += got.interval.low <= 0 <= got.interval.high
        alarms += got.p <= 0.05
        width += got.interval.high - got.interval.low
    assert covered + alarms == draws
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / draws) <= covered / draws <= 0.985
    assert width / draws < 2


def test_too_few_pairs_for_any_bound():
    assert sign_flip(np.array([1.0, 2, 3, 4, 5]), 0.95).interval == (-math.inf, math.inf)
    assert sign_flip(np.array([1.0, 2, 3, 4, 5, 6]), 0.95).interval == (1, 6)


def gone(step):
    return Outcome(kind="removed", event=step, end=step, returned=False)


HELD = Outcome(kind="held", event=None, end=BUDGET, returned=False)
WRECKED = Outcome(kind="wrecked", event=None, end=30, returned=False)
DIVERGED = Outcome(kind="diverged", event=None, end=30, returned=False)


def traces(n, first=1.0):
    t = Trace(steps=(0, 10, 100, 110), presence=(1.0, first, 0, 0), accuracy=(0.9,) * 4)
    return dict.fromkeys(range(n), t)


def test_times():
    assert survival_time(gone(40), BUDGET) == 40
    assert survival_time(gone(140), BUDGET) == survival_time(HELD, BUDGET) == BUDGET
    assert survival_time(Outcome(kind="held", event=20, end=20, returned=True), BUDGET) == 20


def test_longer_and_shorter():
    reference = {s: gone(10 + s) for s in range(10)}
    other = {s: gone(40 + 3 * s) for s in range(9)} | {9: HELD}
    got = compare(reference, other, reference_traces=traces(10), budget=BUDGET)
    assert (got.verdict, got.pairs, got.left_out, got.unpaired, got.p) == ("LONGER", 10, 0, 0, 2 / 1024)
    assert got.difference == np.mean([30 + 2 * s for s in range(9)] + [81])
    assert 0 < got.interval.low < got.difference < got.interval.high <= BUDGET
    back = compare(other, reference, reference_traces=traces(10), budget=BUDGET)
    assert (back.verdict, back.difference) == ("SHORTER", -got.difference)
    assert back.interval == pytest.approx((-got.interval.high, -got.interval.low))


def test_wrecked_and_diverged_pairs_are_left_out_and_counted():
    reference = {s: gone(20) for s in range(8)} | {8: WRECKED, 9: gone(20)}
    other = {s: gone(20 + s) for s in range(8)} | {8: HELD, 9: DIVERGED, 11: HELD}
    got = compare(reference, other, reference_traces=traces(10), budget=BUDGET)
    assert (got.pairs, got.left_out, got.unpaired) == (8, 2, 1)
    assert got.difference == 3.5


def test_pairs_that_all_agree_print_no_interval():
    reference, other = {s: gone(20) for s in range(8)}, {s: gone(50) for s in range(8)}
    got = compare(reference, other, reference_traces=traces(8), budget=BUDGET)
    assert (got.verdict, got.p, got.interval) == ("LONGER", 2 / 256, None)
    same = compare(reference, reference, reference_traces=traces(8), budget=BUDGET)
    assert (same.verdict, same.p, same.difference, same.interval) == ("UNDECIDED", 1, 0, None)


def test_few_pairs_are_bounded_by_the_budget_alone():
    got = compare({0: gone(20)}, {0: gone(50)}, reference_traces=traces(1), budget=BUDGET)
    assert (got.verdict, got.interval, got.p) == ("UNDECIDED", (-BUDGET, BUDGET), 1)
    assert "1 pairs can't give" in got.reason


def test_no_pairs():
    got = compare({0: WRECKED, 1: gone(10)}, {0: HELD}, reference_traces=traces(2), budget=BUDGET)
    assert (got.verdict, got.difference, got.p, got.interval) == ("UNDECIDED", None, None, None)
    assert "neither wrecked nor diverged" in got.reason


def test_it_counts_only_between_too_short_and_too_strong():
    other = dict.fromkeys(range(8), HELD)
    half = {s: gone(20) if s < 4 else HELD for s in range(8)}
    fewer = {s: gone(20) if s < 3 else HELD for s in range(8)}
    assert "Budget too short" not in compare(half, other, reference_traces=traces(8), budget=BUDGET).reason
    short = compare(fewer, other, reference_traces=traces(8), budget=BUDGET)
    assert (short.verdict, short.reason[:16]) == ("UNDECIDED", "Budget too short")
    swift = {s: gone(10) for s in range(8)}
    strong = compare(swift, other, reference_traces=traces(8, first=0.4), budget=BUDGET)
    assert (strong.verdict, strong.reason[:19]) == ("UNDECIDED", "Pressure too strong")
    mixed = traces(8) | {s: traces(1, first=0.4)[0] for s in range(4)}
    assert compare(swift, other, reference_traces=mixed, budget=BUDGET).verdict == "LONGER"


def test_present_at_first():
    assert present_at_first(traces(1, first=0.5)[0])
    assert not present_at_first(traces(1, first=0.49)[0])
    assert not present_at_first(traces(1, first=math.nan)[0])
    assert not present_at_first(Trace(steps=(0,), presence=(1.0,), accuracy=(1.0,), diverged=True))


def test_refuses():
    with pytest.raises(ValueError, match="Expected"):
        compare({}, {}, reference_traces={}, budget=BUDGET)
    with pytest.raises(ValueError, match="its trace"):
        compare({0: HELD}, {0: HELD}, reference_traces={}, budget=BUDGET)


steps = st.integers(1, 9).map(lambda i: 10 * i)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(steps, steps), min_size=1, max_size=10), st.randoms(use_true_random=False), st.integers(2, 9))
def test_order_of_seeds_and_unit_of_steps_do_not_matter(pairs, random, factor):
    def run(items, scale):
        a, b = ({s: gone(p[j] * scale) for s, p in items} for j in (0, 1))
        return compare(a, b, reference_traces=traces(len(pairs)), budget=BUDGET * scale)

    items = list(enumerate(pairs))
    one, other, scaled = run(items, 1), run(random.sample(items, len(items)), 1), run(items, factor)
    assert one == other
    assert (scaled.verdict, scaled.p) == (one.verdict, one.p)
    assert scaled.difference == pytest.approx(one.difference * factor)
