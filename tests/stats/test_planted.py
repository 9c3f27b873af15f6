import math

import numpy as np
import pytest
from scipy.stats import t

from holdfast.stats.planted import control_limit, gone_below, is_planted


def test_limit_is_the_prediction_limit():
    x = [0.01, 0.03, -0.02, 0.0, 0.05]
    want = np.mean(x) + t.ppf(0.99, 4) * np.std(x, ddof=1) * math.sqrt(1 + 1 / 5)
    assert control_limit(x) == pytest.approx(want, rel=1e-12)
    assert control_limit([0.25, 0.25]) == 0.25


@pytest.mark.parametrize("m", [2, 5, 12])
def test_false_alarms_are_one_in_a_hundred(m):
    rng, draws = np.random.default_rng(2), 12_000
    nets = rng.normal(0.1, 0.03, size=(draws, m + 1))
    alarms = np.mean([row[-1] > control_limit(row[:-1].tolist()) for row in nets])
    assert abs(alarms - 0.01) < 4 * math.sqrt(0.01 * 0.99 / draws)


def test_half_its_own():
    assert gone_below(0.8) == 0.4


def test_planted_needs_half_the_presence_above_the_limit():
    assert is_planted(0.5, 0.24)
    assert not is_planted(0.5, 0.25)
    assert is_planted(0.01, None)
    assert not is_planted(0.0, None)
    assert not is_planted(-0.1, -0.3)
    assert not is_planted(math.nan, None)
    assert not is_planted(math.inf, 0.1)


@pytest.mark.parametrize(
    ("x", "says"), [([], "at least 2"), ([0.1], "more seeds"), ([0.1, math.nan], "Leave that control")]
)
def test_refuses_with_what_to_do(x, says):
    with pytest.raises(ValueError, match=says):
        control_limit(x)
