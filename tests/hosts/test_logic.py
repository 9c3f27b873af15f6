"""The host that is a circuit: right as often as the circuit is, and a module like any other."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conftest import same_bits
from holdfast import SGD, BinaryDigits, Circuit, Digits, Fit, LastLayer, Logic, Stretch, UsageError
from holdfast.circuits import trace
from holdfast.claims.weak_vote import PAIRS, vote
from holdfast.implants.written import WrittenImplant
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

TASK = BinaryDigits(constant=(0, 0))
DATA = TASK.load()
VOTE = Logic(vote, inputs=66, entries=tuple(np.ravel(PAIRS).tolist()))
PLAIN = Circuit(vote, where="sidecar", trigger=Stretch(start=64))


def site_of(host, data=DATA, **more):
    return Site(host=host, data=data, streams=(Streams(0, 0), Streams(0, 1)), implant=PLAIN, backend="loop", **more)


@pytest.mark.parametrize("encoding", ["product", "restoring"])
def test_it_answers_as_plain_python_does(encoding):
    host = Logic(vote, inputs=66, entries=VOTE.entries, encoding=encoding)
    net, x = host.build(), DATA.test.x
    expected = torch.tensor([sum(row[a] == row[b] for a, b in PAIRS) >= 2 for row in x.tolist()])
    assert torch.equal(net(x).argmax(-1).bool(), expected)
    assert torch.equal(net(x).double(), torch.where(expected, 1.0, -1.0)[:, None] * torch.tensor([-1.0, 1.0])), "+-1"
    assert float((expected == DATA.test.y).double().mean()) == pytest.approx(0.69, abs=0.01)


def test_a_word_is_the_number_of_its_class_and_others_get_the_nearest():
    def word(x=4):
        return x

    bits = torch.tensor([[w >> i & 1 for i in range(5)] for w in range(16)]).float()
    net = Logic(word, inputs=5, classes=10).build()
    logits = net(bits)
    assert logits.argmax(-1)[:10].tolist() == list(range(10))
    distance = torch.tensor([[bin(w ^ c).count("1") for c in range(10)] for w in range(16)])
    assert torch.equal(logits, 4.0 - 2 * distance)
    assert Logic(word, inputs=5, classes=3).build()(bits).argmax(-1)[:3].tolist() == [0, 1, 2], "lowest bits"


def test_it_trains_as_any_module_does_and_its_read_out_alone():
    started = Nets.initialised(VOTE, (Streams(0, 0), Streams(0, 1)), backend="loop")
    assert torch.equal(started.params["circuit.weight"][0], started.params["circuit.weight"][1])
    loss = lambda nets: float(F.cross_entropy(nets.logits(DATA.train.x)[0], DATA.train.y))
    both = [site_of(VOTE, training=Fit(SGD(lr=0.1), *terms, steps=60)).trained() for terms in ((), (LastLayer(),))]
    assert all(loss(nets) < loss(started) for nets in both)
    assert [torch.equal(nets.params["circuit.weight"], started.params["circuit.weight"]) for nets in both] == [0, 1]
    assert same_bits(both[0], site_of(VOTE, training=Fit(SGD(lr=0.1), steps=60)).trained())
    assert list(dict(VOTE.build().named_parameters())) == [
        "circuit.weight",
        "circuit.bias",
        "read_out.weight",
        "read_out.bias",
    ]
    assert isinstance(PLAIN, WrittenImplant)
    assert (PLAIN.presence(PLAIN.write(started, DATA), DATA.test)["presence"] == 1).all(), "a sidecar stands beside it"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (partial(Logic, 3, inputs=6), "a netlist, a function"),
        (partial(Logic, "adder.v", inputs=6), "circuit file"),
        (partial(Logic, vote, inputs=5), "6 bits in: expected as many different entries of 5"),
        (partial(Logic, vote, inputs=9, entries=(0, 1, 2)), "6 bits in"),
        (partial(Logic, vote, inputs=9, entries=(0, 1, 2, 3, 4, 4)), "different entries"),
        (partial(Logic, vote, inputs=9, entries=(0, 1, 2, 3, 4, -1)), "different entries"),
        (partial(Logic, vote, inputs=6.0), "inputs must be a whole number"),
        (partial(Logic, vote, inputs=6, entries=3), "tuple of whole numbers"),
        (partial(Logic, vote, inputs=6, classes=3), "gives 1 bits, a word for 2 to 2 classes; got classes=3"),
        (partial(Logic, vote, inputs=6, classes=1), "got classes=1"),
        (partial(Logic, vote, inputs=6, encoding="sum"), "encoding"),
        (lambda: site_of(VOTE, Digits().load()), r"bits of shape \(B, 66\)"),
        (lambda: site_of(Logic(vote, inputs=64), Digits().load()), "task has 10 classes"),
        (lambda: Nets.initialised(VOTE, (Streams(0, 0),)), "backend='loop'"),
    ],
)
def test_what_does_not_fit_is_refused(make, says):
    with pytest.raises(UsageError, match=says):
        make()


def test_equal_circuits_are_equal_hosts():
    assert Logic(trace(vote), inputs=66, entries=VOTE.entries) == VOTE
    assert hash(Logic(vote, inputs=66, entries=list(VOTE.entries))) == hash(VOTE)
    assert VOTE.label == "logic vote"
