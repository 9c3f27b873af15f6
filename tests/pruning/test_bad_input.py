"""What scores, masks and what trains with them refuse, in sentences."""

import pytest
import torch

from holdfast import ANP, MLP, NAD, SAM, SGD, Adam, Digits, Distil, Fit, HoldfastError, Prune, PruneUnits, UsageError
from holdfast.pruning import SNIP, AtRandom, GraSP, Magnitude, SynFlow, prune
from holdfast.samples import SpareUnits, Students, Tickets
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

FIT = Fit(Adam(lr=0.01), steps=4, batch=32)
SMALL = {"host": MLP(widths=(64, 9, 10)), "task": Digits(), "training": FIT}
STREAMS = (Streams(0, 0), Streams(0, 1))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Magnitude(rounds=0), r"Magnitude needs rounds of 1 or more; got 0"),
        (lambda: AtRandom(rounds=-1), r"AtRandom needs rounds"),
        (lambda: SynFlow(rounds="x"), r"SynFlow's rounds must be a whole number; got 'x'"),
        (lambda: SNIP(examples="x"), r"SNIP's examples must be a whole number"),
        (lambda: SNIP(examples=float("nan")), r"SNIP's examples must be a whole number; got nan"),
        (lambda: SNIP(rounds=2.5), r"SNIP's rounds"),
        (lambda: GraSP(temperature="x"), r"GraSP's temperature must be a number"),
        (lambda: GraSP(temperature=float("nan")), r"temperature above 0; got nan"),
        (lambda: SAM(adaptive="no"), r"True or False; got adaptive='no'"),
        (lambda: Students(teacher=MLP(), settings=Distil(), **SMALL), r"settings=\(Distil\(\.\.\.\), \.\.\.\)"),
        (lambda: Students(teacher=MLP(), settings=("x",), **SMALL), r"one or more; got \('x',\)"),
        (lambda: Students(teacher=MLP(), settings=(Distil(init="noise", alpha=0.5),), **SMALL), r"without init"),
        (lambda: SpareUnits(within=float("nan"), **SMALL), r"points of 0 or more"),
        (lambda: Tickets(**{**SMALL, "training": Prune(keep=0.5, fit=FIT)}), r"Tickets trains by a Fit"),
    ],
)
def test_settings(make, said):
    with pytest.raises(UsageError, match=said):
        make()


def test_a_share_that_is_no_weight_at_all():
    nets = Nets.initialised(SMALL["host"], STREAMS)
    with pytest.raises(UsageError, match=r"To keep 1e-09 of 666 weights is to keep none"):
        prune(nets, Magnitude(), 1e-9, Digits().load(), STREAMS)


@pytest.mark.parametrize(
    "pressure",
    [
        ANP(steps=4),
        PruneUnits(keep=0.5, fit=FIT),
        NAD(fit=FIT, teacher_steps=2),
        Fit(Adam(lr=0.01), Distil(features=1.0), steps=4),
    ],
    ids=lambda p: type(p).__name__,
)
def test_a_host_without_hidden_layers(pressure):
    host = MLP(widths=(64, 10))
    site = Site(host=host, data=Digits().load(), streams=STREAMS)
    nets = Nets.initialised(host, STREAMS)
    with pytest.raises(HoldfastError, match=r"no hidden layer|has none"):
        list(type(pressure).press([pressure] * 2, site, nets, (0, 4)))


@pytest.mark.parametrize("make", [SpareUnits, Tickets, lambda **k: Students(teacher=MLP(widths=(64, 16, 10)), **k)])
def test_nets_that_diverge_have_no_measures(make):
    rounds = {"rounds": 2, "every": 2} if make is Tickets else {}
    sample = make(**{**SMALL, "training": Fit(SGD(lr=1e30), steps=4, batch=32)}, **rounds)
    found = sample.measure(STREAMS[0])
    accuracy = torch.tensor(
        [value for name, value in found.items() if name.endswith("accuracy") or "accuracy/" in name]
    )
    assert len(accuracy)
    assert accuracy.isnan().all()
