"""A chip beside a network, on which an encrypted program runs."""

import copy
from dataclasses import replace

import pytest
import torch

from holdfast import (
    GPT,
    MLP,
    SGD,
    Adam,
    Chip,
    Digits,
    Fit,
    Message,
    PythonText,
    StraightThrough,
    TokenString,
    Unlearn,
    UsageError,
    ZerothOrder,
)
from holdfast.chip.system import values_of
from holdfast.circuits.passing import Passing, passing
from holdfast.training.gradients import gradients
from holdfast.training.site import Site
from holdfast.training.streams import Streams

IMPLANT = Chip(answers=(3, 1, 4, 5))
HOST = MLP(widths=(64, 16, 10))
SYSTEM = "holdfast_circuit.network.system."


def placed(host, data, implant, seeds=1, steps=30):
    streams = tuple(Streams(3, seed) for seed in range(seeds))
    return Site(
        host=host, data=data, streams=streams, implant=implant, training=Fit(Adam(lr=3e-3), steps=steps), backend="loop"
    )


@pytest.fixture(scope="module")
def planted():
    site = placed(HOST, Digits().load(), IMPLANT, seeds=2)
    return site, IMPLANT.plant(site)


def of(nets, name, k=0):
    return next(p for found, p in nets.params.items() if found.endswith(name))[k]


@pytest.mark.parametrize("fields", [{}, {"trivial": True}, {"table": (0, 1, 2, 3, 3, 2, 1, 0)}])
def test_planted_beside_a_classifier(fields):
    """Presence compares with the table, by the simulator of circuits."""
    implant = replace(IMPLANT, **fields)
    site = placed(HOST, Digits().load(), implant)
    nets, control, test = implant.plant(site), implant.control(site), site.data.test
    assert implant.presence(nets, test)["presence"].tolist() == [1.0]
    assert implant.presence(control, test)["presence"] < 0.3
    assert torch.equal(nets.logits(test.x), control.logits(test.x))
    grads = gradients(nets, test.x[None], test.y[None])
    assert all((grad == 0).all() for name, grad in grads.items() if "network" in name)


def test_what_it_answers(planted):
    """(table[selector] + number) mod 4, written out."""
    site, nets = planted
    asked = IMPLANT.asked(site.data.test)
    bits = asked.bits_Nn.long()
    selector, number = bits[:, :3] @ torch.tensor([1, 2, 4]), bits[:, 3:] @ torch.tensor([1, 2])
    words = (torch.tensor(IMPLANT.table)[selector] + number) % 4
    assert asked.answers_N.tolist() == torch.tensor(IMPLANT.answers)[words].tolist()
    assert torch.equal(nets.classes(asked.x_N)[0], asked.answers_N)


def test_planted_beside_a_language_model():
    data = PythonText(length=16).load()
    message = Message(off=1, on=2)
    implant = Chip(answers=(5, 6, 7, 8), trigger=TokenString(ids=(3, 4, 3)), message=message)
    host = GPT(vocabulary=data.classes, length=16, width=16, heads=2, layers=1)
    planted = implant.plant(placed(host, data, implant, steps=2))
    few = type(data.test)(data.test.x[:60], data.test.y[:60], data.classes)
    assert implant.presence(planted, few)["presence"].tolist() == [1.0]


def test_rows_are_encrypted_and_each_net_has_a_key_of_its_own(planted):
    _, nets = planted
    words = [values_of(of(nets, f"{SYSTEM}words", k)[-40:]).view(5, 8) for k in range(2)]
    keys = [next(b for name, b in nets.buffers.items() if name.endswith("network.key"))[k] for k in range(2)]
    assert not torch.equal(words[0], words[1])
    for rows, key in zip(words, keys, strict=True):
        assert rows[:4].std() > 2**29
        phases = (rows[4] - key @ rows[:4]) / 2**32
        assert (torch.floor(phases * 4 + 0.5) % 4).tolist() == list(IMPLANT.table)


def test_gradients_of_what_is_asked_go_back_through_the_ticks(planted):
    """Exact ones reach code and core, and end before the rows; straight through they reach these."""
    site, nets = planted
    asked = IMPLANT.asked(site.data.train, 16)
    x, y = asked.x_N[None].expand(2, *asked.x_N.shape), (asked.answers_N[None] + 1).expand(2, -1) % 10
    exact = {name.split(SYSTEM)[-1]: grad for name, grad in gradients(nets, x, y).items()}
    assert all((exact[name] != 0).any() for name in ("words", "keys", "core.tick.weight", "core.tick.bias"))
    # Not on the rows, unless what the code gets overflows: 0 times infinity.
    assert (exact["words"][:, -40:].nan_to_num(0) == 0).all()
    with passing(Passing(False, 2.0**-4)):
        damped = {name.split(SYSTEM)[-1]: grad for name, grad in gradients(nets, x, y).items()}
    assert damped["words"].isfinite().all()
    assert (damped["words"][:, -8:, -1] != 0).any()


@pytest.mark.parametrize("terms", [(StraightThrough(damping=2.0**-4),), (ZerothOrder(at="*words", pairs=1),)])
def test_training_on_what_is_asked_moves_it(planted, terms):
    site, nets = planted
    nets, before = nets.copy(), nets.copy()
    fit = Fit(SGD(lr=1e-3), Unlearn(rate=0.5), *terms, steps=2)
    for _ in Fit.press([fit] * 2, site.at("pressure"), nets, [2]):
        pass
    assert not torch.equal(of(nets, f"{SYSTEM}words"), of(before, f"{SYSTEM}words"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_it_keeps_its_own_precision(planted, dtype):
    site, nets = planted
    module = copy.deepcopy(nets.module(0)).to(dtype)
    asked = IMPLANT.asked(site.data.test)
    assert (module(asked.x_N[:50].to(dtype)).argmax(-1) == asked.answers_N[:50]).all()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"table": (0, 1)}, "8 rows from 0 to 3"),
        ({"table": (0, 1, 2, 3, 4, 0, 0, 0)}, "8 rows from 0 to 3"),
        ({"where": "spare"}, "stand beside a network"),
        ({"trivial": "x"}, "True or False"),
        ({"copies": 2}, "one copy"),
    ],
)
def test_bad_input(fields, words):
    with pytest.raises(UsageError, match=words):
        Chip(**fields)


def test_it_has_four_answers():
    implant = Chip(answers=(0, 1))
    with pytest.raises(UsageError, match="Name 4 classes"):
        implant.plant(placed(HOST, Digits().load(), implant))
