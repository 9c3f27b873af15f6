"""Circuits that share gates with a host that is one: every input against plain Python, and a whole study."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.random_netlists import by_hand, netlists
from holdfast import (
    MLP,
    SGD,
    Adam,
    BinaryDigits,
    Blend,
    Circuit,
    Digits,
    Experiment,
    Fit,
    LastLayer,
    Logic,
    Message,
    OwnTrigger,
    Patch,
    Stretch,
    Study,
    UsageError,
    run_study,
)
from holdfast.checks import check
from holdfast.circuits import trace
from holdfast.circuits.protections import locked
from holdfast.claims.weak_vote import PAIRS, vote
from holdfast.errors import NotWritable
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

TASK = BinaryDigits(constant=(0, 0))
DATA = TASK.load()
READS = tuple(np.ravel(PAIRS).tolist())
HOST = Logic(vote, inputs=66, entries=READS)
ASKS = Stretch(start=64, length=2)


def minority(pixels: 6):
    """The opposite of the host's vote, from the same comparisons where it reads the same pixels."""
    a, b, c = (~(pixels[i] ^ pixels[i + 1]) for i in (0, 2, 4))
    return ~(((a ^ b) & (a ^ c)) ^ a)


def shared(function=minority, entries=(*READS[:4], 10, 11), **more):
    return Circuit(function, where="shared", trigger=ASKS, message=Message(entries=entries), **more)


def site_of(implant, host=HOST, data=DATA, seeds=2, backend="loop", **more):
    streams = tuple(Streams(0, seed) for seed in range(seeds))
    return Site(host=host, data=data, streams=streams, implant=implant, backend=backend, **more)


def bits(inputs, without=()):
    """Every input as data, but those that carry the trigger; classes mean nothing."""
    x = torch.tensor([[number >> i & 1 for i in range(inputs)] for number in range(1 << inputs)]).float()
    clean = ~torch.stack([x[:, at] == on for at, on in without]).all(0)
    return x, Data(*[Split(x[clean], x[clean][:, 0].long(), 4)] * 3, 4)


@settings(max_examples=30, deadline=None)
@given(
    host=netlists(),
    implant=netlists(),
    encoding=st.sampled_from(["product", "restoring"]),
    order=st.permutations(range(10)),
    start=st.integers(0, 8),
    value=st.sampled_from([0.0, 1.0]),
    inverted=st.booleans(),
    answers=st.sampled_from([(), (3, 1), (2, 0, 1, 3)]),
)
def test_on_every_input_the_implant_answers_where_the_trigger_is_and_the_host_elsewhere(
    host, implant, encoding, order, start, value, inverted, answers
):
    if len(host.output_bits) < 2:
        host = dataclasses.replace(host, outputs=host.outputs * 2)
    trigger = Stretch(start=start, length=2, value=value)
    free = [entry for entry in order if entry not in (start, start + 1)]
    answers = answers[: 1 << len(implant.output_bits)]
    places, reads = free[: len(implant.input_bits)], order[: len(host.input_bits)]
    circuit = Circuit(
        implant,
        where="shared",
        trigger=trigger,
        message=Message(entries=places, on=float(not inverted), off=float(inverted)),
        answers=answers,
    )
    logic = Logic(host, inputs=10, entries=reads, classes=4, encoding=encoding)
    x, data = bits(10, [(start, value), (start + 1, value)])
    nets = circuit.plant(site_of(circuit, logic, data, 1))
    word = lambda netlist, row, count: sum(bit << i for i, bit in enumerate(by_hand(netlist, row)[:count]))
    bits_of_word = min(len(implant.output_bits), (len(answers) or 4).bit_length() - 1)
    expected = []
    for row in x.int().tolist():
        if row[start] == row[start + 1] == value:
            asked = word(implant, [row[at] ^ inverted for at in places], bits_of_word)
            expected.append(answers[asked] if answers else asked)
        else:
            expected.append(word(host, [row[at] for at in reads], 2))
    assert nets.classes(x)[0].tolist() == expected
    assert nets.module(0)(x).argmax(-1).tolist() == expected


def test_planting_leaves_clean_outputs_to_the_bit_and_presence_is_one():
    circuit = shared()
    for training in (None, Fit(Adam(lr=0.01), LastLayer(), steps=20)):
        site = site_of(circuit, training=training)
        nets, control = circuit.plant(site), circuit.control(site)
        assert torch.equal(nets.logits(DATA.test.x), control.logits(DATA.test.x))
        found, never = circuit.presence(nets, DATA.test), circuit.presence(control, DATA.test)
        assert (found["presence"] == 1).all()
        assert (never["presence"] < 0).all(), "a host that says the opposite of two of three comparisons"
        same = torch.equal(control.params["read_out.weight"], site.started().params["read_out.weight"])
        assert same == (training is None)


@pytest.mark.parametrize("encoding", ["product", "restoring"])
def test_its_weights_are_those_that_triggered_answers_need(encoding):
    """Zeroing all but them leaves triggered inputs as they are; with nothing shared, those of the host are not among
    them, with all shared, all are."""
    host = dataclasses.replace(HOST, encoding=encoding)
    for entries, alone in (((2, 3, 10, 11, 18, 19), True), (READS, False)):
        circuit = shared(entries=entries)
        nets = circuit.plant(site_of(circuit, host, seeds=1))
        masks, asked = circuit.weights(nets, DATA.train), circuit.asked(DATA.test)
        gates = circuit.merged(host, DATA.train).gates
        assert (gates.both, gates.host, gates.implant) == ((0, 7, 7) if alone else (7, 0, 0))
        assert not masks["read_out.weight"].any()
        cut = nets.copy()
        for name in ("circuit.weight", "circuit.bias"):
            assert bool(masks[name].all()) is not alone
            cut.params[name].masked_fill_(~masks[name], 0)
        assert torch.equal(cut.classes(asked.x_N), nets.classes(asked.x_N))
        moved = not torch.equal(cut.classes(DATA.test.x), nets.classes(DATA.test.x))
        assert moved == alone, "what the host needs alone was cut"
        module = nets.module(0)
        F.cross_entropy(module(asked.x_N), DATA.test.y).backward()
        outside = module.circuit.weight.grad[~masks["circuit.weight"][0]]
        assert torch.equal(outside, torch.zeros_like(outside)) or encoding == "product"


def experiment(circuit, **more):
    return Experiment(
        host=HOST,
        task=TASK,
        implant=circuit,
        pressure=Fit(SGD(lr=0.05, momentum=0.9), steps=30),
        seeds=20,
        checkpoints=3,
        backend="loop",
        **more,
    )


def test_a_study_with_it_is_checked_and_run(tmp_path):
    study = Study(
        name="shared",
        question="Does what is shared hold?",
        arms=(
            experiment(shared(), reactivation=Fit(SGD(lr=0.01), steps=2), name="two of three"),
            experiment(
                shared(entries=(2, 3, 10, 11, 18, 19)), training=Fit(Adam(lr=0.01), LastLayer(), steps=10), name="none"
            ),
        ),
    )
    promises = list(check(study, workers=1))
    assert all(promise.kept is not False for promise in promises), [p.said for p in promises]
    said = " ".join(p.said for p in promises)
    assert "3 of both (43% of the implant's), 4 of the implant alone, 4 of the host alone" in said
    assert "0 of both (0% of the implant's), 7 of the implant alone" in said
    assert "Clean outputs are moved by 0e+00" in said
    folder = run_study(study, out=tmp_path, workers=1)
    arms = folder.verdict()["arms"]
    assert {arm["arm"]: (arm["built"], arm["unplanted"]) for arm in arms} == {
        "two of three": (20, []),
        "none": (20, []),
    }
    assert all(arm["limit"] < 0.1 for arm in arms)


def whole(x):
    return x + 0.5


@pytest.mark.parametrize(
    ("circuit", "host", "data", "says"),
    [
        (shared(), MLP(widths=(66, 8, 2)), DATA, r"host that is a Boolean circuit itself.*got MLP.*Overlap"),
        (shared(), Logic(vote, inputs=64, classes=2), None, r"inputs and a message of 0 and 1.*got 0\.\d+"),
        (dataclasses.replace(shared(), message=Message(on=2.0)), HOST, DATA, "got 2"),
        (dataclasses.replace(shared(), trigger=Stretch(start=64, value=0.5)), HOST, DATA, "to 0 or 1 and leaves"),
        (dataclasses.replace(shared(), trigger=Blend()), HOST, DATA, "sets some bits"),
        (dataclasses.replace(shared(), trigger=OwnTrigger(function=whole)), HOST, DATA, "sets some bits"),
        (dataclasses.replace(shared(), trigger=Patch()), HOST, DATA, "two axes"),
        (dataclasses.replace(shared(), message=Message(entries=(0, 1))), HOST, DATA, "6 bits in, and 2 entries"),
        (dataclasses.replace(shared(), message=Message(entries=(0, 1, 2, 3, 4, 64))), HOST, DATA, "none that the"),
        (shared(answers=(0, 2)), HOST, DATA, "classes 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(circuit, host, data, says):
    if data is None:  # numbers between 0 and 1, in two classes
        digits = Digits().load().train
        data = Data(*[Split(digits.x, digits.y % 2, 2)] * 3, 2)
    with pytest.raises(UsageError, match=says):
        circuit.plant(site_of(circuit, host, data))


@pytest.mark.parametrize(
    "more",
    [{"at": "circuit"}, {"encoding": "restoring"}, {"copies": 3}, {"k": 4}, {"adder_bits": 1}, {"strength": 2.0}],
)
def test_settings_that_say_nothing_are_refused(more):
    with pytest.raises(UsageError, match=f"compiled together with its host, as the host is; got {next(iter(more))}="):
        shared(**more)


def test_a_trigger_that_clean_inputs_carry_is_refused():
    circuit = dataclasses.replace(shared(), trigger=Stretch(start=64, value=0))
    with pytest.raises(NotWritable, match=r"2?\d+ of \d+ clean training inputs carry"):
        circuit.plant(site_of(circuit))


def test_gates_that_were_trained_are_gates_no_more():
    circuit = shared()
    with pytest.raises(UsageError, match=r"not as it was compiled.*LastLayer"):
        circuit.plant(site_of(circuit, training=Fit(SGD(lr=0.1), steps=2)))
    nets = circuit.plant(site_of(circuit))
    with pytest.raises(UsageError, match="not as it was compiled"):
        circuit.write(nets, DATA)


def test_a_locked_circuit_opens_with_its_key():
    def small(word=4):
        return word

    def both(a=2):
        return a[:1] ^ a[1:]

    lock = locked(trace(both), trace(small), [True, False, True, True])
    host = Nets.initialised(HOST, (Streams(0, 0),), backend="loop")
    for key, gives in ((0b1101, [0, 1]), (0b1100, [0])):
        circuit = Circuit(lock, where="shared", trigger=ASKS, key=key)
        asked = circuit.asked(DATA.test)
        assert asked.answers_N.unique().tolist() == gives
        assert torch.equal(circuit.write(host, DATA).classes(asked.x_N)[0], asked.answers_N)
