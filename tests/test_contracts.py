"""Contracts that every part keeps, whatever it does. New parts are added in `parts.py`."""

import copy
import dataclasses
import json
import math

import pytest
import torch

from conftest import same_bits
from foreign import MODELS, made
from holdfast import BadNets, Uchida, UsageError
from holdfast.cells import measured
from holdfast.claims.weak_vote import TASK, protected
from holdfast.engines.base import one_thread
from holdfast.hosts.adopt import Adopted
from holdfast.implants.canaries import Canaries
from holdfast.implants.written import WrittenImplant
from holdfast.parts import Implant, Pressure, Probe, Sample, TrainedSample, parts_of
from holdfast.pressures.base import Checkpoint
from holdfast.probes import Look
from holdfast.settings import digest, settings
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams
from parts import BITS, IMPLANTS, IN_LOGIC, OWN, PRESSURES, PROBES, PROGRAM_PROBES, SAMPLES, TOKEN_PROBES, UNLIKE

ids = repr
EVERY = [UNLIKE, BITS, *IMPLANTS, *IN_LOGIC, *PRESSURES, *OWN, *PROBES, *PROGRAM_PROBES, *TOKEN_PROBES, *SAMPLES]


@pytest.mark.parametrize("part", EVERY, ids=ids)
def test_a_part_is_frozen_hashable_and_plain_json(part):
    again = copy.deepcopy(part)
    assert again is not part
    assert (again, hash(again)) == (part, hash(part))
    stored = settings(part)
    assert json.loads(json.dumps(stored)) == stored
    assert stored["kind"] == type(part).__name__
    for field in dataclasses.fields(part):
        assert field.name in stored, "a field that is not stored is not hashed"
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, field.name, None)


def test_different_parts_have_different_hashes():
    assert len({digest(settings(part)) for part in EVERY}) == len(EVERY)


@pytest.mark.parametrize("implant", IMPLANTS, ids=ids)
def test_an_implant(implant, site_of, data):
    backend = "loop" if isinstance(implant, WrittenImplant | Canaries) else "batched"  # they work on modules
    keeps_its_promises(implant, lambda: site_of(implant, backend=backend), data)


@pytest.mark.parametrize("implant", IN_LOGIC, ids=ids)
def test_an_implant_in_a_circuit(implant):
    data, streams = BITS.load(), tuple(Streams(0, seed) for seed in range(4))
    new = lambda: Site(host=UNLIKE, data=data, streams=streams, implant=implant, backend="loop")
    keeps_its_promises(implant, new, data)


def keeps_its_promises(implant, new_site, data):
    assert isinstance(implant, Implant)
    site = new_site()
    nets, control = implant.plant(site), implant.control(site)
    again = implant.plant(new_site())
    assert same_bits(nets, again), "planting is a function of the seeds"
    assert not same_bits(nets, control)
    before = nets.copy()
    measures, never = implant.presence(nets, data.validation), implant.presence(control, data.validation)
    masks = implant.weights(nets, data.train)
    assert same_bits(nets, before), "measuring changes nothing"
    for ending in parts_of(implant):
        presence = measures[f"presence{ending}"]
        assert presence.shape == (4,)
        assert ((presence > 0.9) & (presence <= 1)).all()
        # Bits that nobody wrote are flips of a coin: four standard deviations.
        chance = 4 / math.sqrt(implant.bits) if isinstance(implant, Uchida) else 0.05
        assert never[f"presence{ending}"].max() < chance
        # Whoever gives none of four answers agrees less than chance does, 1/4 or more.
        assert never[f"presence{ending}"].min() > -(chance if isinstance(implant, Uchida) else 0.4)
    assert {n: m.shape for n, m in masks.items()} == {n: p.shape for n, p in nets.params.items()}
    assert all(sum(int(m[k].sum()) for m in masks.values()) > 0 for k in range(4))
    for x, y in implant.sources(data.train).values():
        assert x.shape == data.train.x.shape
        assert y.shape == data.train.y.shape


@pytest.mark.parametrize("pressure", PRESSURES, ids=ids)
def test_a_pressure(pressure, site_of, badnets, data):
    assert isinstance(pressure, Pressure)
    start = badnets[0]
    runs = []
    for _ in range(2):
        nets = start.copy()
        steps = []
        for point in type(pressure).press([pressure] * 4, site_of(IMPLANTS[0]).at("pressure"), nets, (0, 7, 20)):
            steps.append(point.step)
            assert same_bits(point.previous, start) == (point.step <= 7)
            assert {n: g.shape for n, g in point.gradient().items()} == {n: p.shape for n, p in nets.params.items()}
        assert steps == [0, 7, 20]
        runs.append(nets)
    assert same_bits(*runs), "pressing is a function of the seeds"
    assert not same_bits(runs[0], start)
    assert same_bits(start, badnets[0])


@pytest.mark.parametrize("probe", PROBES, ids=ids)
def test_a_probe(probe, badnets, data):
    assert isinstance(probe, Probe)
    nets = badnets[0].copy()
    point = Checkpoint(0, nets, nets.copy(), lambda: {n: torch.ones_like(p) for n, p in nets.params.items()})
    masks = {name: p > 0 for name, p in nets.params.items()}
    measures = probe(
        Look(
            checkpoint=point,
            start=badnets[0],
            implant=IMPLANTS[0],
            split=data.test,
            train=data.train,
            masks={"": masks},
        )
    )
    assert same_bits(nets, badnets[0]), "looking changes nothing"
    assert measures
    for name, value in measures.items():
        assert value.shape == (4,), name


@pytest.mark.parametrize("probe", PROGRAM_PROBES, ids=ids)
def test_a_probe_of_whole_programs(probe, badnets, data):
    assert isinstance(probe, Probe)
    program, task = protected()["none"], TASK.load()
    streams = tuple(Streams(0, seed) for seed in range(4))
    host = program.host(TASK.inputs, 8)
    nets = program.plant(Site(host=host, data=task, streams=streams, implant=program))
    before = nets.copy()
    measures = probe(Look.at_start(nets, program, task.test))
    assert same_bits(nets, before), "looking changes nothing"
    assert {name: value.shape for name, value in measures.items()} == dict.fromkeys(measures, (4,))
    with pytest.raises(UsageError, match="got BadNets"):
        probe(Look.at_start(badnets[0], IMPLANTS[0], data.test))


@pytest.mark.parametrize("probe", TOKEN_PROBES, ids=ids)
def test_a_probe_of_next_tokens(probe):
    assert isinstance(probe, Probe)
    tied = MODELS["tied"]
    nets = Nets.of(Adopted(make=tied.make), [made(tied.make, seed) for seed in range(3)], backend="loop")
    before = nets.copy()
    measures = probe(Look.at_start(nets, BadNets(), tied.loaded().test))
    assert same_bits(nets, before), "looking changes nothing"
    assert measures
    for name, value in measures.items():
        assert value.shape == (3,), name


@pytest.mark.parametrize("sample", SAMPLES, ids=ids)
def test_a_sample(sample):
    assert isinstance(sample, Sample)
    silent = lambda _: None
    with one_thread():
        found, again, other = (measured(sample, [Streams(0, seed)], Slot(), silent)[0] for seed in (1, 1, 2))
        if isinstance(sample, TrainedSample):
            both = measured(sample, [Streams(0, seed) for seed in (2, 1)], Slot(), silent)
            assert repr(both) == repr([other, found]), "and of nothing that trains beside"
            assert measured(sample.shortened(), [Streams(0, 1)], Slot(), silent)[0].keys() <= found.keys()
            assert sample.steps > sample.shortened().steps
    assert repr(found) == repr(again), "measuring is a function of the streams"
    assert found != other, "seeds draw anew"
    assert found.keys() == other.keys()
