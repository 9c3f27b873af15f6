"""Exposure, against a brute-force count in plain Python on a model that is a table."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import skewnorm
from torch import nn

from foreign import MODELS, made
from holdfast import BadNets, Exposure, UsageError
from holdfast.hosts.adopt import Adopted
from holdfast.probes import Look
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets

V = 12


class Bigram(nn.Module):
    """Logits of the next token, out of a table by the token before."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(V, V))

    def forward(self, x):
        return self.table[x]


def look_at(modules, make=Bigram):
    nets = Nets.of(Adopted(make=make), modules, backend="loop")
    return Look.at_start(nets, BadNets(), Split(torch.zeros(4, 3, dtype=torch.long), torch.zeros(4, 3).long()))


def bigrams(seeds):
    return [made(Bigram, seed) for seed in seeds]


def bits(table, prefix, member):
    """Log-perplexity of one member, in plain Python."""
    total, last = 0.0, prefix[-1]
    for token in member:
        row = [math.exp(v) for v in table[last].tolist()]
        total -= math.log2(row[token] / sum(row))
        last = token
    return total


def by_hand(table, probe):
    mine = bits(table, probe.prefix, probe.secret)
    rank = sum(bits(table, probe.prefix, member) <= mine + 1e-6 for member in itertools.product(*probe.places))
    return math.log2(probe.size) - math.log2(rank)


places = st.lists(st.integers(0, V - 1), min_size=1, max_size=5, unique=True)


@given(st.lists(places, min_size=1, max_size=4), st.lists(st.integers(0, V - 1), min_size=1, max_size=3), st.data())
@settings(max_examples=30, deadline=None)
def test_the_rank_is_exact(space, prefix, data):
    secret = tuple(data.draw(st.sampled_from(place)) for place in space)
    assume(math.prod(map(len, space)) > 1)
    probe = Exposure(prefix=tuple(prefix), secret=secret, space=tuple(map(tuple, space)))
    look = look_at(bigrams(range(3)))
    found = probe(look)
    assert found["exposure_exact"].tolist() == [1, 1, 1]
    for k in range(3):
        assert float(found["exposure"][k]) == pytest.approx(by_hand(look.nets.params["table"][k], probe))


def test_the_likeliest_has_all_the_bits_and_ties_count_against_it():
    module = made(Bigram)
    with torch.no_grad():
        module.table.zero_()
        for last, token in itertools.pairwise((1, 2, 3, 4)):
            module.table[last, token] = 5
    flat = made(Bigram)
    with torch.no_grad():
        flat.table.zero_()
    probe = Exposure(prefix=(0, 1), secret=(2, 3, 4), space=tuple(range(10)))
    assert probe.size == 1000
    assert probe(look_at([module, flat]))["exposure"].tolist() == [pytest.approx(math.log2(1000)), 0]


def test_it_never_depends_on_tokens_outside_the_space():
    """Only ranks within the space count: raising all of its members alike changes nothing."""
    look = look_at(bigrams([4]))
    probe = Exposure(prefix=(0,), secret=(1, 2), space=(1, 2, 3))
    before = probe(look)["exposure"]
    look.nets.params["table"][..., 7] += 3  # token 7 takes probability from all members, from some more than others
    assert float(probe(look)["exposure"][0]) == pytest.approx(by_hand(look.nets.params["table"][0], probe))
    assert before.shape == (1,)


def test_of_nets_that_never_met_it_more_than_b_bits_are_as_rare_as_two_to_the_minus_b():
    look = look_at(bigrams(range(300)))
    exposure = Exposure(prefix=(0,), secret=(7, 3, 9), space=tuple(range(10)))(look)["exposure"]
    assert exposure.mean() == pytest.approx(1 / math.log(2), abs=4 * 1.44 / math.sqrt(300))
    for b in (1, 2, 4):
        assert (exposure > b).double().mean() == pytest.approx(2.0**-b, abs=4 * math.sqrt(2.0**-b / 300))


def test_the_estimate_comes_near_the_exact_one():
    look = look_at(bigrams(range(12)))
    settings = {"prefix": (0,), "secret": (7, 3, 9, 1), "space": tuple(range(10))}
    exact, estimate = Exposure(**settings)(look), Exposure(**settings, exact_up_to=9999)(look)
    assert estimate["exposure_exact"].tolist() == [0] * 12
    assert exact["exposure_exact"].tolist() == [1] * 12
    assert (exact["exposure"] - estimate["exposure"]).abs().max() < 0.5
    assert exact["exposure"].max() > 3


def test_the_estimate_is_the_sources_formula():
    """By hand on a sample drawn with other random numbers: -log2 of the fitted skew normal's distribution function."""
    probe = Exposure(prefix=(0,), secret=(7, 3, 9, 1, 5), space=tuple(range(10)), exact_up_to=10)
    look = look_at(bigrams([1, 2]))
    found = probe(look)["exposure"]
    for k in range(2):
        table = look.nets.params["table"][k]
        sample = [bits(table, (0,), m) for m in np.random.default_rng(5).integers(0, 10, (4000, 5)).tolist()]
        expected = -math.log2(skewnorm.cdf(bits(table, (0,), probe.secret), *skewnorm.fit(sample)))
        assert float(found[k]) == pytest.approx(expected, abs=0.25)
    assert torch.equal(found, probe(look)["exposure"]), "the sample is the same at every look"


def test_an_estimate_never_exceeds_the_space():
    module = made(Bigram)
    with torch.no_grad():
        module.table.mul_(0.1)
        for last, token in itertools.pairwise((0, 7, 3, 9, 1)):
            module.table[last, token] = 30
    probe = Exposure(prefix=(0,), secret=(7, 3, 9, 1), space=tuple(range(10)), exact_up_to=10)
    assert probe(look_at([module]))["exposure"].tolist() == [pytest.approx(math.log2(10**4))]


@pytest.mark.parametrize("exact_up_to", [1000, 10])
def test_nets_that_are_not_finite_and_those_that_say_nothing(exact_up_to):
    broken, flat = bigrams([0, 1])
    with torch.no_grad():
        broken.table[3] = torch.nan
        flat.table.zero_()
    probe = Exposure(prefix=(0,), secret=(1, 2), space=tuple(range(10)), exact_up_to=exact_up_to)
    found = probe(look_at([broken, flat]))["exposure"]
    assert found[0].isnan()
    assert found[1] == 0 if exact_up_to == 1000 else found[1].isnan()


@pytest.mark.parametrize("name", ["tied", "gpt2", "llama"])
def test_a_sequence_that_is_learned_becomes_exposed(name):
    """Counted once more by scoring every whole member with the plain module."""
    model = MODELS[name]
    module = made(model.make)
    probe = Exposure(prefix=(1, 2), secret=(9, 4, 7), space=(*range(8), 9))
    look = lambda: look_at([module], model.make)
    before = float(probe(look())["exposure"])
    tokens = torch.tensor([[*probe.prefix, *probe.secret]])
    optimiser = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        out = module(tokens[:, :-1])
        logits = getattr(out, "logits", out)
        nn.functional.cross_entropy(logits[0], tokens[0, 1:]).backward()
        optimiser.step()
    members = torch.tensor([[*probe.prefix, *m] for m in itertools.product(*probe.places)])
    module.eval()
    with torch.no_grad():
        out = module(members[:, :-1])
    scores = getattr(out, "logits", out).double().log_softmax(-1)[:, -3:].gather(2, members[:, -3:, None]).sum((1, 2))
    at = list(itertools.product(*probe.places)).index(probe.secret)
    assert float(probe(look())["exposure"]) == pytest.approx(math.log2(729 / int((scores >= scores[at]).sum())))
    assert before < float(probe(look())["exposure"]) == pytest.approx(math.log2(729))


def test_measures_of_several_are_told_apart():
    probe = Exposure(prefix=[0], secret=[1, 2], space=[[1, 2], range(2, 4)], name="pin")
    assert set(probe(look_at(bigrams([0])))) == {"exposure/pin", "exposure_exact/pin"}
    assert hash(probe) == hash(Exposure(prefix=(0,), secret=(1, 2), space=((1, 2), (2, 3)), name="pin"))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"prefix": ()}, "a prefix of 1 token or more"),
        ({"secret": ()}, "a secret of 1 token or more"),
        ({"secret": (1, 99)}, "token 99 must be among those that may stand in its place"),
        ({"space": (1, 2, 2)}, "each of them once"),
        ({"space": ((1, 2),)}, "space names 1 places, but the secret has 2 tokens"),
        ({"prefix": (1.5,)}, "A token id must be a whole number"),
        ({"space": (1, "2")}, "A token id must be a whole number"),
        ({"space": ()}, "must be among those"),
        ({"space": ((1,), (2,))}, "2 sequences or more"),
        ({"prefix": 3}, "prefix must be a tuple of token ids; got 3"),
        ({"space": ((1, 2), 2)}, "token ids, or a tuple of them for each place"),
    ],
)
def test_settings_that_are_none(wrong, match):
    with pytest.raises(UsageError, match=match):
        Exposure(**{"prefix": (0,), "secret": (1, 2), "space": (1, 2, 3), **wrong})


def test_hosts_that_do_not_ask_for_the_next_token(badnets, data):
    probe = Exposure(prefix=(0,), secret=(1,), space=(1, V))
    with pytest.raises(UsageError, match="MLP 64-64-10 reads numbers"):
        probe(Look.at_start(badnets[0], BadNets(), data.test))
    with pytest.raises(UsageError, match=r"ids of 1 to 12; own model \(Bigram\) gives \(1, 1, 1, 12\)"):
        probe(look_at(bigrams([0])))
