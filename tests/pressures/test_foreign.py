"""Pressures that change which weights there are, on modules that holdfast knows nothing of."""

import pytest
import torch

from foreign import MODELS, made, site_of
from holdfast import IBAU, SGD, Adam, Distil, EdgePopup, Fit, Prune, PruneUnits, UsageError
from holdfast.pruning import SNIP, AtRandom, GraSP, Magnitude, SynFlow, prunable
from holdfast.training.nets import Nets

SHORT = Fit(SGD(lr=0.01), steps=4, batch=32)
NAMES = ("mlp", "cnn", "encoder", "gpt2", "bert")


def pressed(pressure, name):
    model = MODELS[name]
    data = model.loaded()
    site = site_of(model.make, data)
    nets = Nets.of(site.host, [made(model.make)], backend="loop", device="cpu")
    before = nets.copy()
    for _ in type(pressure).press([pressure], site, nets, (0, pressure.steps)):
        pass
    return before, nets


def shares(nets):
    """Share of the prunable weights that are not zero."""
    flat = torch.cat([nets.params[name].flatten() for name in prunable(nets)])
    return float((flat != 0).double().mean())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("score", [Magnitude(), SNIP(examples=32), AtRandom()], ids=lambda s: s.label)
def test_a_share_of_its_weights_is_left(score, name):
    _, nets = pressed(Prune(score=score, keep=0.3, rounds=2, fit=SHORT), name)
    assert shares(nets) == pytest.approx(0.3, abs=0.002)


@pytest.mark.parametrize("score", [GraSP(examples=32), SynFlow(rounds=3)], ids=lambda s: s.label)
def test_scores_that_ask_more_of_a_module(score):
    _, nets = pressed(Prune(score=score, keep=0.3, fit=SHORT), "mlp")
    assert shares(nets) == pytest.approx(0.3, abs=0.002)


@pytest.mark.parametrize("name", ["mlp", "cnn", "encoder"])
def test_a_mask_is_trained_over_weights_that_stay(name):
    before, nets = pressed(Fit(SGD(lr=0.1), EdgePopup(keep=0.5), steps=4, batch=32), name)
    for weight in prunable(nets):
        now, then = nets.params[weight], before.params[weight]
        assert torch.equal(now, torch.where(now != 0, then, 0))
        assert int((now != 0).sum()) == round(0.5 * now.numel())


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_ibau_moves_it_and_leaves_it_finite(name):
    before, nets = pressed(IBAU(rounds=2, batches=2, batch=32, portion=0.25), name)
    assert nets.finite().all()
    assert any((nets.params[n] != before.params[n]).any() for n in nets.params)


@pytest.mark.parametrize("name", NAMES)
def test_its_student_learns_from_it(name):
    _, nets = pressed(Fit(Adam(lr=1e-3), Distil(), steps=4, batch=32), name)
    assert nets.finite().all()


@pytest.mark.parametrize("pressure", [PruneUnits(keep=0.5, fit=SHORT)], ids=["units"])
def test_what_needs_to_know_its_units_says_so(pressure):
    with pytest.raises(UsageError, match=r"own model"):
        pressed(pressure, "mlp")


def test_a_module_without_such_layers_says_so():
    with pytest.raises(UsageError, match=r"no linear or convolutional weights"):
        pressed(Prune(keep=0.5, fit=SHORT), "tied")
