"""Which removal method of the field leaves which backdoor alive, and what pruning takes first.

    holdfast check examples/removal.py
    holdfast run examples/removal.py         # a few minutes on 2 cores
    holdfast report removal

A learned backdoor and a handcrafted one, in a perceptron on digits, under eight methods and two controls, one setting
each, as published where a perceptron takes it (I-BAU with a limit on its perturbation, without which it wrecks so small
a host). The page shows of each arm where the implant's weights stand by size, and which units the loss would miss.
"""

from holdfast import (
    ANP,
    IBAU,
    MLP,
    NAD,
    SAM,
    SGD,
    Adam,
    AtRandom,
    BadNets,
    Digits,
    Distil,
    Experiment,
    FinePruning,
    Fit,
    Handcrafted,
    LabelSmoothing,
    Prune,
    SpareMap,
    Study,
    Subset,
    WeightDecay,
    recipe,
)
from holdfast.parts import Implant, Pressure

IMPLANTS: dict[str, Implant] = {"BadNets": BadNets(), "handcrafted": Handcrafted()}
TUNING = Fit(SGD(lr=0.01, momentum=0.9), WeightDecay(rate=5e-3), steps=1000, batch=256)
FT_SAM = Fit(
    SGD(lr=0.01, momentum=0.9),
    SAM(rho=2.0, adaptive=True),
    LabelSmoothing(rate=0.1),
    WeightDecay(rate=5e-3),
    steps=1000,
    batch=256,
)
FEW = Fit(SGD(lr=0.01, momentum=0.9), WeightDecay(rate=1e-4), Subset(share=0.05), steps=780, batch=32)
"""NAD's twentieth of the data is 53 digits: fewer than a published batch."""
METHODS: dict[str, Pressure] = {
    "fine-tuning": TUNING,
    "fine-tuning, 4,000 steps": Fit(*TUNING.terms, steps=4000, batch=256),
    "magnitude pruning": Prune(keep=0.1, rounds=4, fit=TUNING),
    "random pruning": Prune(score=AtRandom(), keep=0.1, rounds=4, fit=TUNING),
    "fine-pruning": FinePruning(fit=TUNING),
    "NAD": NAD(fit=FEW),
    "ANP": ANP(),
    "I-BAU": IBAU(radius=1.0),
    "FT-SAM": FT_SAM,
    "distillation": Fit(Adam(lr=3e-3), Distil(), steps=1000),
}


@recipe
def removal() -> Study:
    """Eight methods and what pruning is held against: as many steps, and weights at random; two backdoors."""
    arms = [
        Experiment(
            name=f"{implant} / {method}",
            host=MLP(widths=(64, 64, 10)),
            task=Digits(),
            implant=IMPLANTS[implant],
            training=Fit(Adam(lr=3e-3), steps=600),
            pressure=pressure,
            seeds=20,
            checkpoints=8,
            probes=(SpareMap(),),
            wreck_at_end=True,
        )
        for implant in IMPLANTS
        for method, pressure in METHODS.items()
    ]
    return Study(name="removal", arms=tuple(arms), question="Which removal method leaves which backdoor alive?")
