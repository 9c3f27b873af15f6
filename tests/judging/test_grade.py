"""The grade, from rows of `verdict.json` as they are."""

import itertools
import re

import pytest
from scipy.stats import beta

from holdfast.judging.grade import Cost, grade


def bounds(held, n, level=0.975):
    """Clopper and Pearson's interval of a share, from SciPy."""
    a = 1 - level
    low = 0.0 if held == 0 else float(beta.ppf(a / 2, held, n - held + 1))
    high = 1.0 if held == n else float(beta.ppf(1 - a / 2, held + 1, n - held))
    return [low, high]


def arm(implant, removed, held=None, n=8, verdict="UNDECIDED", wrecked=0, diverged=0, reason="Because."):
    held = n - removed - wrecked - diverged if held is None else held
    return {
        "implant": implant, "seeds": n, "held": held, "removed": removed, "wrecked": wrecked, "diverged": diverged,
        "verdict": verdict, "reason": reason, "held_interval": bounds(held, n), "level": 0.975,
    }  # fmt: skip


def test_all_gone():
    found = grade([arm("BadNets", 8), arm("beside", 8)], Cost())
    assert (found["rung"], found["of"], found["canary"], found["seeds"]) == (2, 2, "beside", 8)
    assert "removed all 2 canaries in every seed" in found["sentence"]
    for name in ("BadNets", "beside"):
        assert f"{name}: gone in 8 of 8, survival below 0.4" in found["sentence"]


def test_none_gone():
    found = grade([arm("BadNets", 0), arm("beside", 0)], Cost())
    assert (found["rung"], found["canary"], found["seeds"], found["bound"]) == (0, None, None, None)
    assert "removed none of 2 canaries in every seed" in found["sentence"]
    for name in ("BadNets", "beside"):
        assert f"{name}: still there in 8 of 8, survival above 0.5" in found["sentence"]


def test_one_canary_that_stays():
    found = grade([arm("BadNets", 3)], Cost())
    assert found["rung"] == 0
    assert "BadNets: still there in 5, gone in 3 of 8." in found["sentence"]


def test_the_easy_one_gone():
    found = grade([arm("BadNets", 8), arm("beside", 3)], Cost())
    assert (found["rung"], found["canary"]) == (1, "BadNets")
    opening = found["sentence"].split(". ")[0]
    assert re.search(r"\bnot all\b", opening, re.IGNORECASE)
    assert "BadNets" in opening
    assert "beside" not in opening
    assert "beside: still there in 5, gone in 3 of 8." in found["sentence"]


def test_the_hard_one_gone_and_the_easy_one_not():
    found = grade([arm("BadNets", 7), arm("beside", 8)], Cost())
    assert (found["rung"], found["canary"]) == (2, "beside")
    assert re.search(r"\bnot all\b", found["sentence"], re.IGNORECASE)


def test_a_lost_host_is_no_removal():
    found = grade([arm("BadNets", 7, wrecked=1), arm("beside", 6, diverged=1, wrecked=1)], Cost())
    assert found["rung"] == 0
    assert "BadNets: still there in 0, gone in 7 of 8; the host was lost in 1." in found["sentence"]
    assert "beside: still there in 0, gone in 6 of 8; the host was lost in 2." in found["sentence"]


def test_what_could_not_be_judged_gets_no_rung():
    bad = arm("beside", 8, verdict="INVALID", reason="Controls have it too.")
    found = grade([arm("BadNets", 8), bad], Cost())
    assert (found["rung"], found["of"]) == (1, 2)
    assert "removed the canary in every seed" in found["sentence"], "of those that could be judged"
    assert "beside: not judged. Controls have it too." in found["sentence"]
    nothing = grade([bad], Cost())
    assert nothing["rung"] == 0
    assert "no canary could be judged" in nothing["sentence"]


def test_an_arm_without_seeds_is_not_gone():
    for verdict in ("INVALID", "UNDECIDED"):
        bare = arm("BadNets", 0, held=0, n=0, verdict=verdict) | {"held_interval": [0, 1]}
        found = grade([bare], Cost())
        assert found["rung"] == 0
        assert "removed the canary" not in found["sentence"]


def test_accuracy_is_told_where_it_is_known():
    found = grade([arm("BadNets", 8)], Cost(accuracy_before=0.991, accuracy_after=0.25))
    assert (found["accuracy_before"], found["accuracy_after"]) == (0.991, 0.25)
    assert "from 99.1 to 25.0 %" in found["sentence"]
    found = grade([arm("BadNets", 8)], Cost())
    assert (found["accuracy_before"], found["accuracy_after"]) == (None, None)
    assert "accuracy" not in found["sentence"]


def test_what_planting_cost_and_a_warm_up_are_told():
    found = grade([arm("BadNets", 8)], Cost(accuracy_host=0.96, accuracy_planted=0.951, warmed_up=True))
    assert "Planting, before it, took the host's from 96.0 to 95.1 %" in found["sentence"]
    assert "ran once before planting, as a warm-up" in found["sentence"]


@pytest.mark.parametrize("n", [2, 8, 20, 100])
def test_the_bound_is_the_closed_form(n):
    assert grade([arm("BadNets", n, n=n)], Cost())["bound"] == pytest.approx(1 - 0.0125 ** (1 / n))


def test_numbers_are_rounded_away_from_what_is_claimed():
    for n in range(2, 200):
        sentence = grade([arm("BadNets", n, n=n)], Cost())["sentence"]
        assert float(re.search(r"survival below (\d\.\d+)", sentence)[1]) >= bounds(0, n)[1]
        sentence = grade([arm("BadNets", 0, n=n)], Cost())["sentence"]
        assert float(re.search(r"survival above (\d\.\d+)", sentence)[1]) <= bounds(n, n)[0]


def test_the_rung_is_the_hardest_in_every_mixture():
    kinds = {"gone": (8, "REMOVED"), "some": (5, "MIXED"), "there": (0, "SURVIVES"), "odd": (8, "INVALID")}
    for mixture in itertools.product(kinds, repeat=3):
        arms = [arm(f"canary {i}", kinds[k][0], verdict=kinds[k][1]) for i, k in enumerate(mixture, 1)]
        found = grade(arms, Cost())
        assert found["rung"] == max((i for i, k in enumerate(mixture, 1) if k == "gone"), default=0)
        assert found["of"] == 3
        assert all(f"canary {i}: " in found["sentence"] for i in (1, 2, 3)), "every canary is told of"
