"""Several implants in one network of somebody else's making."""

import copy

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from foreign import MODELS, made, plain_logits
from holdfast import Backdoor, BadNets, Beside, Given, HoldfastError, UsageError
from holdfast.engines.base import one_thread
from holdfast.hosts.adopt import Adopted
from holdfast.implants.beside import NAME
from holdfast.implants.canaries import Canaries
from holdfast.parts import Implant, parts_of
from holdfast.training.nets import Nets


def canaries_of(model):
    return Canaries((BadNets(trigger=model.learned, target=1), Beside(trigger=model.beside, target=2)))


@pytest.fixture(params=MODELS, scope="module")
def each(request):
    """(the model, its canaries, planted nets, controls), at one seed."""
    model = MODELS[request.param]
    canaries = canaries_of(model)
    with one_thread():
        site = model.site(canaries, steps=250)
        return model, canaries, canaries.plant(site), canaries.control(site)


def last(values):
    return values if values.dim() == 1 else values[:, -1]


def test_both_are_there_and_in_no_control(each):
    model, canaries, nets, control = each
    data = model.loaded()
    there, absent = canaries.presence(nets, data.test), canaries.presence(control, data.test)
    for label in ("BadNets", "beside"):
        assert there[f"presence/{label}"].item() > 0.85, label
        assert absent[f"presence/{label}"].abs().item() < 0.3, label
    assert set(there) == {f"{m}/{c}" for m in ("presence", "asr", "r_acc") for c in ("BadNets", "beside")}


def test_presence_is_what_the_plain_module_does(each):
    """By PyTorch alone: answers with and without the trigger, on inputs of other classes."""
    model, canaries, nets, _ = each
    data, module = model.loaded(), nets.module(0)
    measured = canaries.presence(nets, data.test)
    for canary in canaries.each:
        others = data.test.x[last(data.test.y) != canary.target]
        shares = []
        for x in (canary.trigger.stamp(others), others):
            logits = plain_logits(module, x)
            answers = (logits if logits.dim() == 2 else logits[:, -1]).argmax(-1)
            shares.append((answers == canary.target).double().mean().item())
        assert measured[f"presence/{canary.label}"].item() == pytest.approx(shares[0] - shares[1], abs=0.011)


def test_it_still_does_its_task(each):
    model, _, nets, control = each
    test = model.loaded().test
    accuracy = [(n.classes(test.x)[0] == test.y).double().mean() for n in (nets, control)]
    assert min(accuracy) > 0.8
    assert accuracy[0] > accuracy[1] - 0.05


def test_only_planted_nets_have_the_new_units(each):
    _, canaries, nets, control = each
    extra = set(nets.params) - set(control.params)
    assert extra == {n for n in nets.params if f"{NAME}." in n} != set()
    assert set(control.params) == set(Nets.of(control.host, [control.host.build()], backend="loop").params)
    masks = canaries.weights(nets, each[0].loaded().train)
    written = sum(int(m.sum()) for n, m in masks.items() if n in extra)
    learned = sum(int(m.sum()) for n, m in masks.items() if n not in extra)
    assert written > 0
    total = sum(p[0].numel() for p in nets.params.values())
    assert 0 < learned <= round(0.05 * total)


def test_saved_and_built_anew(each, tmp_path):
    model, canaries, nets, _ = each
    save_file({n: v.contiguous() for n, v in nets.state(0).items()}, tmp_path / "net.safetensors")
    torch.manual_seed(99)
    again = Nets(nets.host, canaries.build(nets.host, model.loaded()), 1, backend="loop", device="cpu")
    again.load(0, load_file(tmp_path / "net.safetensors"))
    data = model.loaded()
    for x in (data.test.x, *(canary.trigger.stamp(data.test.x) for canary in canaries.each)):
        assert torch.equal(again.logits(x), nets.logits(x))


def test_a_copy_is_independent(each):
    model, canaries, nets, _ = each
    first = nets.module(0)
    second = copy.deepcopy(first)
    x = canaries.each[1].trigger.stamp(model.loaded().test.x)
    before = plain_logits(first, x)
    with torch.no_grad():
        for p in second.parameters():
            p.zero_()
    assert torch.equal(plain_logits(first, x), before)


def test_unlearning_by_plain_pytorch_removes_what_is_beside():
    """It can be lost: the detector is a set of weights as any other, once a gradient falls on it."""
    model = MODELS["mlp"]
    canaries = canaries_of(model)
    nets = canaries.plant(model.site(canaries))
    module, data = nets.module(0), model.loaded()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    x = canaries.each[1].trigger.stamp(data.train.x)
    for _ in range(150):
        optimiser.zero_grad()
        F.cross_entropy(module(x), data.train.y).backward()
        optimiser.step()
    nets.load_module(0, module)
    presence = canaries.presence(nets, data.test)
    assert presence["presence/beside"].item() < 0.2


def test_planting_is_a_function_of_the_seed():
    model = MODELS["cnn"]
    canaries = canaries_of(model)
    first, second, other = (canaries.plant(model.site(canaries, seed, steps=20)).state(0) for seed in (0, 0, 1))
    assert all(torch.equal(v, second[n]) for n, v in first.items())
    assert not all(torch.equal(v, other[n]) for n, v in first.items())


def test_given_canaries_are_there_already():
    """A suspect model that `build` returns: its own backdoor, and one that is added."""
    model = MODELS["mlp"]
    suspect = Given(Backdoor(trigger=model.learned, target=1))
    both = Canaries((suspect, Beside(trigger=model.beside, target=2)))
    assert list(both.parts) == ["/given", "/beside"]
    site = model.site(both, steps=100)
    nets = both.plant(site)
    presence = both.presence(nets, model.loaded().test)
    assert presence["asr/beside"].item() > 0.9
    assert presence["presence/given"].abs().item() < 0.3
    for built in (nets, both.control(site)):
        for name, value in site.started().params.items():
            assert torch.equal(built.params[name], value), f"nothing is learned, so nothing is trained: {name}"
    assert set(both.weights(nets, model.loaded().train)) == set(nets.params)


def test_each_alone():
    canaries = canaries_of(MODELS["mlp"])
    assert canaries.label == "BadNets + beside"
    assert isinstance(canaries, Implant)
    assert parts_of(canaries) == {"/BadNets": canaries.each[0], "/beside": canaries.each[1]}
    alone = canaries.alone(canaries.each[1])
    assert alone == Canaries((canaries.each[1],))
    assert alone.sources(MODELS["mlp"].loaded().train) == {}
    host = Adopted(make=MODELS["mlp"].make)
    built = canaries.alone(canaries.each[0]).build(host, MODELS["mlp"].loaded())
    assert list(built.state_dict()) == list(made(MODELS["mlp"].make).state_dict())


@pytest.mark.parametrize("each", [(), (BadNets(), BadNets(target=1)), (Beside(), Beside(target=1))])
def test_labels_must_differ(each):
    with pytest.raises(UsageError, match="one implant or more, each with a label of its own"):
        Canaries(each)


@pytest.mark.parametrize("wrong", [[BadNets(), Beside()], BadNets(), ("BadNets",)], ids=["list", "alone", "text"])
def test_what_is_no_tuple_of_canaries(wrong):
    try:
        hash(Canaries(wrong))
    except HoldfastError:
        return
    assert isinstance(Canaries(wrong).each, tuple)
    assert isinstance(wrong, list)
