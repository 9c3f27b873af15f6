"""What many tests stand on: the digits, and a few hosts with and without an implant, trained once."""

import pytest
import torch

from holdfast import MLP, Adam, BadNets, Digits, Fit
from holdfast.engines.base import one_thread
from holdfast.training.site import Site
from holdfast.training.streams import Streams

TRAINING = Fit(Adam(lr=3e-3), steps=400)


@pytest.fixture(autouse=True)
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="session")
def data():
    return Digits().load()


@pytest.fixture
def site_of(data):
    """A site for any implant: `site_of(implant, seeds=4, host=MLP(...))`."""

    def build(implant, seeds=4, host=None, **more):
        streams = tuple(Streams(0, seed) for seed in range(seeds))
        host = host or MLP(widths=(64, 64, 10))
        return Site(host=host, data=data, streams=streams, implant=implant, training=TRAINING, **more)

    return build


@pytest.fixture(scope="session")
def badnets(data):
    """(planted nets, never-planted nets) of BadNets on 4 seeds."""
    streams = tuple(Streams(0, seed) for seed in range(4))
    site = Site(host=MLP(widths=(64, 64, 10)), data=data, streams=streams, implant=BadNets(), training=TRAINING)
    with one_thread():
        return BadNets().plant(site), BadNets().control(site)


def same_bits(left, right):
    """Whether two batches of nets hold the same bits, NaN included."""
    return left.rows.keys() == right.rows.keys() and all(
        torch.equal(row.view(torch.int32), right.rows[n].view(torch.int32)) for n, row in left.rows.items()
    )
