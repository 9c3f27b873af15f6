import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from holdfast.stats.intervals import clopper_pearson, look_level


@pytest.mark.parametrize("level", [0.8, 0.95, 0.975, 0.9875])
def test_equals_scipys_exact_interval(level):
    for n in (1, 2, 7, 20, 32, 150):
        for hits in {0, 1, n // 3, n // 2, n - 1, n}:
            want = binomtest(hits, n).proportion_ci(confidence_level=level, method="exact")
            got = clopper_pearson(hits, n, level)
            assert got == pytest.approx((want.low, want.high), abs=1e-9)


def test_edges_are_the_closed_forms_and_never_of_zero_width():
    for n in (1, 8, 20, 500):
        assert clopper_pearson(0, n, 0.975) == pytest.approx((0, 1 - 0.0125 ** (1 / n)), abs=1e-12)
        assert clopper_pearson(n, n, 0.975) == pytest.approx((0.0125 ** (1 / n), 1), abs=1e-12)
    assert clopper_pearson(0, 0) == (0, 1)


def test_the_figures_of_the_design():
    assert clopper_pearson(20, 20, look_level(1)).low > 0.8 >= clopper_pearson(19, 19, look_level(1)).low
    assert clopper_pearson(31, 32, look_level(1)).low > 0.8 >= clopper_pearson(30, 32, look_level(1)).low
    assert pytest.approx(clopper_pearson(0, 8, look_level(1)).high, abs=0.005) == 0.42
    assert clopper_pearson(0, 8, look_level(1)).high < 0.4218


def test_levels_of_looks():
    assert [look_level(j) for j in (1, 2, 3)] == [0.975, 0.9875, 0.99375]
    with pytest.raises(ValueError, match="counted from 1"):
        look_level(0)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8, 0.97])
def test_simulated_coverage(share):
    rng, n, draws = np.random.default_rng(1), 24, 4000
    bounds = [clopper_pearson(k, n, 0.95) for k in range(n + 1)]
    hits = rng.binomial(n, share, size=draws)
    covered = np.mean([bounds[k].low <= share <= bounds[k].high for k in hits])
    assert covered >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / draws)
    assert max(b.high - b.low for b in bounds) < 0.45  # not covering by being everything


@given(st.integers(1, 200), st.data())
def test_more_hits_never_lower_a_bound(n, data):
    k = data.draw(st.integers(0, n - 1))
    fewer, more = clopper_pearson(k, n, 0.975), clopper_pearson(k + 1, n, 0.975)
    assert fewer.low < more.low
    assert fewer.high < more.high
    mirror = clopper_pearson(n - k, n, 0.975)
    assert fewer == pytest.approx((1 - mirror.high, 1 - mirror.low), abs=1e-9)


@pytest.mark.parametrize(("hits", "n", "level"), [(-1, 4, 0.95), (5, 4, 0.95), (1, 4, 0.0), (1, 4, 1.0), (1, 4, 95)])
def test_refuses(hits, n, level):
    with pytest.raises(ValueError, match="Expected"):
        clopper_pearson(hits, n, level)
