"""Spare units, in nets that were built to have some."""

from dataclasses import replace

import pytest
import torch

from holdfast import MLP, Adam, Digits, Fit, UsageError
from holdfast.engines.base import one_thread
from holdfast.samples import SpareUnits, spare_units
from holdfast.training.nets import Nets
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

SMALL = SpareUnits(host=MLP(widths=(64, 24, 10)), task=Digits(), training=Fit(Adam(lr=0.01), steps=300, batch=60))
STREAMS = tuple(Streams(0, seed) for seed in range(3))


def measured(sample=SMALL, streams=STREAMS):
    with one_thread():
        return sample.measure_together(streams, Slot(), lambda _: None)


def test_a_seed_is_the_same_alone_and_with_others():
    together = measured()
    assert repr(measured(streams=STREAMS[1:2])[0]) == repr(together[1])
    for found in together:
        assert found["accuracy"] > 0.9
        assert 0 <= found["share_random"] <= found["share"] < 1
        assert found["units"] == 24


def test_units_that_were_cut_off_are_spare(monkeypatch):
    """Half of the units are made blank after the training: at least that half can go, and no more than before."""

    def half_blank(self, k):
        module = plain(self, k)
        with torch.no_grad():
            module[2].weight[:, :12] = 0
        return module

    plain = Nets.module
    monkeypatch.setattr(Nets, "module", half_blank)
    for found in measured():
        assert found["share"] >= 0.5


def test_controls():
    permuted, untrained = (replace(SMALL, labels=labels) for labels in ("random", "none"))
    found = measured(permuted)[0]
    assert 0.12 < found["accuracy"] < 0.9, "what it has learned by heart"
    assert measured(untrained)[0]["accuracy"] < 0.35
    assert (permuted.steps, untrained.steps) == (300, 0)
    assert len({SMALL.label, permuted.label, untrained.label}) == 3


def test_all_that_may_be_lost(monkeypatch):
    monkeypatch.setattr(spare_units, "POINTS", 8)
    assert measured(replace(SMALL, within=100.0))[0]["share"] == 1


@pytest.mark.parametrize(
    ("wrong", "match"),
    [({"within": -1.0}, "points of 0 or more"), ({"examples": 0}, "an example"), ({"labels": "x"}, "labels are")],
)
def test_impossible_settings(wrong, match):
    with pytest.raises(UsageError, match=match):
        replace(SMALL, **wrong)
