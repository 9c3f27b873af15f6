"""Fit's settings, good and bad."""

import math

import pytest

from holdfast import SGD, Adam, Fit, Poison, Sign, Unlearn, UsageError, WeightDecay, attackers


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Fit(steps=5), "exactly one optimiser"),
        (lambda: Fit(SGD(lr=1.0), Adam(lr=1.0), steps=5), r"exactly one optimiser.*SGD lr 1.*Adam lr 1"),
        (lambda: Fit(SGD(lr=1.0), "decay", steps=5), "'decay' is no term of Fit"),
        (lambda: Fit(SGD(lr=1.0), steps=0), "at least 1 step"),
        (lambda: Fit(SGD(lr=1.0), steps=5, batch=0), "1 example a step"),
        (lambda: SGD(lr=0.0), "above 0; got lr=0.0"),
        (lambda: Sign(lr=-1.0), "Sign needs a learning rate above 0"),
        (lambda: Adam(lr=math.nan), "above 0; got lr=nan"),
        (lambda: SGD(lr=1.0, momentum=1.0), "below 1; got 1.0"),
        (lambda: Unlearn(rate=1.5), "between 0 and 1; got 1.5"),
        (lambda: Poison(rate=-0.1), "between 0 and 1"),
        (lambda: WeightDecay(rate=-1.0), "0 or more; got -1.0"),
    ],
)
def test_impossible_settings_say_what_is_expected(build, match):
    with pytest.raises(UsageError, match=match):
        build()


def test_names_and_labels():
    fit = Fit(Adam(lr=1e-3), Unlearn(rate=0.1), WeightDecay(rate=0.01), steps=5)
    assert fit.name == "unlearning at firing rate 0.1, weight decay 0.01"
    assert fit.label == "unlearning at firing rate 0.1, weight decay 0.01, Adam lr 0.001"
    assert Fit(SGD(lr=0.5, momentum=0.9), steps=5).label == "fine-tuning, SGD lr 0.5 momentum 0.9"


def test_the_declared_grid_has_five_rates_over_three_decades_for_both_optimisers():
    grid = attackers(Unlearn(rate=0.1), steps=100)
    assert len(grid) == len({fit.label for fit in grid}) == 10
    for kind in (SGD, Adam):
        rates = sorted(fit.optimiser.lr for fit in grid if isinstance(fit.optimiser, kind))
        assert len(rates) == 5
        assert rates[-1] / rates[0] == pytest.approx(1e3)
    assert all(fit.optimiser.momentum == 0.9 for fit in grid if isinstance(fit.optimiser, SGD))
    assert all(fit.mixes == (Unlearn(rate=0.1),) for fit in grid)


def test_more_terms():
    fit = Fit(SGD(lr=1.0), steps=5, batch=7).with_terms(Poison(rate=0.1))
    assert fit == Fit(SGD(lr=1.0), Poison(rate=0.1), steps=5, batch=7)
