"""Every implant, pressure and probe there is. The contracts in `test_contracts.py` run over these lists."""

from holdfast import (
    SGD,
    Adam,
    BadNets,
    Fit,
    Handcrafted,
    Poison,
    Sign,
    Unlearn,
    WeightDecay,
)
from holdfast.probes import Accuracy, Distance, Gradient, Presence

IMPLANTS = [BadNets(), Handcrafted(), Handcrafted(units=3)]
PRESSURES = [
    Fit(SGD(lr=0.1), steps=20),
    Fit(SGD(lr=0.1, momentum=0.9), steps=20),
    Fit(Sign(lr=0.001), steps=20),
    Fit(Adam(lr=0.001), steps=20, batch=50),
    Fit(SGD(lr=0.1, momentum=0.9), WeightDecay(rate=0.1), steps=20),
    Fit(Adam(lr=0.001), Unlearn(rate=0.2), steps=20),
    Fit(Adam(lr=0.001), Poison(rate=0.1), WeightDecay(rate=0.1), steps=20),
]
PROBES = [Accuracy(), Distance(), Gradient(), Presence()]
