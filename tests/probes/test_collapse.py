"""Sizes of changes, and what brings a program down."""

from dataclasses import replace

import pytest
import torch

from holdfast.claims.weak_vote import TASK, protected
from holdfast.implants.predictor import MARGIN
from holdfast.pressures import Adam, Checkpoint, Fit
from holdfast.probes import Collapse, Look
from holdfast.probes.collapse import KINDS, SIZES, collapse
from holdfast.training.site import Site
from holdfast.training.streams import Streams

PROGRAM = protected()["none"]
DATA = TASK.load()


@pytest.fixture
def site():
    streams = tuple(Streams(0, seed) for seed in range(4))
    return Site(host=PROGRAM.host(TASK.inputs, 8), data=DATA, streams=streams, implant=PROGRAM)


def look_of(site, nets, step=0):
    point = next(Fit.press([Fit(Adam(lr=1e-3), steps=1)] * nets.k, site, nets, (0, 1)))
    point = Checkpoint(step, nets, nets, point.gradient)
    masks = {"": PROGRAM.weights(nets, DATA.train)}
    return Look(checkpoint=point, start=nets, implant=PROGRAM, split=DATA.test, train=DATA.train, masks=masks)


def still(nets):
    """A direction that changes nothing."""
    return {name: torch.zeros_like(p) for name, p in nets.params.items()}


def test_the_size_is_what_the_change_does_to_sums(site):
    nets = PROGRAM.plant(site)
    way = still(nets)
    way["0.bias"][:, 0] = 3.0
    assert (MARGIN * PROGRAM.added(nets, way, DATA.test)).tolist() == pytest.approx([3.0] * 4)
    way["0.bias"][:, 1] = 4.0
    assert (MARGIN * PROGRAM.added(nets, way, DATA.test)).tolist() == pytest.approx([(12.5) ** 0.5] * 4)
    way = still(nets)
    way["0.weight"][:, 0, 28] = 1.0
    lit = DATA.test.x[:, 28].double().mean().item()
    assert (MARGIN * PROGRAM.added(nets, way, DATA.test)).tolist() == pytest.approx([lit**0.5] * 4)


def test_the_answers_unit_down_by_its_height_is_the_end_and_sizes_do_not_depend_on_the_directions_length(site):
    """All units of the last level pushed down: at 1/4 of a margin nothing happens, in the end the answer is gone."""
    nets = PROGRAM.plant(site)
    way = still(nets)
    way["2.bias"][:, : PROGRAM.units[1]] = -1.0
    found = collapse(PROGRAM, nets, way, DATA.test)
    assert (found > 0.5).all()
    assert (found <= 16).all()
    longer = {name: 100 * u for name, u in way.items()}
    assert torch.equal(collapse(PROGRAM, nets, longer, DATA.test), found)
    size = float(found[0])
    changed = nets.copy()
    changed.params["2.bias"][:, : PROGRAM.units[1]] -= size * MARGIN
    right = (changed.classes(DATA.test.x) == DATA.test.y).double().mean(1)
    assert (right < 0.535).all()


def test_a_direction_that_changes_nothing_has_no_size(site):
    nets = PROGRAM.plant(site)
    assert collapse(PROGRAM, nets, still(nets), DATA.test).isnan().all()
    way = still(nets)
    way["0.bias"][:, -1] = 1.0  # a unit of the way round, which nobody hears
    assert (collapse(PROGRAM, nets, way, DATA.test) == SIZES[-1]).all()


def test_each_net_has_its_own_directions_and_the_same_ones_each_time(site):
    nets = PROGRAM.plant(site)
    first, again = Collapse()(look_of(site, nets)), Collapse()(look_of(site, nets))
    assert set(first) == {f"collapse_{kind}" for kind in KINDS}
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(((value >= SIZES[0]) & (value <= SIZES[-1])).all() for value in first.values())
    one = Collapse()(look_of(replace(site, streams=site.streams[2:3]), nets.take([2])))
    assert float(one["collapse_random"][0]) == float(first["collapse_random"][2]), "whatever is in the batch with it"


def test_undefined_later_and_in_controls(site):
    nets = PROGRAM.plant(site)
    assert all(value.isnan().all() for value in Collapse()(look_of(site, nets, step=5)).values())
    look = look_of(site, nets)
    masks = {"": {name: mask & False for name, mask in look.masks[""].items()}}
    look = Look(look.checkpoint, nets, PROGRAM, DATA.test, DATA.train, masks)
    assert all(value.isnan().all() for value in Collapse()(look).values())
