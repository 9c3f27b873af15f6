import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.stats.intervals import clopper_pearson, look_level
from holdfast.stats.planning import distinguishable, least_hits, most_hits, seeds_needed


@pytest.mark.parametrize("level", [look_level(1), look_level(2), look_level(5)])
def test_critical_counts_are_those_of_the_intervals(level):
    for n in (1, 3, 4, 5, 8, 19, 20, 23, 32, 60, 117):
        bounds = [clopper_pearson(k, n, level) for k in range(n + 1)]
        assert least_hits(n, level) == next((k for k, b in enumerate(bounds) if b.low > 0.8), None)
        assert most_hits(n, level) == max((k for k, b in enumerate(bounds) if b.high < 0.8), default=None)


def test_what_seeds_can_tell():
    few, many = distinguishable(8), distinguishable(32)
    assert (few.least_held, few.share_at_power, few.least_seeds) == (None, None, 20)
    assert few.if_all_gone == pytest.approx(1 - 0.0125 ** (1 / 8))
    assert few.if_all_held == pytest.approx(0.0125 ** (1 / 8))
    assert many.least_held == 31
    p = many.share_at_power
    assert p**32 + 32 * p**31 * (1 - p) == pytest.approx(0.8)
    assert distinguishable(20).least_held == 20
    assert distinguishable(20, look=2).least_held is None
    with pytest.raises(ValueError, match="at least 1"):
        distinguishable(0)


def chance(n, held, removed, aim, look):
    """The power by simulation, from the intervals alone."""
    rng, level = np.random.default_rng(3), look_level(look)
    counts = rng.multinomial(n, [held, removed, 1 - held - removed], size=4000)
    bounds = [clopper_pearson(k, n, level) for k in range(n + 1)]
    low, high = (np.array([b[i] for b in bounds]) for i in (0, 1))
    if aim == "MIXED":
        return np.mean((high[counts[:, 0]] < 0.8) & (high[counts[:, 1]] < 0.8))
    return np.mean(low[counts[:, 0 if aim == "SURVIVES" else 1]] > 0.8)


@pytest.mark.parametrize(
    ("held", "removed", "n", "aim"),
    [(19, 1, 20, "SURVIVES"), (2, 30, 32, "REMOVED"), (6, 14, 20, "MIXED"), (4, 4, 8, "MIXED")],
)
def test_the_number_needed_has_the_power(held, removed, n, aim):
    needed = seeds_needed(held, removed, n, look=1)
    assert n < needed < 300
    slack = 3 * np.sqrt(0.8 * 0.2 / 4000)
    for more in (0, 1, 2, 5, 11):
        assert chance(needed + more, held / n, removed / n, aim, look=2) >= 0.8 - slack
    if needed > n + 1:
        assert chance(needed - 1, held / n, removed / n, aim, look=2) < 0.8 + slack


def test_known_answers():
    assert seeds_needed(8, 0, 8, look=1) == 23  # 0.00625^(1/23) > 0.8 > 0.00625^(1/22)
    assert seeds_needed(0, 8, 8, look=1) == 23
    assert seeds_needed(8, 0, 8, look=1) <= seeds_needed(8, 0, 8, look=3)
    assert seeds_needed(4, 1, 5, look=1) is None  # a share of exactly 0.8 is on neither side
    assert seeds_needed(81, 0, 100, look=1) is None
    assert seeds_needed(0, 0, 1, look=1) == 4  # 0.2^4 < 0.00625 < 0.2^3


@given(st.integers(1, 40), st.data())
def test_more_held_never_needs_more_for_survives(n, data):
    held = data.draw(st.integers(int(0.8 * n) + 1, n)) if n > 1 else 1
    if held == n:
        return
    fewer, more = seeds_needed(held, 0, n, look=1), seeds_needed(held + 1, 0, n, look=1)
    assert fewer is None or (more is not None and more <= fewer)


@pytest.mark.parametrize("counts", [(0, 0, 0), (3, 3, 5), (-1, 0, 5)])
def test_refuses(counts):
    with pytest.raises(ValueError, match="Expected"):
        seeds_needed(*counts, look=1)
