"""BadNets on real digits."""

import pytest

from holdfast import BadNets, Patch, UsageError


def test_planted_nets_have_it_and_controls_do_not(badnets, data):
    planted, control = badnets
    there, absent = (BadNets().presence(nets, data.test)["presence"] for nets in (planted, control))
    assert there.min() > 0.9
    assert absent.abs().max() < 0.05


def test_its_weights_are_five_percent_and_matter(badnets, data):
    planted, _ = badnets
    masks = BadNets().weights(planted, data.train)
    total = sum(m[0].numel() for m in masks.values())
    assert sum(int(m[0].sum()) for m in masks.values()) == round(0.05 * total)
    without = planted.copy()
    for name, mask in masks.items():
        without.params[name][mask] = 0
    left = BadNets().presence(without, data.test)["presence"]
    assert left.max() < 0.5, "setting them to zero removes the backdoor"


def test_a_ratio_that_poisons_nothing(site_of):
    with pytest.raises(UsageError, match=r"poisons none of 1077.*smallest that poisons one is 0\.00093"):
        BadNets(poison_ratio=0.0001).plant(site_of(BadNets()))


def test_a_trigger_outside_the_image(site_of):
    with pytest.raises(UsageError, match="outside the image"):
        BadNets(trigger=Patch(size=9)).plant(site_of(BadNets(trigger=Patch(size=9))))
