"""Each probe against a computation that does not share its code."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from holdfast import BadNets, Handcrafted
from holdfast.pressures.base import Checkpoint
from holdfast.probes import Accuracy, Distance, Gradient, Look, Presence


@pytest.fixture
def look(badnets, data):
    """Step 50 of made-up training: every weight of net k has moved by 0.01 (k + 1)."""
    start = badnets[0]
    nets = start.copy()
    for row in nets.params.values():
        row += 0.01 * torch.arange(1, 5).view(-1, *[1] * (row.dim() - 1))
    x, y = data.train.x[:100], data.train.y[:100]

    def gradient():
        params = [dict(nets.module(k).named_parameters()) for k in range(4)]
        grads = []
        for k in range(4):
            module = nets.module(k)
            F.cross_entropy(module(x), y).backward()
            grads.append({name: p.grad for name, p in module.named_parameters()})
        return {name: torch.stack([g[name] for g in grads]) for name in params[0]}

    masks = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in nets.params.items()}
    for mask in masks.values():
        mask[:3].view(3, -1)[:, ::7] = True
    point = Checkpoint(step=50, nets=nets, previous=start, gradient=gradient)
    return Look(checkpoint=point, start=start, implant=BadNets(), split=data.test, train=data.train, masks={"": masks})


def test_accuracy_is_scikit_learns(look, data):
    from sklearn.metrics import accuracy_score

    for k, value in enumerate(Accuracy()(look)["accuracy"].tolist()):
        answers = look.nets.module(k)(data.test.x).argmax(1)
        assert value == pytest.approx(accuracy_score(data.test.y, answers))


def test_presence_is_the_implants_own(look, data):
    measures = Presence()(look)
    assert set(measures) == {"presence", "asr", "r_acc"}
    assert (measures["presence"] == BadNets().presence(look.nets, data.test)["presence"]).all()


def test_gradient_by_hand(look):
    measures = Gradient()(look)
    gradient = look.checkpoint.gradient()
    for k in range(3):
        on = torch.cat([gradient[n][k].flatten()[::7] for n in gradient]).double()
        every = torch.cat([gradient[n][k].flatten() for n in gradient]).double()
        assert float(measures["gradient_norm"][k]) == pytest.approx(float(on.norm()), rel=1e-5)
        assert float(measures["gradient_share"][k]) == pytest.approx(float((on**2).sum() / (every**2).sum()), rel=1e-5)
        assert float(measures["gradient_zero"][k]) == pytest.approx(float((on == 0).double().mean()))
        # All weights moved alike, so the implant's share of the update is its share of the weights.
        assert float(measures["update_share"][k]) == pytest.approx(float(measures["weight_share"][k]), rel=1e-4)
    assert float(measures["gradient_zero"][0]) > 0, "pixels that are always dark have no gradient"


def test_a_net_without_implant_weights_has_no_figures(look):
    assert all(math.isnan(value[3]) for value in Gradient()(look).values())
    assert math.isnan(Distance()(look)["implant_distance"][3])


def test_distance_by_hand(look):
    measures = Distance()(look)
    for k in range(3):
        start = torch.nn.utils.parameters_to_vector(look.start.module(k).parameters()).detach().double()
        assert float(measures["distance"][k]) == pytest.approx(
            0.01 * (k + 1) * math.sqrt(len(start)) / float(start.norm()), rel=1e-4
        )
    on = torch.cat([p[0].flatten()[::7] for p in look.start.params.values()]).double()
    assert float(measures["implant_distance"][0]) == pytest.approx(
        0.01 * math.sqrt(len(on)) / float(on.norm()), rel=1e-4
    )


def test_the_gradient_that_fine_tuning_has_on_a_handcrafted_path_is_zero(site_of, data):
    from holdfast import SGD, Fit

    implant = Handcrafted()
    site = site_of(implant)
    start = implant.plant(site)
    masks = implant.weights(start, data.train)
    for point in Fit.press([Fit(SGD(lr=0.1), steps=10)] * 4, site.at("pressure"), start.copy(), (0, 10)):
        measures = Gradient()(
            Look(checkpoint=point, start=start, implant=implant, split=data.test, train=data.train, masks={"": masks})
        )
        assert measures["gradient_zero"].tolist() == [1, 1, 1, 1]
        assert measures["gradient_share"].tolist() == [0, 0, 0, 0]


def test_a_gradient_that_is_not_known_is_said_to_be_none(look):
    """A user's training has none before its first step: that is not a gradient of zero."""
    unknown = lambda: {name: torch.full_like(p, torch.nan) for name, p in look.nets.params.items()}
    point = Checkpoint(0, look.nets, look.checkpoint.previous, unknown)
    measures = Gradient()(dataclasses.replace(look, checkpoint=point))
    for name in ("gradient_norm", "gradient_share", "gradient_zero"):
        assert measures[name].isnan().all(), name
    assert measures["update_share"][:3].isfinite().all(), "the fourth has no implant"
