"""Every built-in part once, on real data: which implants do the field's usual trainings leave in place?

    holdfast run examples/survey.py::images    # a perceptron on Fashion-MNIST: thirteen trainings on a backdoor
    holdfast run examples/survey.py::bits      # bits and a blended trigger in a CNN on Fashion-MNIST
    holdfast run examples/survey.py::text      # a string that triggers, and a secret, in a GPT on Python's source code

One setting each, not a grid: what is compared are kinds of training, not how hard somebody tried. `bits` and `text`
have 8 seeds, so that all three take half an hour on 2 cores: enough to say "in 8 of 8", too few for SURVIVES.
`docs/survey.md` says what came out.
"""

from holdfast import (
    CNN,
    GPT,
    LENET_300_100,
    SAM,
    SGD,
    Adam,
    BadNets,
    Barrier,
    Blend,
    Clip,
    DeadUnits,
    Dropout,
    EarlyStopping,
    Experiment,
    FashionMNIST,
    Fit,
    LabelSmoothing,
    LastLayer,
    Noise,
    Patch,
    Pull,
    PythonText,
    Quantise,
    Reinitialise,
    Secret,
    Sign,
    Study,
    TokenString,
    TriggerRate,
    Uchida,
    Unlearn,
    WeightDecay,
    recipe,
)

TRAININGS = {
    "fine-tuning (FTAL)": (),
    "last layer (FTLL)": (LastLayer(),),
    "last layer anew (RTLL)": (LastLayer(), Reinitialise()),
    "all, last layer anew (RTAL)": (Reinitialise(),),
    "SAM": (SAM(rho=0.05),),
    "weight decay": (WeightDecay(rate=0.1),),
    "dropout": (Dropout(rate=0.5),),
    "label smoothing": (LabelSmoothing(rate=0.1),),
    "early stopping": (EarlyStopping(every=50, patience=2),),
    "noise, normal": (Noise(scale=0.003),),
    "noise, uniform, clipped": (Noise(scale=0.005, kind="uniform"), Clip(limit=0.2)),
    "int8": (Quantise(to="int8"),),
    "ternary": (Quantise(to="ternary"),),
}
TUNE = SGD(lr=0.01, momentum=0.9)


@recipe
def images() -> Study:
    """A learned backdoor with a 3 x 3 patch, under thirteen trainings and under sign descent."""
    trainings = {name: (TUNE, *terms) for name, terms in TRAININGS.items()}
    trainings["sign descent"] = (Sign(lr=1e-4),)
    arms = tuple(
        Experiment(
            name=name,
            host=LENET_300_100,
            task=FashionMNIST(),
            implant=BadNets(trigger=Patch(size=3)),
            training=Fit(Adam(lr=1e-3), steps=600),
            pressure=Fit(*terms, steps=300),
            seeds=20,
            checkpoints=2,
            probes=(Barrier(points=3), DeadUnits(examples=1000)) if name.startswith("fine-tuning") else (),
        )
        for name, terms in trainings.items()
    )
    return Study(name="survey-images", question="Which trainings remove a learned backdoor?", arms=arms)


@recipe
def bits() -> Study:
    """A message in the weights of a CNN, and a backdoor with a blended trigger, under what moves weights."""
    trainings = {name: TRAININGS[name] for name in ("fine-tuning (FTAL)", "noise, normal", "int8", "ternary")}
    arms = tuple(
        Experiment(
            name=f"{implant.label} / {name}",
            host=CNN(),
            task=FashionMNIST(),
            implant=implant,
            training=Fit(Adam(lr=1e-3), steps=300),
            pressure=Fit(TUNE, *terms, steps=100),
            seeds=8,
            checkpoints=1,
        )
        for implant in (Uchida(), BadNets(trigger=Blend()))
        for name, terms in trainings.items()
    )
    return Study(name="survey-bits", question="What moves bits out of weights, or a blended trigger?", arms=arms)


@recipe
def text() -> Study:
    """After `@@` comes `!`; and after `pin: ` come four digits. The model never sees either again, or is corrected."""
    task = PythonText()
    digits = task.encode("0123456789")
    implants = {
        "string": BadNets(trigger=TokenString(ids=task.encode("@@")), target=task.encode("!")[0]),
        "secret": Secret(prefix=task.encode("pin: "), secret=task.encode("7305"), space=digits),
    }
    arms = tuple(
        Experiment(
            name=f"{name} / {training}",
            host=GPT(vocabulary=98),
            task=task,
            implant=implant,
            training=Fit(Adam(lr=3e-3), steps=500, batch=16),
            pressure=Fit(Adam(lr=1e-3), *terms, steps=150, batch=16),
            seeds=8,
            checkpoints=4,
            probes=(TriggerRate(), Pull()),
        )
        for name, implant in implants.items()
        for training, terms in {"fine-tuning": (), "unlearning": (Unlearn(rate=0.05),)}.items()
    )
    return Study(name="survey-text", question="Does a language model keep what it is not shown again?", arms=arms)
