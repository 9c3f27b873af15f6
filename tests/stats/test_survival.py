import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.stats.intervals import clopper_pearson
from holdfast.stats.outcome import Outcome
from holdfast.stats.survival import curve_of, half_life, half_life_text, kaplan_meier, restricted_mean

BUDGET = 100


@pytest.fixture(scope="module")
def lifelines():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("lifelines")


def censored_draw(seed, n=30):
    """Geometric lives on a grid of ten checkpoints, some nets lost early."""
    rng = np.random.default_rng(seed)
    life, loss = 10 * rng.geometric(0.12, n), 10 * rng.geometric(0.06, n)
    ends = np.minimum(np.minimum(life, loss), BUDGET)
    return ends.tolist(), ((life <= loss) & (life <= BUDGET)).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_equals_lifelines(lifelines, seed):
    ends, events = censored_draw(seed)
    curve = kaplan_meier(ends, events, level=0.95)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kmf = lifelines.KaplanMeierFitter(alpha=0.05).fit(ends, events)
        area = lifelines.utils.restricted_mean_survival_time(kmf, t=BUDGET)
    assert curve.steps == tuple(int(t) for t in kmf.survival_function_.index)
    assert curve.survival == pytest.approx(kmf.survival_function_.iloc[:, 0].tolist(), abs=1e-12)
    first_loss = min(t for t, died in zip(ends, events, strict=True) if not died)
    low, high = (kmf.confidence_interval_.iloc[:, j].tolist() for j in (0, 1))
    compared = 0
    for i, t in enumerate(curve.steps):
        if t > first_loss and 0 < curve.survival[i] < 1:
            assert (curve.low[i], curve.high[i]) == pytest.approx((low[i], high[i]), abs=1e-12)
            compared += 1
        elif t <= first_loss:
            assert (curve.low[i], curve.high[i]) == clopper_pearson(round(30 * curve.survival[i]), 30, 0.95)
    assert compared >= 3
    table = kmf.event_table
    assert curve.at_risk[1:] == tuple(int(x) for x in table["at_risk"].iloc[1:])
    assert curve.events == tuple(int(x) for x in table["observed"])
    mean = restricted_mean(curve, BUDGET, carry=True)
    assert mean == pytest.approx(area, rel=1e-9)


def test_nothing_happened():
    curve = kaplan_meier([BUDGET] * 8, [False] * 8)
    assert (curve.steps, curve.survival, curve.events) == ((0, BUDGET), (1.0, 1.0), (0, 0))
    assert curve.low == (pytest.approx(0.025 ** (1 / 8)),) * 2
    assert half_life(curve) is None
    assert half_life_text(curve) == "> 100"
    assert restricted_mean(curve, BUDGET) == BUDGET


def test_all_gone():
    curve = kaplan_meier([20] * 8, [True] * 8)
    assert curve.survival == (1.0, 0.0)
    assert curve.high[1] == pytest.approx(1 - 0.025 ** (1 / 8))
    assert half_life(curve) == 20
    assert half_life_text(curve) == "20"
    assert restricted_mean(curve, BUDGET) == 20


@pytest.mark.parametrize(("died", "survival"), [(True, (1.0, 0.0)), (False, (1.0, 1.0))])
def test_one_net(died, survival):
    curve = kaplan_meier([50], [died])
    assert curve.survival == survival
    assert all(low < high for low, high in zip(curve.low, curve.high, strict=True))


def test_all_diverged_is_not_known_rather_than_full_survival():
    nets = [Outcome(kind="diverged", event=None, end=end, returned=False) for end in (0, 10, 10)]
    curve = curve_of(nets)
    assert (curve.steps, curve.at_risk) == ((0, 10), (3, 2))
    assert restricted_mean(curve, BUDGET) is None
    assert restricted_mean(curve, BUDGET, carry=True) == BUDGET
    assert half_life_text(curve) == "> 10"


def test_where_log_log_is_undefined_the_number_at_risk_bounds():
    lost_first = kaplan_meier([10, 20, 30, 30], [False, False, False, False])
    assert (lost_first.low[-1], lost_first.high[-1]) == clopper_pearson(2, 2)
    gone_last = kaplan_meier([10, 20, 30], [False, True, True])
    assert gone_last.survival[-1] == 0
    assert (gone_last.low[-1], gone_last.high[-1]) == clopper_pearson(0, 1)


def test_half_is_reached_at_exactly_half():
    assert half_life(kaplan_meier([10, 20, 100, 100], [True, True, False, False])) == 20


@pytest.mark.parametrize(
    ("ends", "events"), [([], []), ([10], [True, False]), ([-1], [False]), ([0, 10], [True, False])]
)
def test_refuses(ends, events):
    with pytest.raises(ValueError, match="Expected"):
        kaplan_meier(ends, events)


def coverage(rate, loss, at, draws=400, n=24):
    """How often the band covers the true S(at), how often it would at 1 (vacuous), and its mean width."""
    rng, hits, width = np.random.default_rng(5), 0, 0.0
    truth = (1 - rate) ** (at // 10)
    for _ in range(draws):
        life = 10 * rng.geometric(rate, n)
        lost = 10 * rng.geometric(loss, n) if loss else np.full(n, BUDGET)
        ends = np.minimum(np.minimum(life, lost), BUDGET)
        curve = kaplan_meier(ends.tolist(), ((life <= lost) & (life <= BUDGET)).tolist())
        i = max(j for j, t in enumerate(curve.steps) if t <= at)
        hits += curve.low[i] <= truth <= curve.high[i]
        width += curve.high[i] - curve.low[i]
    return hits / draws, width / draws


@pytest.mark.parametrize(("rate", "loss", "at"), [(0.1, 0, 30), (0.1, 0, 90), (0.02, 0, 20), (0.1, 0.05, 40)])
def test_simulated_coverage_of_the_band(rate, loss, at):
    covered, width = coverage(rate, loss, at)
    assert covered >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)
    assert width < 0.55


nets = st.lists(st.tuples(st.integers(1, 10), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(nets, st.randoms(use_true_random=False), st.integers(2, 50))
def test_order_and_unit_do_not_matter(drawn, random, factor):
    shuffled = random.sample(drawn, len(drawn))
    one = kaplan_meier([t for t, _ in drawn], [d for _, d in drawn])
    other = kaplan_meier([factor * t for t, _ in shuffled], [d for _, d in shuffled])
    assert other.steps == tuple(factor * t for t in one.steps)
    assert (other.survival, other.low, other.high) == (one.survival, one.low, one.high)
    assert all(low < high for low, high in zip(one.low, one.high, strict=True))
    assert all(low <= s <= high for low, s, high in zip(one.low, one.survival, one.high, strict=True))
    mean, scaled = restricted_mean(one, 10, carry=True), restricted_mean(other, 10 * factor, carry=True)
    assert scaled == pytest.approx(factor * mean)
