"""The BCa bootstrap against scipy's own, and its coverage where the truth is known."""

import numpy as np
import pytest
from scipy import stats

from holdfast.stats import bca, mean_of


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [12, 40])
def test_it_is_scipys(n, level):
    values = np.random.default_rng(n).exponential(size=n)
    # Expanded percentiles are the plain ones at a level that is a little higher.
    z = np.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    expanded = 2 * stats.norm.cdf(z) - 1
    true = stats.bootstrap((values,), np.mean, confidence_level=expanded, n_resamples=20_000, method="BCa", rng=1)
    found = bca(mean_of(values), n, level)
    width = true.confidence_interval.high - true.confidence_interval.low
    assert found.low == pytest.approx(true.confidence_interval.low, abs=0.04 * width)
    assert found.high == pytest.approx(true.confidence_interval.high, abs=0.1 * width)


def test_it_covers_about_as_often_as_it_says():
    draws = np.random.default_rng(0).lognormal(sigma=0.5, size=(200, 32))
    hits = sum((i := bca(mean_of(row), 32, 0.95)).low <= np.exp(0.125) <= i.high for row in draws)
    assert 0.88 <= hits / 200 <= 0.99


def test_few_units_at_a_high_level():
    """Normal units, whose exact interval is Student's: missed about as often as the level says."""
    draws = np.random.default_rng(0).standard_normal((1000, 20))
    missed = sum(not (i := bca(mean_of(row), 20, 0.98)).low <= 0 <= i.high for row in draws)
    assert missed / 1000 <= 0.035, "plain BCa misses 4 % here"


def test_the_same_every_time():
    values = np.arange(20.0)
    assert bca(mean_of(values), 20, 0.95) == bca(mean_of(values), 20, 0.95)


@pytest.mark.parametrize("values", [np.zeros(10), np.array([3.0]), np.array([np.nan, 1.0, 2.0])])
def test_where_there_is_none(values):
    assert bca(mean_of(values), len(values), 0.95) is None
