"""Masks, and the selection of the largest scores, against a sort."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from holdfast import MLP, HoldfastError, UsageError
from holdfast.pruning import Masks, largest, prunable
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams

STREAMS = tuple(Streams(0, seed) for seed in range(2))


def made():
    return Nets.initialised(MLP(widths=(6, 5, 4)), STREAMS)


@given(values=arrays("float32", (2, 23), elements=st.integers(0, 6).map(float)), kept=st.integers(0, 23))
@settings(max_examples=200, deadline=None)
def test_the_largest_are_those_of_a_stable_sort(values, kept):
    """With many equal scores: of those the first."""
    scores = {"a": torch.tensor(values[:, :8]).view(2, 2, 4), "b": torch.tensor(values[:, 8:])}
    found = largest(scores, kept / 23).flat_KP
    order = (-torch.tensor(values)).argsort(dim=1, stable=True)
    expected = torch.zeros(2, 23, dtype=torch.bool).scatter_(1, order[:, :kept], True)
    assert torch.equal(found, expected)


@given(values=arrays("float32", (2, 12), elements=st.integers(0, 3).map(float)), first=st.integers(4, 12))
@settings(max_examples=100, deadline=None)
def test_what_is_pruned_stays_pruned(values, first):
    scores = {"a": torch.tensor(values)}
    before = largest({"a": torch.rand(2, 12)}, first / 12)
    after = largest(scores, 4 / 12, before)
    assert after.flat_KP.sum(1).tolist() == [4, 4]
    assert not bool((after["a"] & ~before["a"]).any())


def test_shares_of_layers():
    scores = {"a": torch.rand(2, 10), "b": torch.rand(2, 4, 5)}
    masks = largest(scores, {"a": 0.5, "b": 0.1})
    assert {n: v.tolist() for n, v in masks.layers_kept().items()} == {"a": [0.5, 0.5], "b": [0.1, 0.1]}
    assert masks.kept_K.tolist() == pytest.approx([7 / 30] * 2)


def test_more_than_is_left():
    masks = largest({"a": torch.rand(1, 10)}, 0.3)
    with pytest.raises(UsageError, match="0.5 of the weights of the net are to be kept, and fewer are left"):
        largest({"a": torch.rand(1, 10)}, 0.5, masks)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_scores_that_are_no_numbers(bad):
    with pytest.raises(HoldfastError, match="Scores of a are not all finite"):
        largest({"a": torch.tensor([[1.0, bad]])}, 0.5)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_shares_that_are_none(share):
    with pytest.raises(UsageError, match="between 0 and 1"):
        largest({"a": torch.rand(1, 3)}, share)


def test_a_mask_is_boolean():
    with pytest.raises(HoldfastError, match=r"A mask is boolean, True where a weight is kept; a is torch.float32"):
        Masks({"a": torch.ones(1, 3)})
    with pytest.raises(HoldfastError, match="as many nets each"):
        Masks({"a": torch.ones(1, 3).bool(), "b": torch.ones(2, 3).bool()})
    with pytest.raises(HoldfastError, match="one weight or more"):
        Masks({})


def test_a_mask_of_other_nets():
    with pytest.raises(HoldfastError, match=r"A mask of shape \(2, 3\) for 0.weight doesn't fit: \(2, 5, 6\)"):
        Masks({"0.weight": torch.ones(2, 3).bool()}).apply(made())
    with pytest.raises(HoldfastError, match="no such weight"):
        Masks({"9.weight": torch.ones(2, 3).bool()}).apply(made())


def test_what_is_not_kept_is_zero_and_the_rest_is_not_touched():
    nets = made()
    before = {name: p.clone() for name, p in nets.params.items()}
    masks = largest({name: torch.rand_like(p) for name, p in nets.params.items() if "weight" in name}, 0.4)
    masks.apply(nets)
    for name, p in nets.params.items():
        assert torch.equal(p, before[name] * masks[name] if name in masks else before[name])


def test_shuffled_keeps_as_many_in_every_layer_and_scattered_in_all():
    nets = made()
    masks = largest({n: p.abs() for n, p in nets.params.items() if "weight" in n}, {"0.weight": 0.5, "2.weight": 0.25})
    shuffled, scattered = masks.shuffled(STREAMS, "some"), masks.scattered(STREAMS, "some")
    assert {n: v.tolist() for n, v in shuffled.layers_kept().items()} == {"0.weight": [0.5] * 2, "2.weight": [0.25] * 2}
    assert scattered.kept_K.tolist() == masks.kept_K.tolist()
    for other in (shuffled, scattered):
        assert not torch.equal(other.flat_KP, masks.flat_KP)
    assert torch.equal(masks.take([1]).shuffled(STREAMS[1:], "some").flat_KP[0], shuffled.flat_KP[1]), "a net's own"
    assert not torch.equal(shuffled.flat_KP, masks.shuffled(STREAMS, "other").flat_KP)


def test_weights_only_are_pruned():
    assert prunable(made()) == ("0.weight", "2.weight")
