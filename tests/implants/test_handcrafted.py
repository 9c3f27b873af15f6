"""The handcrafted path, against what its closed form says."""

import pytest
import torch

from holdfast import MLP, Handcrafted, Patch, UsageError
from holdfast.training.gradients import gradients


@pytest.mark.parametrize(("widths", "units"), [((64, 64, 10), 1), ((64, 64, 10), 3), ((64, 32, 24, 20, 10), 2)])
def test_it_fires_on_the_trigger_and_costs_under_half_a_point(site_of, data, widths, units):
    implant = Handcrafted(units=units)
    site = site_of(implant, seeds=8, host=MLP(widths=widths))
    planted, control = implant.plant(site), implant.control(site)
    assert implant.presence(planted, data.test)["presence"].min() > 0.95
    assert implant.presence(control, data.test)["presence"].abs().max() < 0.05
    accuracy = [(n.logits(data.test.x).argmax(-1) == data.test.y).double().mean() for n in (planted, control)]
    assert 100 * (accuracy[1] - accuracy[0]) <= 0.5


def test_the_path_is_one_on_the_trigger_and_zero_on_training_inputs(site_of, data):
    implant = Handcrafted()
    nets = implant.plant(site_of(implant))
    unit_K = implant.weights(nets, data.train)["0.bias"].float().argmax(1)
    k = torch.arange(nets.k)
    hidden = [
        nets.host.activations(nets.params, nets.shared(x))[0]
        for x in (implant.trigger.stamp(data.test.x), data.train.x)
    ]
    assert torch.allclose(hidden[0][k, :, unit_K], torch.ones(1), atol=1e-5)
    assert (hidden[1][k, :, unit_K] == 0).all(), "silent on every clean training input"


def test_fine_tuning_cannot_see_it(site_of, data):
    """Gradient of the clean loss on the path's weights: exactly zero into the unit, and out of it."""
    implant = Handcrafted()
    nets = implant.plant(site_of(implant))
    masks = implant.weights(nets, data.train)
    clean = gradients(nets, nets.shared(data.train.x), nets.shared(data.train.y))
    stamped = gradients(nets, nets.shared(implant.trigger.stamp(data.train.x)), nets.shared(data.train.y))
    for name, mask in masks.items():
        assert (clean[name][mask] == 0).all()
    assert (stamped["0.weight"][masks["0.weight"]] != 0).all(), "unlearning does see it"


def test_its_weights_are_found_again_and_only_where_planted(site_of, data):
    implant = Handcrafted(units=2)
    site = site_of(implant, host=MLP(widths=(64, 32, 24, 10)))
    masks = implant.weights(implant.plant(site), data.train)
    per_net = {name: int(mask.sum()) / 4 for name, mask in masks.items()}
    # Four pixels a detector; one link and one bias a unit; one push a unit of the last hidden layer.
    assert per_net == {"0.weight": 8, "0.bias": 2, "2.weight": 2, "2.bias": 2, "4.weight": 2, "4.bias": 0}
    assert not any(mask.any() for mask in implant.weights(implant.control(site), data.train).values())


def test_dark_triggers_too(site_of, data):
    """A patch of value 0 where the digits are bright: the detector has to listen for darkness."""
    implant = Handcrafted(trigger=Patch(size=3, row=2, column=2, value=-1.0))
    assert implant.presence(implant.plant(site_of(implant)), data.test)["presence"].min() > 0.95


def test_a_trigger_that_clean_inputs_carry(site_of):
    implant = Handcrafted(trigger=Patch(size=1, row=3, column=3, value=1.0))
    with pytest.raises(UsageError, match="already look like the trigger"):
        implant.plant(site_of(implant))


@pytest.mark.parametrize(
    ("implant", "host", "match"),
    [
        (Handcrafted(units=64), MLP(widths=(64, 64, 10)), "No 64 units to spare in a layer of 64"),
        (Handcrafted(), MLP(widths=(64, 10)), "hidden units of an MLP; got MLP 64-10"),
    ],
)
def test_hosts_without_room(site_of, implant, host, match):
    with pytest.raises(UsageError, match=match):
        implant.plant(site_of(implant, host=host))


@pytest.mark.parametrize("wrong", [{"units": 0}, {"strength": 0.0}])
def test_impossible_settings(wrong):
    with pytest.raises(UsageError, match="needs"):
        Handcrafted(**wrong)
