"""The exponent of a power law, against lifelines, least squares, and data made with a known one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.stats import bca, exponent_of

RATES = np.array([0.1, 0.03, 0.01, 0.003, 0.001])


def made(s, n, seed=0, sigma=0.3, budget=np.inf, first=10.0):
    """(units, rates, times, censored): T = first (rate / .1)^-s e^(sigma N), cut off at the budget."""
    rng = np.random.default_rng(seed)
    units, rates = np.repeat(np.arange(n), len(RATES)), np.tile(RATES, n)
    times = first * (rates / 0.1) ** -s * np.exp(sigma * rng.standard_normal(len(rates)))
    return units, rates, np.minimum(times, budget), times > budget


def estimate(units, rates, times, censored, n):
    return float(exponent_of(units, rates, times, censored, n)(np.ones((1, n)))[0])


@pytest.mark.parametrize("budget", [np.inf, 300.0, 100.0])
def test_it_is_the_likelihoods_own(budget):
    lifelines = pytest.importorskip("lifelines")
    units, rates, times, censored = made(0.8, 12, budget=budget)
    frame = pd.DataFrame({"T": times, "E": ~censored, "x": np.log(rates)})
    fitter = lifelines.LogNormalAFTFitter().fit(frame, "T", "E")
    assert estimate(units, rates, times, censored, 12) == pytest.approx(-fitter.params_["mu_"]["x"], abs=2e-3)
    assert (budget == np.inf) == (not censored.any())


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.5, 1.5, allow_subnormal=False), st.integers(3, 20), st.integers(0, 999))
def test_without_censoring_it_is_least_squares(s, n, seed):
    units, rates, times, censored = made(s, n, seed)
    slope = np.polyfit(np.log(rates), np.log(times), 1)[0]
    assert estimate(units, rates, times, censored, n) == pytest.approx(-slope, abs=1e-6)


@pytest.mark.parametrize("s", [0.0, 0.5, 1.0])
def test_its_interval_covers_the_truth(s):
    hits = 0
    for seed in range(40):
        units, rates, times, censored = made(s, 16, seed, budget=500.0)
        interval = bca(exponent_of(units, rates, times, censored, 16), 16, 0.95)
        hits += interval.low <= s <= interval.high
    assert hits >= 33


def test_exact_data_give_no_interval_of_zero_width():
    units, rates, times, censored = made(1.0, 10, sigma=0.0)
    interval = bca(exponent_of(units, rates, times, censored, 10), 10, 0.95)
    assert interval is None or interval.low == pytest.approx(1.0)


@pytest.mark.parametrize(("rates", "times"), [([0.1, 0.0], [1, 2]), ([0.1, 0.2], [0, 2]), ([0.1, 0.1], [1, 2])])
def test_what_has_no_exponent(rates, times):
    with pytest.raises(ValueError, match="above 0, at two rates or more"):
        exponent_of(np.arange(2), np.array(rates), np.array(times, dtype=float), np.zeros(2, dtype=bool), 2)
