"""The rule of claims, on made-up effects: it must be able to come out each way."""

import itertools

import numpy as np
import pytest

from holdfast.stats import Judged, Part, judge_claim, judge_mean, part_level

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


@pytest.mark.parametrize(("n", "decided"), [(4, False), (7, False), (8, True), (32, True)])
def test_units_that_agree(n, decided):
    """No interval of zero width; decided only where as many would rarely agree by chance."""
    judged = judge_mean(ABOVE, [1.0] * n, LEVEL)
    assert judged.interval is None
    assert (2 * 0.5**n <= 1 - LEVEL) == decided
    assert judged.verdict == ("SUPPORTED" if decided else "UNDECIDED")


def test_on_the_edge_nothing_is_decided():
    assert judge_mean(ABOVE, [0.5] * 32, LEVEL).verdict == "UNDECIDED"


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
