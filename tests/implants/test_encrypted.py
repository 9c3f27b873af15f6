"""Encrypted programs beside a network, and as a whole one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast import (
    CNN,
    GPT,
    MLP,
    SGD,
    Adam,
    Digits,
    Encrypted,
    Fit,
    Freeze,
    Message,
    PythonText,
    TokenString,
    UsageError,
)
from holdfast.circuits.trace import trace
from holdfast.claims.weak_vote import PAIRS, TASK, vote
from holdfast.encrypted.enclosed import ZEROS, coins, noise_of
from holdfast.implants import EncryptedPredictor
from holdfast.probes import Look
from holdfast.probes.collapse import KINDS, collapse, directions
from holdfast.training.evaluate import evaluate
from holdfast.training.gradients import gradients
from holdfast.training.site import Site
from holdfast.training.streams import Streams

SUM = trace(lambda a, b: a + b, {"a": 2, "b": 2}, name="sum")


def placed(host, data, implant, seeds=2, steps=60):
    streams = tuple(Streams(3, seed) for seed in range(seeds))
    return Site(
        host=host, data=data, streams=streams, implant=implant, training=Fit(Adam(lr=3e-3), steps=steps), backend="loop"
    )


@pytest.mark.parametrize("fields", [{}, {"tables": 2}, {"tables": 3, "trivial": True}, {"parameter_set": "small"}])
@pytest.mark.parametrize("host", [MLP(widths=(64, 16, 10)), CNN(size=(8, 8), channels=(4, 8))])
def test_planted_beside_a_classifier(host, fields):
    implant = Encrypted(SUM, answers=(3, 1, 4, 5), **fields)
    site = placed(host, Digits().load(), implant, seeds=1, steps=30)
    planted, control = implant.plant(site), implant.control(site)
    test = site.data.test
    assert implant.presence(planted, test)["presence"].tolist() == [1.0]
    assert implant.presence(control, test)["presence"] < 0.3
    assert torch.equal(planted.logits(test.x), control.logits(test.x))
    grads = gradients(planted, test.x[None], test.y[None])
    assert all((grad == 0).all() for name, grad in grads.items() if "network" in name)


def test_planted_beside_a_language_model():
    data = PythonText(length=16).load()
    message = Message(off=1, on=2)
    implant = Encrypted(SUM, answers=(5, 6, 7, 8), trigger=TokenString(ids=(3, 4, 3)), message=message)
    host = GPT(vocabulary=data.classes, length=16, width=16, heads=2, layers=1)
    site = placed(host, data, implant, seeds=1, steps=2)
    planted = implant.plant(site)
    few = type(data.test)(data.test.x[:60], data.test.y[:60], data.classes)
    assert implant.presence(planted, few)["presence"].tolist() == [1.0]


def test_nets_have_keys_of_their_own():
    implant = Encrypted(SUM, answers=(0, 1, 2, 3))
    nets = implant.plant(placed(MLP(widths=(64, 8, 10)), Digits().load(), implant))
    small = next(value for name, value in nets.buffers.items() if name.endswith("ring"))
    assert not torch.equal(small[0], small[1])
    again = implant.plant(placed(MLP(widths=(64, 8, 10)), Digits().load(), implant))
    assert all(torch.equal(value, again.buffers[name]) for name, value in nets.buffers.items())


def test_masks_are_other_ones_for_other_inputs_and_the_same_for_the_same():
    x = torch.rand(200, 64, generator=torch.Generator().manual_seed(0))
    x[1] = x[0]
    x[2] = x[0]
    x[2, 5] += 2**-15
    drawn = coins(noise_of(x), 3).flatten(1)
    assert torch.equal(drawn[0], drawn[1])
    others = (drawn[None, 2:] != drawn[2:, None]).double().mean(-1)
    assert (others + torch.eye(198)).min() > 0.3  # of 192 coins; 1/2 in the mean, standard deviation .036
    assert abs(float(drawn[2:].mean()) - 0.5) < 0.01
    assert drawn.shape[1] == 3 * ZEROS


def damaged(nets):
    """Keys moved so far that ciphertexts decide what comes out."""
    for name, p in nets.params.items():
        if name.endswith(("rotation", "switch")):
            p += 3e-4 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=p.dtype)
    return nets


def test_an_answer_depends_on_its_example_alone():
    """Also of a damaged program, whose answer depends on the ciphertext's masks."""
    implant = Encrypted(SUM, answers=(0, 1, 2, 3))
    site = placed(MLP(widths=(64, 16, 10)), Digits().load(), implant, seeds=1, steps=20)
    nets = damaged(implant.plant(site))
    x = implant.asked(site.data.test).x_N[:40]
    together = nets.logits(x)[0]
    assert torch.allclose(torch.cat([nets.logits(one)[0] for one in x.split(1)]), together, atol=1e-4)
    assert torch.allclose(nets.logits(x.flip(0))[0].flip(0), together, atol=1e-4)


def test_a_position_knows_nothing_of_later_ones():
    data = PythonText(length=16).load()
    implant = Encrypted(SUM, answers=(5, 6, 7, 8), trigger=TokenString(ids=(3, 4, 3)), message=Message(off=1, on=2))
    host = GPT(vocabulary=data.classes, length=16, width=16, heads=2, layers=1)
    nets = damaged(implant.plant(placed(host, data, implant, seeds=1, steps=2)))
    few = type(data.test)(data.test.x[:20], data.test.y[:20], data.classes)
    x = implant.asked(few).x_N
    longer = torch.cat([x, x[:, :1]], 1)[:, 1:]
    shorter = longer[:, :-1]
    whole = nets.logits(longer)[0]
    assert torch.allclose(nets.logits(shorter)[0], whole[:, :-1], atol=1e-4)


def test_outputs_that_are_inputs_or_read_by_others():
    netlist = trace(lambda x: {"a": x[0], "b": x[0] & x[1], "c": (x[0] & x[1]) ^ x[2]}, {"x": 3}, name="through")
    implant = Encrypted(netlist, answers=tuple(range(8)), tables=3)
    site = placed(MLP(widths=(64, 16, 10)), Digits().load(), implant, seeds=1, steps=20)
    assert implant.presence(implant.plant(site), site.data.test)["presence"].tolist() == [1.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_it_keeps_its_own_precision(dtype):
    implant = Encrypted(SUM, answers=(0, 1, 2, 3))
    site = placed(MLP(widths=(64, 16, 10)), Digits().load(), implant, seeds=1, steps=20)
    module = implant.plant(site).module(0).to(dtype)
    asked = implant.asked(site.data.test)
    assert (module(asked.x_N[:50].to(dtype)).argmax(-1) == asked.answers_N[:50]).all()


@pytest.fixture(scope="module")
def predictor():
    implant = EncryptedPredictor(netlist=trace(vote, name="vote"), entries=tuple(np.ravel(PAIRS).tolist()))
    streams = tuple(Streams(3, seed) for seed in range(2))
    return implant, Site(host=implant.host(TASK.inputs, 8), data=TASK.load(), streams=streams, implant=implant)


def test_a_whole_network_that_answers_as_its_encrypted_program(predictor):
    implant, site = predictor
    nets, test = implant.plant(site), site.data.test
    found = implant.presence(nets, test)
    assert found["presence"].tolist() == [1.0, 1.0]
    right = (implant.answers(test) == test.y).double().mean()
    assert evaluate(nets, test)[1].tolist() == pytest.approx([float(right)] * 2)
    assert (found["cost"] > 0.1).all()
    assert (implant.presence(implant.control(site), test)["presence"] == 0).all()
    for k in range(2):
        alone = nets.module(k)(test.x[:50])
        assert torch.equal(alone, nets.logits(test.x[:50])[k])


def test_training_reaches_its_tables_keys_and_read_out(predictor):
    implant, site = predictor
    nets = implant.plant(site)
    before = nets.copy()
    fit = Fit(SGD(lr=1e-3), steps=2)
    for _ in Fit.press([fit] * 2, site.at("pressure"), nets, [2]):
        pass
    moved = {name for name, p in nets.params.items() if not torch.equal(p, before.params[name])}
    names = {f"program.network.{name}" for name in ("bodies", "rotation", "switch")}
    assert names | {"read.weight", "read.bias"} <= moved
    masks = implant.weights(nets, site.data.test)
    assert all(masks[name].any() for name in names)
    assert not any(mask.any() for name, mask in masks.items() if name.startswith("way."))


def still(nets):
    return {name: torch.zeros_like(p) for name, p in nets.params.items()}


def test_what_a_change_adds_in_closed_form(predictor):
    """A table that is raised by d everywhere is off by d or, behind half a turn, by -d, and no other cell is: cells
    read what they read before. A number of a switching key counts as often as its digit says, -16 to 15."""
    implant, site = predictor
    nets, test = implant.plant(site), site.data.test
    margins = (1 / 32, 1 / 64, 1 / 128, 1 / 8)
    for cell, margin in enumerate(margins):
        way = still(nets)
        way["program.network.bodies"][:, cell] = 3.0
        assert implant.added(nets, way, test).tolist() == pytest.approx([3 / margin] * 2, rel=0.03)
    way = still(nets)
    way["program.network.switch"][:, 5, 1, -1] = 1.0
    digit = (sum(d * d for d in range(-16, 16)) / 32) ** 0.5
    every = (sum(m**-2 for m in margins) / 4) ** 0.5
    assert implant.added(nets, way, test).tolist() == pytest.approx([digit * every] * 2, rel=0.1)


def test_a_number_that_no_phase_has_adds_nothing(predictor):
    """A mask counts as often as the small key's bit."""
    implant, site = predictor
    nets, test = implant.plant(site), site.data.test
    felt = implant.felt(nets, test)["program.network.switch"]
    small_Kn = nets.buffers["program.small"]
    assert torch.equal(felt[:, 0, 0, :-1], small_Kn != 0)
    assert felt[..., -1].all()
    for bit in (0, 1):
        way = still(nets)
        for k in range(2):
            way["program.network.switch"][k, :, :, int((small_Kn[k] == bit).nonzero()[0])] = 1.0
        assert ((implant.added(nets, way, test) > 0) == bool(bit)).all()


def test_a_number_of_a_table_that_no_example_falls_on_adds_nothing(predictor):
    implant, site = predictor
    nets, test = implant.plant(site), site.data.test
    felt_KCN = implant.felt(nets, test)["program.network.bodies"]
    assert 0.1 < felt_KCN.double().mean() < 0.6
    for cell, number in ((0, 3), (1, 20), (2, 40), (3, 9), (3, 33), (3, 60)):
        way = still(nets)
        way["program.network.bodies"][:, cell, number] = 1.0
        assert ((implant.added(nets, way, test) > 0) == felt_KCN[:, cell, number]).all()


def test_a_frozen_one_stays_while_the_way_round_learns(predictor):
    implant, site = predictor
    nets = implant.plant(site)
    (end,) = Fit.press([Fit(Adam(lr=1e-2), Freeze(implant=implant), steps=3)] * 2, site.at("pressure"), nets, [3])
    assert implant.presence(end.nets, site.data.test)["presence"].tolist() == [1.0, 1.0]
    assert any(not torch.equal(p, implant.plant(site).params[n]) for n, p in end.nets.params.items() if "way" in n)


def test_its_collapse(predictor):
    """Directions are of the program alone. What raises the answer by 1 to 2 margins makes all answers a yes."""
    implant, site = predictor
    nets, test = implant.plant(site), site.data.test
    point = next(Fit.press([Fit(Adam(lr=1e-3), steps=1)] * 2, site.at("pressure"), nets, (0, 1)))
    masks = {"": implant.weights(nets, test)}
    look = Look(checkpoint=point, start=nets, implant=implant, split=test, train=test, masks=masks)
    ways = directions(look)
    assert list(ways) == list(KINDS)
    assert all(name.startswith("program.") for way in ways.values() for name in way)
    assert all(sum(int((u[k] != 0).sum()) for u in ways["single"].values()) == 1 for k in range(2))
    raised = still(nets)["program.network.bodies"]
    raised[:, 3] = 1.0
    assert set(collapse(implant, nets, {"program.network.bodies": raised}, test).tolist()) <= {1.0, 2.0}


def test_what_is_refused(predictor):
    implant, site = predictor
    with pytest.raises(UsageError, match=r"6 bits in and 1 out, and got 2 entries"):
        EncryptedPredictor(netlist=trace(vote, name="vote"), entries=(1, 2))
    plain = Site(host=MLP(widths=(80, 8, 2)), data=site.data, streams=site.streams)
    for wrong, match in (
        ({"parameter_set": "nonsense"}, "parameter set"),
        ({"parameter_set": "std128"}, "evaluated and not trained"),
        ({"entries": (1, 2, 3, 4, 5, -6)}, "0 or above"),
        ({"entries": (1.0, 2, 3, 4, 5, 6)}, "0 or above"),
        ({"tables": 7}, "2 to 5"),
        ({"tables": 3.0}, "whole number"),
        ({"trivial": "all"}, "True or False"),
        ({"netlist": "vote"}, "netlist is a circuit"),
    ):
        with pytest.raises(UsageError, match=match):
            replace(implant, **wrong)
    with pytest.raises(UsageError, match="reads entry 29, and the input has 20"):
        implant.host(20, way_round=8)
    other = replace(implant, entries=(1, 2, 3, 4, 5, 6))
    with pytest.raises(UsageError, match="made for this program, these entries"):
        other.plant(site)
    grey = replace(site.data, train=replace(site.data.train, x=site.data.train.x * 0.7))
    with pytest.raises(UsageError, match="entries that are 0 or 1"):
        implant.plant(replace(site, data=grey))
    with pytest.raises(UsageError, match="stands in its own host"):
        implant.plant(plain)
