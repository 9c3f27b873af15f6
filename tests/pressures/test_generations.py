"""Chains of students, against the same chain made by hand."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from conftest import same_bits
from holdfast import SGD, Adam, BadNets, Distil, Fit, Generations, HoldfastError, UsageError
from holdfast.training.slot import Slot

FIT = Fit(Adam(lr=3e-3), Distil(temperature=2.0), steps=10)
CHAIN = Generations(fit=FIT, count=3)
LOOKS = (0, 4, 12, 19, 30, 33)
"""None of them at the first two generations' ends."""


def pressed(site, start, looks=LOOKS, stop_after=None, chain=CHAIN):
    nets, seen = start.copy(), []
    points = Generations.press([chain] * start.k, site, nets, looks)
    for point in points:
        seen.append((point.step, point.nets.copy(), point.previous.copy()))
        if len(seen) == stop_after:
            points.close()
            break
    return nets, seen


def test_each_student_is_the_next_ones_teacher(site_of, badnets):
    """To the bit what one `Fit` after another gives, each with its own phase."""
    nets, seen = pressed(site_of(BadNets(), phase="pressure"), badnets[0])
    assert tuple(step for step, *_ in seen) == LOOKS
    by_hand = badnets[0].copy()
    wanted = iter(seen)
    for phase, looks in (
        ("pressure", (0, 4, 10)),
        ("pressure/generation1", (2, 9, 10)),
        ("pressure/generation2", (10, 13)),
    ):
        for point in Fit.press([FIT] * 4, site_of(BadNets(), phase=phase), by_hand, looks):
            if (phase, point.step) not in (("pressure", 10), ("pressure/generation1", 10)):
                assert same_bits(next(wanted)[1], point.nets)
    assert same_bits(nets, by_hand)
    for (_, before, _), (_, _, previous) in pairwise(seen):
        assert same_bits(before, previous)


def test_the_first_generation_is_distillation(site_of, badnets):
    one, _ = pressed(site_of(BadNets(), phase="pressure"), badnets[0], (10,), chain=replace(CHAIN, count=1))
    first, _ = pressed(site_of(BadNets(), phase="pressure"), badnets[0], (10,))
    fit = badnets[0].copy()
    for _ in Fit.press([FIT] * 4, site_of(BadNets(), phase="pressure"), fit, (10,)):
        pass
    assert same_bits(one, fit)
    assert same_bits(first, fit)


def test_students_of_fresh_weights_begin_with_others_each_time(site_of, badnets):
    still = Generations(fit=Fit(SGD(lr=1e-30), Distil(), steps=2), count=3)
    _, seen = pressed(site_of(BadNets(), phase="pressure"), badnets[0], (2, 4, 6), chain=still)
    (_, a, _), (_, b, _), (_, c, _) = seen
    for left, right in ((a, b), (b, c), (a, c)):
        assert not (left.params["0.weight"] == right.params["0.weight"]).any()


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 5, 6])
def test_a_kill_at_any_look(stop_after, site_of, badnets, tmp_path):
    whole, looks = pressed(site_of(BadNets(), phase="pressure"), badnets[0])
    slot = Slot(tmp_path / "state.safetensors")
    pressed(site_of(BadNets(), phase="pressure", slot=slot), badnets[0], stop_after=stop_after)
    nets, rest = pressed(site_of(BadNets(), phase="pressure", slot=slot), badnets[0])
    assert same_bits(nets, whole)
    left = looks[stop_after - 1 :]
    assert [step for step, *_ in rest] == [step for step, *_ in left]
    for (_, now, before), (_, then, expected) in zip(rest, left, strict=True):
        assert same_bits(now, then)
        assert same_bits(before, expected)


@pytest.mark.parametrize(
    "lost", ["state.safetensors", "state-generation0.safetensors", "state-generation1.safetensors"]
)
def test_a_lost_state_costs_time_only(lost, site_of, badnets, tmp_path):
    whole, _ = pressed(site_of(BadNets(), phase="pressure"), badnets[0])
    slot = Slot(tmp_path / "state.safetensors")
    pressed(site_of(BadNets(), phase="pressure", slot=slot), badnets[0], stop_after=5)
    (tmp_path / lost).write_bytes(b"rubbish")
    nets, rest = pressed(site_of(BadNets(), phase="pressure", slot=slot), badnets[0])
    assert same_bits(nets, whole)
    assert [step for step, *_ in rest] == list(LOOKS if lost == "state.safetensors" else LOOKS[4:])


def test_the_state_of_another_batch_is_refused(site_of, badnets, tmp_path):
    slot = Slot(tmp_path / "state.safetensors")
    pressed(site_of(BadNets(), phase="pressure", slot=slot), badnets[0], stop_after=3)
    few = badnets[0].take([0, 1])
    with pytest.raises(HoldfastError, match="not a state of this batch"):
        pressed(site_of(BadNets(), seeds=2, phase="pressure", slot=slot), few)


def test_a_net_alone_or_among_others(site_of, badnets):
    all_of_them, _ = pressed(site_of(BadNets(), phase="pressure"), badnets[0])
    alone, _ = pressed(site_of(BadNets(), seeds=1, phase="pressure"), badnets[0].take([0]))
    for name, p in alone.params.items():
        assert torch.equal(p[0], all_of_them.params[name][0])


def test_settings():
    assert (CHAIN.steps, CHAIN.batch) == (30, 64)
    other = replace(CHAIN, fit=Fit(SGD(lr=0.1), *FIT.others, steps=10))
    assert other.name == CHAIN.name
    assert other.batch_key() == CHAIN.batch_key() != replace(CHAIN, count=2).batch_key()
    assert CHAIN.label == "3 generations of 10 steps, distilled at T 2 weight 0.9 from other weights, Adam lr 0.003"
    with pytest.raises(UsageError, match="count of 1 or more; got 0"):
        Generations(fit=FIT, count=0)
    with pytest.raises(UsageError, match=r"needs fit=Fit\(..., Distil"):
        Generations(fit=Fit(SGD(lr=0.1), steps=5), count=2)
