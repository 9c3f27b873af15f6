"""The rule of claims, on made-up effects: it must be able to come out each way."""

import dataclasses
import itertools

import numpy as np
import pytest

from holdfast.stats import (
    Comparison,
    Interval,
    Judged,
    Part,
    clopper_pearson,
    judge_claim,
    judge_mean,
    judge_share,
    judge_survival,
    part_level,
)

ABOVE = Part(name="a", effect="an effect", d=0.5, more=True, necessary=True)
BELOW = Part(name="b", effect="an effect", d=0.5, more=False)
LEVEL = part_level(1, 2)


def values(mean, n=20, spread=0.1):
    return mean + spread * np.random.default_rng(0).standard_normal(n)


@pytest.mark.parametrize(
    ("part", "mean", "verdict"),
    [
        (ABOVE, 0.9, "SUPPORTED"),
        (ABOVE, 0.1, "REFUTED"),
        (ABOVE, 0.5, "UNDECIDED"),
        (BELOW, 0.1, "SUPPORTED"),
        (BELOW, 0.9, "REFUTED"),
        (BELOW, 0.5, "UNDECIDED"),
    ],
)
def test_a_part_comes_out_each_way(part, mean, verdict):
    judged = judge_mean(part, values(mean), LEVEL)
    assert judged.verdict == verdict
    assert judged.interval.low < judged.effect < judged.interval.high


BAND = Part(name="c", effect="an effect", about=1.0, d=0.1, bounds=(0.0, 3.0))


@pytest.mark.parametrize(
    ("mean", "spread", "verdict", "why"),
    [
        (1.0, 0.05, "SUPPORTED", "The whole interval lies between 0.9 and 1.1."),
        (1.5, 0.1, "REFUTED", "The whole interval lies above 1.1."),
        (0.5, 0.1, "REFUTED", "The whole interval lies below 0.9."),
        (1.1, 0.1, "UNDECIDED", "The interval holds 1.1."),
        (0.9, 0.1, "UNDECIDED", "The interval holds 0.9."),
        (1.0, 1.0, "UNDECIDED", "The interval holds 0.9 and 1.1."),
    ],
)
def test_a_band_comes_out_each_way(mean, spread, verdict, why):
    drawn = values(0, spread=spread)
    judged = judge_mean(BAND, mean + drawn - drawn.mean(), LEVEL)
    assert (judged.verdict, judged.reason) == (verdict, why)
    assert judged.interval.low < judged.effect < judged.interval.high
    assert BAND.says == "0.9 to 1.1"


@pytest.mark.parametrize(("value", "verdict"), [(1.0, "SUPPORTED"), (1.585, "REFUTED"), (0.0, "REFUTED")])
def test_units_that_agree_on_what_lies_in_a_band_or_outside(value, verdict):
    """Of values up to 3, others may be 2 above 1 and only 1 below it, so support takes many more than refutation."""
    verdicts = {n: judge_mean(BAND, [value] * n, LEVEL).verdict for n in (2, 20, 120)}
    assert verdicts == {2: "UNDECIDED", 20: "UNDECIDED" if verdict == "SUPPORTED" else verdict, 120: verdict}
    assert judge_mean(BAND, [value] * 120, LEVEL).reason.startswith("All 120 units agree. The whole interval lies")


def test_an_effect_is_about_a_value_or_beyond_one():
    with pytest.raises(ValueError, match="`about` a value"):
        Part(name="c", effect="", about=1.0, d=0.1, more=True)


def test_why_names_the_side():
    why = {(p.more, v): judge_mean(p, values(v), LEVEL).reason for p in (ABOVE, BELOW) for v in (0.9, 0.1)}
    above, below = (f"The whole interval lies {side} 0.5." for side in ("above", "below"))
    assert why == {(True, 0.9): above, (True, 0.1): below, (False, 0.9): above, (False, 0.1): below}


SHARE = dataclasses.replace(ABOVE, bounds=(0.0, 1.0))


@pytest.mark.parametrize(("d", "decided"), [(0.3, 5), (0.5, 8), (0.6, 10), (0.8, 23)])
def test_units_that_agree(d, decided):
    """The interval is Clopper and Pearson's for n of n: as many seeds decide it as that needs."""
    part = dataclasses.replace(SHARE, d=d)
    for n in range(1, 40):
        judged = judge_mean(part, [1.0] * n, LEVEL)
        assert judged.interval.low == pytest.approx(clopper_pearson(n, n, LEVEL).low)
        assert judged.interval.high == 1
        assert judged.verdict == ("SUPPORTED" if n >= decided else "UNDECIDED"), n


def test_what_agrees_is_rarely_decided_wrongly():
    """If a share of d + .01 of all seeds were 1, samples without one would not support "below d"."""
    rare = Part(name="r", effect="", d=0.01, more=False, bounds=(0.0, 1.0))
    assert judge_mean(rare, [0.0] * 20, LEVEL).verdict == "UNDECIDED", "20 seeds can't see one in a hundred"
    assert judge_mean(rare, [0.0] * 520, LEVEL).verdict == "SUPPORTED"
    assert judge_mean(rare, [1.0] * 20, LEVEL).verdict == "REFUTED"
    difference = Part(name="d", effect="", d=0.6, more=True, bounds=(-1.0, 1.0))
    verdicts = [judge_mean(difference, [1.0] * n, 1 - 0.025 / 6).verdict for n in (10, 27, 28)]
    assert verdicts == ["UNDECIDED", "UNDECIDED", "SUPPORTED"]


def test_without_bounds_agreement_decides_nothing():
    judged = judge_mean(ABOVE, [1.0] * 32, LEVEL)
    assert (judged.verdict, judged.interval) == ("UNDECIDED", None)


def test_on_the_edge_nothing_is_decided():
    assert judge_mean(SHARE, [0.5] * 32, LEVEL).verdict == "UNDECIDED"


@pytest.mark.parametrize("few", [[], [1.0], [float("nan")] * 9, [1.0, float("nan"), *[0.9] * 20]])
def test_too_little_to_judge(few):
    assert judge_mean(ABOVE, few, LEVEL).verdict == "UNDECIDED"


def test_levels_of_all_looks_and_parts_err_in_five_per_cent_at_most():
    for m in (1, 3, 6):
        assert sum(m * (1 - part_level(look, m)) for look in range(1, 40)) <= 0.05 + 1e-12
    assert part_level(1, 1) == 0.975


def judged(verdict, necessary):
    part = Part(name="p", effect="", d=0, more=True, necessary=necessary)
    return Judged(part=part, effect=0.0, interval=None, units=9, verdict=verdict, reason="")


@pytest.mark.parametrize(
    ("necessary", "others", "verdict"),
    [
        (["SUPPORTED"], ["SUPPORTED"], "SUPPORTED"),
        (["SUPPORTED"], ["REFUTED"], "MIXED"),
        (["SUPPORTED"], ["REFUTED", "UNDECIDED"], "MIXED"),
        (["SUPPORTED"], ["UNDECIDED"], "UNDECIDED"),
        (["REFUTED"], ["SUPPORTED"], "REFUTED"),
        (["REFUTED", "UNDECIDED"], [], "REFUTED"),
        (["UNDECIDED"], ["SUPPORTED"], "UNDECIDED"),
        (["UNDECIDED"], ["REFUTED"], "UNDECIDED"),
    ],
)
def test_a_claim_comes_out_each_way(necessary, others, verdict):
    parts = [*(judged(v, True) for v in necessary), *(judged(v, False) for v in others)]
    assert judge_claim(parts, ()) == verdict
    assert judge_claim(parts, ["planting failed"]) == "INVALID"


def test_every_combination_has_one_verdict():
    words = ("SUPPORTED", "REFUTED", "UNDECIDED")
    seen = {judge_claim([judged(a, True), judged(b, False)], ()) for a, b in itertools.product(words, words)}
    assert seen == {"SUPPORTED", "REFUTED", "MIXED", "UNDECIDED"}


def test_a_claim_without_a_necessary_part_is_none():
    with pytest.raises(ValueError, match="one necessary part"):
        judge_claim([judged("SUPPORTED", False)], ())


def test_a_share_has_the_exact_interval():
    part = Part(name="share", effect="", d=0.8, more=True, bounds=(0, 1))
    found = judge_share(part, [True] * 36, 0.975)
    assert found.interval == clopper_pearson(36, 36, 0.975)
    assert (found.effect, found.units, found.verdict) == (1.0, 36, "SUPPORTED")
    assert judge_share(part, [True] * 10 + [False] * 26, 0.975).verdict == "REFUTED"
    assert judge_share(part, [True] * 30 + [False] * 6, 0.975).verdict == "UNDECIDED"
    assert judge_share(part, [], 0.975).verdict == "UNDECIDED"


def compared(difference, interval, *, pairs=36, left_out=0, counts=True):
    return Comparison(
        verdict="LONGER",
        reason="Budget too short.",
        counts=counts,
        pairs=pairs,
        left_out=left_out,
        unpaired=0,
        difference=difference,
        p=0.001,
        interval=None if interval is None else Interval(*interval),
        level=0.995,
        budget=200,
    )


@pytest.mark.parametrize(
    ("found", "verdict", "interval"),
    [
        (compared(60.0, (30.0, 90.0)), "SUPPORTED", (0.15, 0.45)),
        (compared(60.0, (10.0, 90.0)), "UNDECIDED", (0.05, 0.45)),
        (compared(4.0, (-9.0, 18.0)), "REFUTED", (-0.045, 0.09)),
        (compared(60.0, (30.0, 90.0), pairs=28, left_out=4), "SUPPORTED", (0.15, 0.45)),
        (compared(60.0, (30.0, 90.0), pairs=27, left_out=5), "UNDECIDED", None),
        (compared(60.0, (30.0, 90.0), counts=False), "UNDECIDED", None),
        (compared(None, None, pairs=0), "UNDECIDED", None),
        (compared(190.0, None), "SUPPORTED", (0.652, 0.958)),
        (compared(0.0, None), "UNDECIDED", (-0.153, 0.153)),
    ],
)
def test_survival_as_a_share_of_the_budget(found, verdict, interval):
    """Where all 36 pairs agree at 99.5 %, a share of up to 1 - .0025^(1/36) = .153 of others may be anything."""
    part = Part(name="holds", effect="time", d=0.1, more=True)
    judged = judge_survival(part, found)
    assert judged.verdict == verdict
    assert judged.interval == (interval and pytest.approx(interval, abs=1e-3))
    assert "Budget" in judged.reason or found.counts
