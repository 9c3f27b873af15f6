import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from holdfast.stats.suppressed import passing_time, suppression

INF = math.inf


def test_equals_scipys_binomial_test():
    for sooner in range(9):
        for later in range(9 - sooner):
            got = suppression([1] * sooner + [3] * later + [2], [2] * (sooner + later + 1))
            assert (got.sooner, got.later, got.ties) == (sooner, later, 1)
            if sooner + later:
                want = binomtest(sooner, sooner + later, 0.5, alternative="greater").pvalue
                assert got.p == pytest.approx(want, rel=1e-12)
            else:
                assert got.p == 1


def test_never_on_both_sides_is_a_tie():
    got = suppression([10, 10, 10, INF, INF], [INF, 30, 10, INF, 50])
    assert (got.sooner, got.later, got.ties) == (2, 1, 2)
    assert (got.median_arm, got.median_control) == (10, 50)
    assert not got.significant
    assert "3 untied pairs" in got.sentence


def test_five_of_five_is_the_least_that_shows_it():
    five, four = suppression([10] * 5, [INF] * 5), suppression([10] * 4, [INF] * 4)
    assert five.significant
    assert not four.significant
    assert five.p == 1 / 32
    assert "10 steps against never" in five.sentence
    assert "no suppression" in suppression([INF] * 6, [10] * 6).sentence


def test_passing_time():
    assert passing_time([0, 5, 10], [0.1, 0.4, 0.9], 0.4) == 5
    assert passing_time([0, 5, 10], [0.1, math.nan, 0.3], 0.4) == INF


times = st.one_of(st.integers(0, 5).map(float), st.just(INF))


@given(st.lists(st.tuples(times, times), min_size=1, max_size=15), st.randoms(use_true_random=False))
def test_order_of_pairs_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    assert suppression(*zip(*pairs, strict=True)) == suppression(*zip(*shuffled, strict=True))


@pytest.mark.parametrize(("arm", "control"), [([], []), ([1], [1, 2]), ([math.nan], [1])])
def test_refuses(arm, control):
    with pytest.raises(ValueError):
        suppression(arm, control)
