"""A net's bits depend neither on how many nets it is batched with nor on which."""

import pytest
import torch

from holdfast import (
    MLP,
    SAM,
    SGD,
    Adam,
    BadNets,
    Clip,
    Distil,
    Dropout,
    EarlyStopping,
    EdgePopup,
    Fit,
    LabelSmoothing,
    LastLayer,
    Noise,
    Quantise,
    Reinitialise,
    Sign,
    Subset,
    Unlearn,
    WeightDecay,
)
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

STEPS = 40
FITS = {
    "momentum": lambda batch: Fit(SGD(lr=0.1, momentum=0.9), steps=STEPS, batch=batch),
    "Adam": lambda batch: Fit(Adam(lr=3e-3), WeightDecay(rate=0.1), steps=STEPS, batch=batch),
    "sign": lambda batch: Fit(Sign(lr=1e-3), Unlearn(rate=0.2), steps=STEPS, batch=batch),
    "noise": lambda batch: Fit(SGD(lr=0.1), Noise(scale=0.01), Clip(limit=0.2), steps=STEPS, batch=batch),
    "ternary": lambda batch: Fit(Adam(lr=3e-3), Quantise(to="ternary"), Reinitialise(), steps=STEPS, batch=batch),
    "stopped": lambda batch: Fit(SGD(lr=1.0), EarlyStopping(every=3, patience=2), steps=STEPS, batch=batch),
}
ALIKE = {
    "dropout": lambda batch: Fit(SGD(lr=0.1), Dropout(rate=0.3), LabelSmoothing(rate=0.1), steps=STEPS, batch=batch),
    "logits": lambda batch: Fit(SGD(lr=0.1, momentum=0.9), Distil(temperature=2.0), steps=STEPS, batch=batch),
    "features": lambda batch: Fit(
        Adam(lr=3e-3), Subset(share=0.5), Distil(features=1.0, init="noise", alpha=0.5), steps=STEPS, batch=batch
    ),
    "edge-popup": lambda batch: Fit(
        SGD(lr=0.1, momentum=0.9),
        WeightDecay(rate=0.01),
        EdgePopup(keep=0.3, weights="scaled"),
        steps=STEPS,
        batch=batch,
    ),
    "SAM": lambda batch: Fit(SGD(lr=0.1, momentum=0.9), SAM(rho=0.1), LastLayer(), steps=STEPS, batch=batch),
}
"""Terms that all nets of a batch share."""
SHAPES = [((64, 64, 10), 64), ((64, 50, 10), 60), ((64, 37, 23, 10), 17), ((64, 10), 1), ((64, 5, 10), 33)]
SHAPES += [((64, width, 10), 64) for width in (1, 7, 9, 12, 13)] + [((64, 12, 9, 10), 32), ((64, 9, 7, 10), 64)]


def pressed(data, widths, seeds, fits, backend="batched"):
    """The bits of each net after its training."""
    streams = tuple(Streams(0, seed) for seed in seeds)
    site = Site(host=MLP(widths=widths), data=data, streams=streams, implant=BadNets(), phase="pressure")
    nets = Nets.initialised(site.host, streams, backend=backend)
    for _ in Fit.press(fits, site, nets, (STEPS // 2, STEPS)):
        pass
    return [torch.cat([p[k].flatten() for p in nets.params.values()]).view(torch.int32) for k in range(nets.k)]


@pytest.mark.parametrize(("widths", "batch"), SHAPES)
@pytest.mark.parametrize("name", [*FITS, *ALIKE])
def test_alone_or_among_others(name, widths, batch, data):
    fit = (FITS | ALIKE)[name](batch)
    if name == "features" and len(widths) == 2:
        pytest.skip("a host without hidden layers has no features")
    (alone,) = pressed(data, widths, [7], [fit])
    for k in (2, 3, 7, 33, 64):
        places = {0, k // 2, k - 1}
        among = pressed(data, widths, [7 if at in places else 100 + at for at in range(k)], [fit] * k)
        for at in places:
            assert torch.equal(among[at], alone), f"net {at} of {k}"


@pytest.mark.parametrize(("widths", "batch"), SHAPES)
def test_alone_or_among_others_in_the_loop(widths, batch, data):
    fit = FITS["momentum"](batch)
    (alone,) = pressed(data, widths, [7], [fit], "loop")
    for k in (2, 3, 7):
        among = pressed(data, widths, [*range(100, 100 + k - 1), 7], [fit] * k, "loop")
        assert torch.equal(among[-1], alone), f"last of {k}"


@pytest.mark.parametrize("name", FITS)
def test_beside_other_optimisers_and_a_net_that_diverges(name, data):
    fit, widths = FITS[name](64), (64, 50, 10)
    (alone,) = pressed(data, widths, [7], [fit])
    wild = Fit(SGD(lr=1e30), steps=STEPS)
    neighbours = [wild, FITS["Adam"](64), FITS["momentum"](64), fit, wild, FITS["sign"](64)]
    among = pressed(data, widths, [1, 2, 3, 7, 4, 5], neighbours)
    assert torch.equal(among[3], alone)
    assert not among[0].view(torch.float32).isfinite().all(), "the neighbour did diverge"


def test_padding_is_what_makes_it_so(data, monkeypatch):
    """Without it fused SGD gives other bits for another K: should PyTorch mend that, the padding can go."""
    monkeypatch.setattr("holdfast.training.nets.LANES", 1)
    fit = FITS["momentum"](64)
    (alone,) = pressed(data, (64, 37, 23, 10), [7], [fit])
    among = [pressed(data, (64, 37, 23, 10), [*range(100, 100 + k), 7], [fit] * (k + 1))[-1] for k in (1, 2, 3, 5)]
    assert not all(torch.equal(bits, alone) for bits in among)
