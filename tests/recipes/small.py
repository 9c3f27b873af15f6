"""A study that is small enough to be run many times, and has everything: a grid, controls, a comparison."""

import holdfast
from holdfast import MLP, SGD, Adam, BadNets, Digits, Experiment, Fit, Handcrafted, Poison, Study, Unlearn


@holdfast.recipe
def small() -> Study:
    arms = tuple(
        Experiment(
            host=MLP(widths=(64, 24, 10)),
            task=Digits(),
            implant=implant,
            training=Fit(Adam(lr=0.01), steps=150),
            pressure=tuple(Fit(SGD(lr=lr, momentum=0.9), Unlearn(rate=0.5), steps=100) for lr in (1e-5, 0.05)),
            reactivation=Fit(SGD(lr=0.05, momentum=0.9), Poison(rate=0.1), steps=6),
            seeds=20,
            checkpoints=5,
        )
        for implant in (BadNets(), Handcrafted())
    )
    names = [Study.arm_name(arm) for arm in arms]
    return Study(name="small", question="Does unlearning remove it?", arms=arms, compare=((names[0], names[1]),))
