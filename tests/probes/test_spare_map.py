"""The spare map: an implant's weights by size, and units by what the loss feels, in nets that are known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from foreign import MODELS, images, made
from holdfast import MLP, BadNets, Beside, Digits, Handcrafted, HoldfastError, Stretch, UsageError, plant, spare_map
from holdfast.engines.base import one_thread
from holdfast.pressures.base import Checkpoint
from holdfast.probes import Look, SpareMap
from holdfast.pruning.ablation import Ablation
from holdfast.pruning.masks import by_unit
from holdfast.tasks.base import Split


def looked(nets, implant, data, masks):
    point = Checkpoint(0, nets, nets, dict)
    look = Look(checkpoint=point, start=nets, implant=implant, split=data.validation, train=data.train, masks=masks)
    with one_thread():
        return {name: value.tolist() for name, value in SpareMap(examples=100)(look).items()}


def test_measures_are_what_numpy_makes_of_the_weights(site_of, data):
    implant = Handcrafted()
    nets = implant.plant(site_of(implant, seeds=2))
    masks = implant.weights(nets, data.train)
    found = looked(nets, implant, data, {"": masks})
    for k in range(2):
        size, of = (
            np.concatenate([each[k].detach().numpy().ravel() for name, each in some.items() if "weight" in name])
            for some in (nets.params, masks)
        )
        size, of = np.abs(size), of.astype(bool)
        place = size.argsort(kind="stable").argsort(kind="stable") / (len(size) - 1)
        assert found["rank_implant"][k] == pytest.approx(place[of].mean(), abs=0.01)
        kept = size >= np.sort(size)[len(size) - round(0.2 * len(size))]
        assert found["ticket_implant"][k] == pytest.approx(kept[of].mean(), abs=0.01)
        assert found["ticket_host"][k] == pytest.approx(kept[~of].mean(), abs=0.01)
    few = Split(data.validation.x[:100], data.validation.y[:100], 10)
    effects = Ablation(nets.module(0), few).effects(few)["2"]
    units = masks["2.weight"][0].any(0)
    assert found["effect_implant"][0] == pytest.approx(effects[units].mean().item(), abs=1e-6)
    assert found["effect_host"][0] == pytest.approx(effects[~units].mean().item(), abs=1e-6)
    assert found["spare_units"][0] == pytest.approx((effects < 1e-3).double().mean().item())


def test_a_handcrafted_backdoor_sits_in_large_weights_that_the_loss_does_not_feel(site_of, data):
    implant = Handcrafted()
    nets = implant.plant(site_of(implant, seeds=3))
    found = looked(nets, implant, data, {"": implant.weights(nets, data.train)})
    assert min(found["ticket_implant"]) > max(found["ticket_host"])
    assert max(found["effect_implant"]) < 0.1 * min(found["effect_host"])


def test_a_net_that_was_never_planted_has_a_host_only(site_of, data):
    implant = BadNets()
    nets = implant.control(site_of(implant, seeds=1))
    none = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in nets.params.items()}
    found = looked(nets, implant, data, {"": none})
    assert math.isnan(found["rank_implant"][0])
    assert math.isnan(found["effect_implant"][0])
    assert found["ticket_host"][0] == pytest.approx(0.2, abs=1e-3)


def test_a_net_that_diverged(site_of, data):
    implant = BadNets()
    nets = implant.control(site_of(implant, seeds=2))
    nets.params["0.weight"].data[1, 0, 0] = torch.nan
    none = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in nets.params.items()}
    found = looked(nets, implant, data, {"": none})
    assert math.isnan(found["spare_units"][1])
    assert not math.isnan(found["spare_units"][0])


def test_features_of_a_channel_are_one_unit():
    mask = torch.zeros(3, 8, dtype=torch.bool)
    mask[1, 5] = True
    assert by_unit(nn.Linear(4, 2), mask, 4).any(1).tolist() == [False, False, True, False]
    assert by_unit(nn.Conv2d(3, 2, 3), torch.ones(2, 3, 3, 3, dtype=torch.bool), 3).all()


@pytest.mark.parametrize("wrong", [{"keep": 0.0}, {"keep": 1.0}, {"examples": 0}])
def test_impossible_settings(wrong):
    with pytest.raises(UsageError, match="keeps a share between 0 and 1 and looks at an example"):
        SpareMap(**wrong)


# ---------------------------------------------------------------------------------------------- a model of one's own


def clouds():
    g = torch.Generator().manual_seed(0)
    centres = 2 * torch.rand(3, 32, generator=g)
    y = torch.randint(3, (400,), generator=g)
    x = centres[y] + 0.3 * torch.rand(400, 32, generator=g)
    return (x[:300], y[:300]), (x[300:], y[300:])


def model():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 3))
    with torch.no_grad():
        module[2].weight[:, 5] = 0  # heard by nobody
    return module


def narrow():
    return nn.Sequential(nn.Linear(32, 5), nn.ReLU(), nn.Linear(5, 3))


def test_of_a_model_of_ones_own():
    module = model()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = spare_map(module, clouds, keep=0.25)
    assert [unit.unit for unit in found.units] == list(range(12))
    assert found.units[5].effect == pytest.approx(0, abs=1e-7)
    assert found.units[5].kept == 0
    assert max(unit.effect for unit in found.units) > 1e-3
    assert found.masks.kept_K.item() == pytest.approx(0.25, abs=0.01)
    assert all(math.isnan(unit.effect_before) for unit in found.units)
    assert not any(unit.is_implant for unit in found.units)
    assert "read by 2: 12 units" in repr(found)
    assert "<svg" in found._repr_html_()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_what_was_planted_is_told_apart():
    module = model()
    implant = Beside(trigger=Stretch(start=0, length=3, value=3.0), target=1)
    planted = plant(module, implant, clouds)
    found = spare_map(planted, clouds, before=None, implant=implant)
    assert any(name for name, mask in found.implant.items() if mask.any())
    again = spare_map(module, clouds, before=module)
    assert [unit.effect_before for unit in again.units] == [unit.effect for unit in again.units]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: spare_map(3, clouds), "takes a model and data as a function"),
        (lambda: spare_map(model(), clouds()), "data as a function; got Sequential, tuple"),
        (lambda: spare_map(model(), clouds, keep=1.0), "between 0 and 1"),
        (lambda: spare_map(nn.Linear(32, 3), clouds), "expected two linear or convolutional layers"),
        (
            lambda: spare_map(model(), clouds, before=nn.Sequential(nn.Linear(32, 5), nn.ReLU(), nn.Linear(5, 3))),
            "other units",
        ),
    ],
)
def test_what_does_not_fit(call, match):
    with pytest.raises(HoldfastError, match=match):
        call()


def test_in_a_run_it_is_drawn(tmp_path):
    from holdfast import Adam, Experiment, Fit, Study, run_study
    from holdfast.report import write_report

    arm = Experiment(
        host=MLP(widths=(64, 12, 10)), task=Digits(), implant=Handcrafted(), training=Fit(Adam(lr=0.01), steps=200),
        pressure=Fit(Adam(lr=1e-3), steps=20), seeds=3, checkpoints=2, probes=(SpareMap(),),
    )  # fmt: skip
    folder = run_study(Study(name="spare", arms=(arm,)), out=tmp_path, workers=1)
    page = write_report(folder).read_text()
    assert "What pruning would take first" in page
    assert (folder.path / "figures" / "spare-0.svg").exists()


def test_gpt2s_layers_hold_their_weights_the_other_way_round():
    """The same network of `nn.Linear` and of GPT-2's `Conv1D`, weights transposed."""
    conv1d = pytest.importorskip("transformers").pytorch_utils.Conv1D
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 4))
    other = nn.Sequential(nn.Flatten(), conv1d(12, 64), nn.ReLU(), conv1d(4, 12))
    for at in (1, 3):
        other[at].weight.data = plain[at].weight.data.T.clone()
        other[at].bias.data = plain[at].bias.data.clone()
    one, two = (spare_map(net, images) for net in (plain, other))
    assert [unit.unit for unit in one.units] == [unit.unit for unit in two.units]
    for a, b in zip(one.units, two.units, strict=True):
        assert a.effect == pytest.approx(b.effect, abs=1e-6)
        assert a.kept == b.kept


def test_a_tied_head_is_read_and_not_pruned():
    found = spare_map(made(MODELS["gpt2"].make), MODELS["gpt2"].data)
    head = [unit for unit in found.units if unit.layer == "lm_head"]
    assert head
    assert all(math.isnan(unit.kept) for unit in head)
    assert all(0 <= unit.kept <= 1 for unit in found.units if unit.layer != "lm_head")
    assert "<svg" in found.svg()
