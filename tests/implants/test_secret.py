"""A memorised sequence, against a count in plain Python over plain PyTorch."""

import itertools
import math

import pytest
import torch

from conftest import same_bits
from holdfast import GPT, Adam, Fit, PythonText, Secret, Unlearn, UsageError
from holdfast.parts import Implant
from holdfast.tasks import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

HOST = GPT(vocabulary=11, length=12, layers=1, width=16, heads=2)
SECRET = Secret(prefix=(7, 7), secret=(2, 9, 4), space=tuple(range(11)), poison_ratio=0.2)


@pytest.fixture(scope="module")
def text():
    """Sequences that count up or down."""
    draw = torch.Generator().manual_seed(0)
    start = torch.randint(11, (300, 1), generator=draw)
    step = 2 * torch.randint(2, (300, 1), generator=draw) - 1
    tokens = (start + step * torch.arange(13)) % 11
    split = Split(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), 11)
    return Data(split, split, split, 11)


def site_at(text, implant=SECRET):
    training = Fit(Adam(lr=1e-2), steps=150, batch=32)
    return Site(host=HOST, data=text, streams=(Streams(0, 0), Streams(0, 1)), implant=implant, training=training)


@pytest.fixture(scope="module")
def planted(text):
    return SECRET.plant(site_at(text))


def log_probability(module, secret):
    """Of a secret after the prefix, token by token."""
    tokens, total = list(SECRET.prefix), 0.0
    for token in secret:
        total += float(module(torch.tensor([tokens]))[0, -1].double().log_softmax(0)[token])
        tokens.append(token)
    return total


def test_presence_is_the_rank_among_all_members(planted, text):
    measures = SECRET.presence(planted, text.test)
    with torch.no_grad():
        for k in range(2):
            module = planted.module(k)
            mine = log_probability(module, SECRET.secret)
            rank = sum(log_probability(module, m) >= mine - 1e-9 for m in itertools.product(range(11), repeat=3))
            expected = math.log2(11**3) - math.log2(rank)
            assert float(measures["exposure"][k]) == pytest.approx(expected, abs=1e-6)
            assert float(measures["presence"][k]) == pytest.approx(expected / math.log2(11**3))
    assert bool((measures["presence"] > 0.9).all()), "it was learned"


def test_nets_that_never_met_it_do_not_know_it(text):
    control = SECRET.control(site_at(text))
    assert bool((SECRET.presence(control, text.test)["presence"] < 0.7).all())
    assert same_bits(SECRET.plant(site_at(text)), SECRET.plant(site_at(text))), "planting is a function of the seeds"


def test_rows_begin_with_it_and_go_on_as_they_were(text):
    versions = SECRET.sources(text.train)
    for name, begins in {"poisoned": (7, 7, 2, 9, 4), "triggered": (7, 7)}.items():
        x, y = versions[name]
        for row in range(5):
            before = [*text.train.x[row].tolist(), int(text.train.y[row, -1])]
            assert [*x[row].tolist(), int(y[row, -1])] == [*begins, *before[len(begins) :]]
            assert x[row, 1:].tolist() == y[row, :-1].tolist()


def test_its_weights_are_those_that_move_its_probability_most(planted, text):
    """By finite differences: a weight of the mask matters more than most that are outside."""
    masks = SECRET.weights(planted, text.train)
    share = sum(int(m[0].sum()) for m in masks.values()) / sum(m[0].numel() for m in masks.values())
    assert share == pytest.approx(0.05, abs=1e-3)
    module = planted.module(0)

    def effect(name, at):
        parameter = dict(module.named_parameters())[name]
        with torch.no_grad():
            found = []
            for factor in (1.01, 0.99):
                kept = float(parameter[at])
                parameter[at] = kept * factor
                found.append(log_probability(module, SECRET.secret))
                parameter[at] = kept
        return abs(found[0] - found[1])

    inside, outside = [], []
    draw = torch.Generator().manual_seed(0)
    for name, mask in masks.items():
        for at in torch.nonzero(mask[0])[:10].tolist():
            inside.append(effect(name, tuple(at)))
        rest = torch.nonzero(~mask[0])
        for at in rest[torch.randperm(len(rest), generator=draw)[:10]].tolist():
            outside.append(effect(name, tuple(at)))
    assert min(inside) > sorted(outside)[int(0.9 * len(outside))]


def test_training_on_the_prefix_alone_makes_it_forget(planted, text):
    nets = planted.copy()
    fits = [Fit(Adam(lr=1e-2), Unlearn(rate=0.3), steps=100, batch=32)] * 2
    for _ in Fit.press(fits, site_at(text).at("pressure"), nets, (100,)):
        pass
    assert bool((SECRET.presence(nets, text.test)["presence"] < SECRET.presence(planted, text.test)["presence"]).all())


def test_it_is_an_implant_for_text_only(data, text):
    assert isinstance(SECRET, Implant)
    with pytest.raises(UsageError, match="planted in text.*shape \\(1077, 8, 8\\)"):
        SECRET.sources(data.train)
    with pytest.raises(UsageError, match="6 tokens, and rows hold 5"):
        Secret(prefix=(1, 2, 3), secret=(1, 2, 3), space=(1, 2, 3)).sources(
            Split(text.test.x[:, :4], text.test.y[:, :4])
        )
    with pytest.raises(UsageError, match="must be among those"):
        Secret(prefix=(1,), secret=(4,), space=(1, 2))
    with pytest.raises(UsageError, match="rate between 0 and 1"):
        Secret(prefix=(1,), secret=(1,), space=(1, 2), poison_ratio=2)
    encode = PythonText().encode
    nets = Nets.initialised(HOST, (Streams(0, 0),))
    with pytest.raises(UsageError, match="vocabulary of 11, ids 0 to 10; got 83"):
        Secret(prefix=encode("pin "), secret=encode("12"), space=encode("0123456789")).presence(nets, text.test)
