import math

import pytest

from holdfast.stats.attacker import strongest
from holdfast.stats.outcome import Outcome

BUDGET = 100


def nets(held=0, removed=0, wrecked=0, diverged=0, at=50, lost=0.01):
    made = [Outcome(kind="held", event=None, end=BUDGET, returned=False)] * held
    made += [Outcome(kind="removed", event=at, end=at, returned=False)] * removed
    made += [Outcome(kind="wrecked", event=None, end=at, returned=False)] * wrecked
    pairs = [(o, lost) for o in made]
    return pairs + [(Outcome(kind="diverged", event=None, end=0, returned=False), math.nan)] * diverged


def test_smallest_held_share_of_the_usable():
    got = strongest(
        {
            "weak": nets(held=8),
            "strong": nets(held=2, removed=6),
            "stronger but wrecks": nets(removed=6, wrecked=1, diverged=1),
            "one may wreck": nets(held=3, removed=4, diverged=1),
        },
        BUDGET,
    )
    assert got.setting == "strong"
    assert got.held_share == 0.25
    assert got.restricted_mean == 0.25 * 100 + 0.75 * 50
    assert got.usable == ("weak", "strong", "one may wreck")
    assert got.refused == (("stronger but wrecks", 2),)


def test_ties_by_survival_then_loss_then_order():
    slow, fast = nets(removed=8, at=80), nets(removed=8, at=20)
    assert strongest({"slow": slow, "fast": fast}, BUDGET).setting == "fast"
    dear, cheap = nets(removed=8, lost=0.03), nets(removed=8, lost=0.02)
    assert strongest({"dear": dear, "cheap": cheap}, BUDGET).setting == "cheap"
    assert strongest({"first": cheap, "second": cheap}, BUDGET).setting == "first"
    assert strongest({"second": cheap, "first": cheap}, BUDGET).setting == "second"


def test_one_in_eight_is_of_all_its_seeds():
    assert strongest({"a": nets(held=14, wrecked=2)}, BUDGET).setting == "a"
    assert strongest({"a": nets(held=13, wrecked=2)}, BUDGET) is None


def test_order_of_seeds_does_not_matter():
    mixed = nets(held=3, removed=5, lost=0.1) + nets(held=1, removed=2, at=30, lost=0.033)
    assert strongest({"a": mixed}, BUDGET) == strongest({"a": mixed[::-1]}, BUDGET)


def test_no_usable_attacker():
    assert strongest({"a": nets(wrecked=8), "b": nets(held=6, diverged=2)}, BUDGET) is None


@pytest.mark.parametrize(
    ("tuning", "says"),
    [
        ({}, "at least one setting"),
        ({"a": nets(held=7)}, "7 tuning seeds"),
        ({"a": nets(held=8, lost=math.nan)}, "not finite"),
    ],
)
def test_refuses(tuning, says):
    with pytest.raises(ValueError, match=says):
        strongest(tuning, BUDGET)
