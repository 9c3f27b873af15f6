"""How often training met the trigger, against a recount from what the nets were shown."""

import math

import pytest
import torch

from holdfast import SGD, BadNets, Fit, Patch, Poison, TriggerRate, Unlearn
from holdfast.probes import Look
from holdfast.training.draws import Draws
from holdfast.training.nets import Nets
from holdfast.training.slot import Slot

TRIGGER = Patch(size=2, value=7.0)
"""Brighter than any pixel, so that whoever looks at a batch sees it."""


@pytest.fixture
def site(site_of):
    return site_of(BadNets(trigger=TRIGGER)).at("pressure")


def rates(each, site, looks):
    """What the probe says at each look."""
    nets, found = Nets.initialised(site.host, site.streams), []
    for point in Fit.press(each, site, nets, looks):
        look = Look(
            checkpoint=point, start=nets, implant=site.implant, split=site.data.test, train=site.data.train, masks={}
        )
        found.append(TriggerRate()(look))
    return found


def seen(fit, site, start, stop):
    """(share of batches, share of examples) with the trigger, by looking at the pictures."""
    draws = Draws(site, [fit.mixes] * len(site.streams), fit.batch)
    lit_SKB = torch.stack([(draws.at(step)[0][..., -2:, -2:] == 7).flatten(2).all(2) for step in range(start, stop)])
    return lit_SKB.any(2).double().mean(0), lit_SKB.double().mean((0, 2))


@pytest.mark.parametrize("batch", [1, 16, 64])
@pytest.mark.parametrize("term", [Unlearn(rate=0.02), Unlearn(rate=0.5), Poison(rate=0.1)], ids=repr)
def test_it_counts_what_was_shown(term, batch, site):
    fit = Fit(SGD(lr=0.01), term, steps=60, batch=batch)
    looks = (0, 1, 18, 60)  # within an epoch, across its end, over several
    found = rates([fit] * 4, site, looks)
    assert all(value.isnan().all() for value in found[0].values()), "nothing was shown before step 0"
    for start, stop, measures in zip(looks, looks[1:], found[1:], strict=False):
        batches, examples = seen(fit, site, start, stop)
        torch.testing.assert_close(measures["trigger_batches"], batches)
        torch.testing.assert_close(measures["trigger_examples"], examples)


@pytest.mark.parametrize(("rate", "batch"), [(0.01, 64), (0.1, 8), (0.002, 32)])
def test_on_average_a_batch_is_met_as_independent_draws_are(rate, batch, site):
    steps = 400
    fit = Fit(SGD(lr=0.001), Unlearn(rate=rate), steps=steps, batch=batch)
    (measures,) = rates([fit] * 4, site, (steps,))
    for name, p, trials in (
        ("trigger_batches", 1 - (1 - rate) ** batch, 4 * steps),
        ("trigger_examples", rate, 4 * steps * batch),
    ):
        assert float(measures[name].mean()) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / trials)), name


def test_each_net_has_its_own_rate_and_none_is_nought(site):
    each = [Fit(SGD(lr=0.01), *terms, steps=20) for terms in ((), (Unlearn(rate=0),), (Unlearn(rate=1),), ())]
    (measures,) = rates(each, site, (20,))
    assert measures["trigger_batches"].tolist() == [0, 0, 1, 0]
    assert measures["trigger_examples"].tolist() == [0, 0, 1, 0]
    (without,) = rates([each[0]] * 4, site, (20,))
    assert without["trigger_batches"].tolist() == [0, 0, 0, 0]


def test_a_resumed_training_counts_as_an_uninterrupted_one(site, site_of, tmp_path):
    fit, looks = Fit(SGD(lr=0.01), Unlearn(rate=0.02), steps=30), (0, 10, 20, 30)
    whole = rates([fit] * 4, site, looks)
    again = site_of(BadNets(trigger=TRIGGER), slot=Slot(tmp_path / "state")).at("pressure")
    points = Fit.press([fit] * 4, again, Nets.initialised(again.host, again.streams), looks)
    for _ in range(3):  # the state at step 10 is saved when the look at 20 is asked for
        next(points)
    rest = rates([fit] * 4, again, looks)
    assert len(rest) == 2
    for left, right in zip(whole[2:], rest, strict=True):
        assert all(torch.equal(left[name], right[name]) for name in left)


def test_of_a_users_training_it_is_not_known(badnets, data):
    found = TriggerRate()(Look.at_start(badnets[0], BadNets(), data.test))
    assert set(found) == {"trigger_batches", "trigger_examples"}
    assert all(value.isnan().all() and value.shape == (4,) for value in found.values())
