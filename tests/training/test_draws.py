"""Random streams, and which examples each net sees."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from holdfast import SGD, BadNets, Fit, Poison, Unlearn, UsageError
from holdfast.training.draws import Draws
from holdfast.training.streams import Streams


@given(st.integers(0, 2**63), st.integers(0, 2**31), st.text(max_size=8), st.integers(-1, 1000))
def test_a_stream_is_a_function_of_its_name(root, seed, name, counter):
    draw = lambda *key: Streams(*key[:2]).generator(*key[2:]).random(4).tolist()
    here = draw(root, seed, name, counter)
    assert draw(root, seed, name, counter) == here
    others = [(root + 1, seed, name, counter), (root, seed + 1, name, counter), (root, seed, name + "x", counter)]
    assert all(draw(*other) != here for other in [*others, (root, seed, name, counter + 1)])


def test_streams_are_uniform_and_independent():
    draws = np.stack([Streams(0, seed).generator("data").random(2000) for seed in range(40)])
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(draws)[np.triu_indices(40, 1)]).max() < 5 / np.sqrt(2000)


@pytest.fixture
def draws_of(site_of):
    return lambda mixes, batch=64, seeds=3: Draws(site_of(BadNets(), seeds=seeds).at("pressure"), mixes, batch)


def rows(draws, steps):
    """Row numbers of each step, (steps, K, B), read off a table in which every row is its own number."""
    draws.x = torch.arange(len(draws.x), dtype=torch.float32)[:, None, None]
    return torch.stack([draws.at(step)[0][..., 0, 0] for step in range(steps)]).long()


def test_an_epoch_shows_no_example_twice_and_the_next_is_another(draws_of):
    draws = draws_of([()] * 3)
    epoch = draws.steps_per_epoch
    seen = rows(draws, 2 * epoch)
    for k in range(3):
        first, second = seen[:epoch, k].flatten(), seen[epoch:, k].flatten()
        assert len(first.unique()) == len(first) == epoch * 64
        assert not torch.equal(first, second)
    assert not torch.equal(seen[:, 0], seen[:, 1]), "each net draws its own batches"


def test_arms_of_one_seed_see_the_same_examples(draws_of):
    clean = rows(draws_of([()] * 3), 20)
    mixed = rows(draws_of([(Unlearn(rate=0.3),)] * 3), 20)
    assert torch.equal(mixed % 1077, clean)


def test_unlearning_fires_at_its_rate_and_more_often_where_it_is_higher(draws_of):
    often, seldom = (rows(draws_of([(Unlearn(rate=rate),)] * 3), 400) >= 1077 for rate in (0.3, 0.1))
    for fires, rate in ((often, 0.3), (seldom, 0.1)):
        assert stats.binomtest(int(fires.sum()), fires.numel(), rate).pvalue > 1e-3
    assert (often | ~seldom).all(), "a higher rate fires wherever a lower one does"


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_poison_is_a_fixed_share_of_the_examples(draws_of, rate):
    seen = rows(draws_of([(Poison(rate=rate),)] * 3), 300)
    for k in range(3):
        poisoned = seen[:, k][seen[:, k] >= 1077].unique() - 1077
        clean = seen[:, k][seen[:, k] < 1077].unique()
        assert len(poisoned) == round(rate * 1077)
        assert not set(poisoned.tolist()) & set(clean.tolist()), "an example is poisoned always or never"


def test_labels_go_with_their_rows(draws_of, data):
    x, y = draws_of([(Poison(rate=1.0),)] * 3).at(0)
    assert (y == 0).all()
    assert (x[..., 6:, 6:] == 1).all()
    x, y = draws_of([(Unlearn(rate=1.0),)] * 3).at(5)
    assert (x[..., 6:, 6:] == 1).all()
    clean = draws_of([()] * 3).at(5)
    assert torch.equal(y, clean[1])


def test_impossible_batches_and_terms(draws_of, site_of):
    with pytest.raises(UsageError, match="1 to 1077 examples .the training data.; got 2000"):
        draws_of([()] * 3, batch=2000)

    class Bare(BadNets):
        def sources(self, split):
            return {}

    site = site_of(Bare(), seeds=1)
    nets = Bare().control(site)
    with pytest.raises(UsageError, match="needs triggered inputs"):
        next(Fit.press([Fit(SGD(lr=0.1), Unlearn(rate=0.1), steps=3)], site, nets, (3,)))
