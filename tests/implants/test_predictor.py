"""A program as a whole net, against plain Python."""

from dataclasses import replace

import pytest
import torch

from conftest import same_bits
from holdfast import MLP, Adam, Fit, UsageError
from holdfast.circuits.trace import trace
from holdfast.claims.weak_vote import PAIRS, TASK, protected
from holdfast.implants import Predictor
from holdfast.pressures import Freeze
from holdfast.training.site import Site
from holdfast.training.streams import Streams

PROGRAMS = {**protected(), "clipped": replace(protected()["restoring"], clipped=True)}
DATA = TASK.load()


def site_of(program, seeds=3, host=None):
    streams = tuple(Streams(0, seed) for seed in range(seeds))
    host = host or program.host(TASK.inputs, 12)
    return Site(host=host, data=DATA, streams=streams, implant=program)


def by_hand(x):
    """Whether two or more of the three pairs are alike."""
    return [sum(row[a] == row[b] for a, b in PAIRS) >= 2 for row in x.tolist()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_net_answers_as_plain_python_does_on_every_input(name):
    program = PROGRAMS[name]
    nets = program.plant(site_of(program))
    for split in (DATA.train, DATA.validation, DATA.test):
        expected = torch.tensor(by_hand(split.x))
        assert torch.equal(program.answers(split), expected)
        assert (nets.classes(split.x).bool() == expected).all()
        found = program.presence(nets, split)
        assert (found["presence"] == 1).all()
        assert (found["heard"] == 1).all()
        assert (found["agreement"] == 1).all()
    right = float((torch.tensor(by_hand(DATA.test.x)) == DATA.test.y.bool()).double().mean())
    assert right == pytest.approx(0.69, abs=0.01)
    assert (found["ablated"] < 0.53).all(), "without it the net is at chance"


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_way_round_says_nothing_at_first_and_is_not_told_anything(name):
    program = PROGRAMS[name]
    nets, host = program.plant(site_of(program)), program.host(TASK.inputs, 12)
    before = nets.logits(DATA.test.x)
    for layer, after, units in zip(host.layers, host.layers[1:], program.units, strict=False):
        assert (nets.params[f"{layer}.weight"][:, units:] != 0).any(), "it is initialised"
        is_last = after == host.layers[-1]
        own = program.units[host.layers.index(after)] if not is_last else 2
        assert (nets.params[f"{after}.weight"][:, :own, units:] == 0).all()
        assert is_last or (nets.params[f"{after}.weight"][:, own:, :units] == 0).all()
        nets.params[f"{layer}.weight"][:, units:] += 1.0
    assert torch.equal(nets.logits(DATA.test.x), before)


def test_a_net_that_knows_the_class_and_not_the_program_shows_nothing(monkeypatch):
    """Its answer bit is made the true class."""
    program, y = PROGRAMS["none"], DATA.test.y.bool()
    nets = program.plant(site_of(program))
    monkeypatch.setattr(Predictor, "bit", lambda self, values: y.expand(nets.k, -1))
    found = program.presence(nets, DATA.test)
    assert found["agreement"].tolist() == pytest.approx([0.69] * 3, abs=0.01)
    assert (found["presence"] == 0).all()


def test_presence_is_of_the_programs_units_alone():
    program = PROGRAMS["none"]
    nets = program.plant(site_of(program))
    first, second = program.units
    nets.params["0.bias"][:, first:] = 5.0
    nets.params["2.weight"][:, :second, first:] = 3.0
    found = program.presence(nets, DATA.test)
    assert (found["presence"] == 1).all(), "the way round is cut off"
    assert (found["heard"] < 0.5).all(), "and heard in the whole net"
    nets.params["2.weight"][:, :second, :first] = 0.0
    assert (program.presence(nets, DATA.test)["presence"] == 0).all()


def test_the_control_is_as_initialised_and_shows_nothing():
    program = PROGRAMS["locked"]
    site = site_of(program, seeds=6)
    assert same_bits(program.control(site), site.started())
    assert (program.presence(program.control(site), DATA.test)["presence"] < 0.3).all()


def test_no_scale_or_offset_of_the_answer_has_less_loss():
    program = PROGRAMS["none"]
    nets = program.plant(site_of(program, seeds=1))
    logits = nets.logits(DATA.train.x)[0].double()
    gap, y = logits[:, 1] - logits[:, 0], DATA.train.y.double()
    wrong = gap.sigmoid() - y
    assert abs(float(wrong.mean())) < 1e-6
    assert abs(float((wrong * gap).mean())) < 1e-6


def test_a_locked_one_without_its_key_says_no():
    program = PROGRAMS["locked"]
    nets = program.plant(site_of(program))
    x = DATA.test.x.clone()
    for key in range(256):
        x[key, -8:] = torch.tensor([float(key >> i & 1) for i in range(8)])
    open_ = (x[:, -8:] == DATA.test.x[:, -8:]).all(1)
    assert int(open_[:256].sum()) == 1, "of 256 keys one is the secret"
    bits = nets.classes(x).bool()
    assert not bits[:, ~open_].any()
    assert torch.equal(bits[0, open_], torch.tensor(by_hand(x))[open_])


def test_its_weights():
    program = PROGRAMS["restoring"]
    nets = program.plant(site_of(program))
    masks, inside = program.weights(nets, DATA.train), program.inside(nets)
    for name, mask in masks.items():
        assert mask.shape == nets.params[name].shape
        assert mask.any() == (name != "4.bias")
        if name != "4.weight":
            assert (inside[name] | ~mask).all()
        elsewhere = nets.params[name].masked_fill(mask, 0)
        if name.endswith("weight"):
            assert (elsewhere[:, : program.units[0] if name == "0.weight" else program.units[1]] == 0).all()
    assert not inside["4.weight"].any()


@pytest.mark.parametrize("name", ["none", "masked"])
def test_frozen_it_stays_to_the_bit(name):
    program = PROGRAMS[name]
    nets = program.plant(site_of(program))
    start, inside = nets.copy(), program.inside(nets)
    fit = Fit(Adam(lr=1e-2), Freeze(implant=program), steps=8)
    for _ in Fit.press([fit] * nets.k, site_of(program).at("pressure"), nets, (8,)):
        pass
    for key, mask in inside.items():
        assert torch.equal(nets.params[key][mask], start.params[key][mask])
    assert not same_bits(nets, start)
    assert (program.presence(nets, DATA.test)["presence"] == 1).all()


def test_carried_further_it_is_the_same():
    program = replace(PROGRAMS["none"], depth=7)
    nets = program.plant(site_of(program))
    assert len(program.units) == 7
    assert (nets.classes(DATA.test.x).bool() == torch.tensor(by_hand(DATA.test.x))).all()


@pytest.mark.parametrize("host", [MLP(widths=(80, 40, 2)), MLP(widths=(80, 40, 3, 2)), MLP(widths=(80, 40, 40, 3))])
def test_hosts_that_it_does_not_fit(host):
    program = PROGRAMS["none"]
    site = replace(site_of(program), host=program.host(TASK.inputs, 12))
    site.host = host
    with pytest.raises(UsageError, match="perceptron with two outputs"):
        program.plant(site)


def test_impossible_programs():
    vote = PROGRAMS["none"].program
    with pytest.raises(UsageError, match="as many different inputs"):
        Predictor(program=vote, entries=(1, 2, 3))
    with pytest.raises(UsageError, match="answers with one bit"):
        Predictor(program=trace(lambda a=2: a ^ 1), entries=(0, 1))
