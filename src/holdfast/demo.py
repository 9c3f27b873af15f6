"""The study that `holdfast demo` runs. Copy it as a start for your own: `holdfast run FILE::demo`."""

from itertools import permutations

from holdfast import (
    MLP,
    SGD,
    Adam,
    BadNets,
    Digits,
    Experiment,
    Fit,
    Handcrafted,
    Poison,
    Study,
    Unlearn,
    WeightDecay,
    attackers,
    recipe,
)

IMPLANTS = (BadNets(), Handcrafted())
LABELS = tuple(implant.label for implant in IMPLANTS)
PRESSURES: dict[str, tuple[WeightDecay | Unlearn, ...]] = {
    "fine-tuning": (),
    "weight decay": (WeightDecay(rate=0.01),),
    "unlearning": (Unlearn(rate=0.1),),
}


@recipe
def demo() -> Study:
    """Two backdoors in a digit classifier, learned and handcrafted, under three pressures."""
    arms = tuple(
        Experiment(
            name=f"{implant.label} / {name}",
            host=MLP(widths=(64, 64, 10)),
            task=Digits(),
            implant=implant,
            training=Fit(Adam(lr=3e-3), steps=600, batch=64),
            pressure=attackers(*terms, steps=1000, batch=64),
            reactivation=Fit(SGD(lr=0.05, momentum=0.9), Poison(rate=0.1), steps=40, batch=64),
        )
        for implant in IMPLANTS
        for name, terms in PRESSURES.items()
    )
    return Study(
        name="demo",
        question="Does further training remove a backdoor from a digit classifier?",
        arms=arms,
        compare=tuple((f"{a} / {name}", f"{b} / {name}") for name in PRESSURES for a, b in permutations(LABELS, 2)),
    )
