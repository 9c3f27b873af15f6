"""Every implant, pressure, probe and sample there is. The contracts in `test_contracts.py` run over these lists."""

from holdfast import (
    ANP,
    IBAU,
    MLP,
    NAD,
    SAM,
    SGD,
    SNIP,
    Adam,
    Agreement,
    AtRandom,
    BadNets,
    Barrier,
    Beside,
    BinaryDigits,
    Blend,
    Chip,
    Circuit,
    Clip,
    Confined,
    DeadUnits,
    Digits,
    Distil,
    Dropout,
    EarlyStopping,
    EdgePopup,
    Encrypted,
    Exposure,
    FinePruning,
    Fit,
    Generations,
    GraSP,
    Handcrafted,
    Head,
    Inject,
    KeyAware,
    LabelSmoothing,
    LastLayer,
    Logic,
    Loss,
    MeanActivation,
    Message,
    Noise,
    OnlyUnits,
    Overlap,
    Patch,
    Poison,
    Prune,
    PruneUnits,
    Pull,
    Quantise,
    RandomDirection,
    Rates,
    Reinitialise,
    Sign,
    SpareMap,
    StraightThrough,
    Stretch,
    Subset,
    SynFlow,
    TriggerRate,
    Uchida,
    UnitNoise,
    Unlearn,
    Unmoved,
    WeightDecay,
    ZerothOrder,
)
from holdfast.implants.canaries import Canaries
from holdfast.pressures.own import Own
from holdfast.probes import Accuracy, Collapse, Distance, Gradient, Presence
from holdfast.samples import Bypass, Capacity, Memory, Repair, SpareUnits, Students, Tickets, Tolerance

CORNER = Patch(size=2, row=0, column=0)


def decoder(word=3):
    """A circuit of one level: each word asks for the class of its number."""
    return word


IMPLANTS = [
    BadNets(),
    BadNets(trigger=Blend()),
    Handcrafted(),
    Handcrafted(units=3),
    Head(),
    Head(where="new"),
    Beside(),
    Confined(to="ticket", units=20, poison_ratio=0.2),
    Confined(to="new", units=20, poison_ratio=0.2),
    Overlap(),
    Overlap(share=0.5),
    Circuit(decoder),
    Circuit(decoder, where="new", encoding="restoring"),
    Circuit(decoder, where="sidecar", copies=3),
    Encrypted(decoder, tables=2),
    Chip(),
    Uchida(),
    Uchida(bits=64, layer="0", key=1, strength=1.0),
    Canaries((BadNets(), Beside(trigger=CORNER, target=1))),
    Canaries((BadNets(), Circuit(decoder, where="sidecar", trigger=CORNER))),
    Canaries((Head(), Circuit(decoder, where="new", trigger=CORNER))),
]
BITS = BinaryDigits(constant=(0, 0))


def unlike(pixels=2):
    """Whether two pixels differ."""
    return pixels[0] ^ pixels[1]


UNLIKE = Logic(unlike, inputs=BITS.inputs, entries=(28, 29))
IN_LOGIC = [
    Circuit(function, where="shared", trigger=Stretch(start=64), message=Message(entries=entries))
    for function, entries in ((unlike, (20, 21)), (lambda a=2, b=1: a[0] ^ a[1] ^ b, (28, 29, 20)))
]
"""Implants in a host that is a circuit, `UNLIKE` on `BITS`."""
SHORT = Fit(SGD(lr=0.1), steps=10)
PRESSURES = [
    Fit(SGD(lr=0.1), steps=20),
    Fit(SGD(lr=0.1, momentum=0.9), steps=20),
    Fit(Sign(lr=0.001), steps=20),
    Fit(Adam(lr=0.001), steps=20, batch=50),
    Fit(SGD(lr=0.1, momentum=0.9), WeightDecay(rate=0.1), steps=20),
    Fit(Adam(lr=0.001), Unlearn(rate=0.2), steps=20),
    Fit(Adam(lr=0.001), Inject(rate=0.2, weight=2.0), steps=20),
    Fit(Adam(lr=0.001), Poison(rate=0.1), WeightDecay(rate=0.1), steps=20),
    Fit(SGD(lr=0.1), Noise(scale=0.01), steps=20),
    Fit(SGD(lr=0.1), Noise(scale=0.01, kind="uniform"), Clip(limit=0.3), steps=20),
    Fit(Adam(lr=0.001), Quantise(), steps=20),
    Fit(Adam(lr=0.001), Quantise(to="ternary"), steps=20),
    Fit(SGD(lr=0.1, momentum=0.9), EdgePopup(), WeightDecay(rate=0.005), steps=20),
    Fit(Adam(lr=0.01), EdgePopup(keep=0.3, weights="scaled"), Unlearn(rate=0.2), steps=20),
    Fit(Adam(lr=0.001), Dropout(rate=0.2), LabelSmoothing(rate=0.1), steps=20),
    Fit(SGD(lr=0.1), SAM(rho=0.1), steps=20),
    Fit(SGD(lr=0.1), UnitNoise(width=0.5), steps=20),
    Fit(SGD(lr=0.1), LastLayer(), steps=20),
    Fit(SGD(lr=0.1), OnlyUnits(units=(0, 3)), steps=20),
    Fit(Adam(lr=0.001), OnlyUnits(units=tuple(range(32)), alone=True), steps=20),
    Fit(SGD(lr=0.1), LastLayer(), Reinitialise(), steps=20),
    Fit(SGD(lr=0.1), EarlyStopping(every=2, patience=1), steps=20),
    Fit(Adam(lr=0.001), Subset(share=0.1), steps=20),
    Fit(Adam(lr=0.001), Distil(), steps=20),
    Fit(Adam(lr=0.001), Distil(init="same", temperature=1.0, weight=1.0), steps=20),
    Fit(Adam(lr=0.001), Distil(init="teacher", weight=0.5, features=1.0), steps=20),
    Fit(Adam(lr=0.001), Distil(init="noise", alpha=0.6), LabelSmoothing(rate=0.1), steps=20),
    NAD(fit=Fit(SGD(lr=0.01, momentum=0.9), Subset(share=0.1), steps=20), teacher_steps=10),
    Generations(fit=Fit(Adam(lr=0.001), Distil(), steps=6), count=3),
    Fit(SGD(lr=0.1), SAM(rho=2.0, adaptive=True), steps=20),
    Fit(Adam(lr=0.001), Rates({"0.*": 0.5}), StraightThrough(), steps=20),
    Fit(SGD(lr=0.1), RandomDirection(), steps=20),
    Fit(SGD(lr=0.1), ZerothOrder(pairs=2), steps=20),
    Prune(keep=0.5, rounds=2, fit=SHORT),
    Prune(score=SNIP(), keep=0.1, rounds=2, fit=Fit(Adam(lr=0.001), EarlyStopping(every=2, patience=1), steps=10)),
    Prune(score=GraSP(), keep=0.3, fit=SHORT),
    Prune(score=SynFlow(), keep=0.2, rounds=2, fit=SHORT),
    Prune(score=AtRandom(), keep=0.2, rounds=4, fit=SHORT),
    PruneUnits(keep=0.4, rounds=2, fit=SHORT),
    PruneUnits(score=MeanActivation(), keep=0.4, rounds=2, fit=SHORT),
    FinePruning(fit=SHORT),
    ANP(steps=20, threshold=0.99),
    ANP(steps=20, threshold=0.99, lr=1.0, eps=0.5, ascents=3, alpha=0.5, batch=50),
    IBAU(rounds=4, batches=5),
    IBAU(rounds=2, batches=10, batch=50, portion=0.2, iterations=2, optimiser=SGD(lr=0.01, momentum=0.9)),
]
OWN = [Own(train=print), Own(train=print, calls=2, max_steps=7)]
"""A training of somebody else's: one net at a time, and looks where it likes, so it has tests of its own."""
PROBES = [
    Accuracy(),
    Agreement(),
    Agreement(seed=1),
    Barrier(),
    Barrier(points=3),
    DeadUnits(),
    DeadUnits(examples=20),
    Distance(),
    Gradient(),
    Loss(),
    Presence(),
    Pull(),
    SpareMap(),
    SpareMap(keep=0.5, examples=20),
    TriggerRate(),
    Unmoved(),
]
TOKEN_PROBES = [
    Exposure(prefix=(1, 2), secret=(3, 4, 5), space=tuple(range(10))),
    Exposure(prefix=(1,), secret=(3, 4), space=((3, 4), (4, 5, 6)), name="pair", exact_up_to=5),
]
"""Those that ask for the next token."""
PROGRAM_PROBES = [Collapse()]
"""Those that ask an implant that is the whole net."""
SMALL = Memory(neurons=8, layers=3)
SAMPLES = [
    Bypass(n=2, reads="periodic", steps=200),
    Bypass(protection="plain", reads="cos/sin", inputs=2, steps=100),
    Capacity(memory=SMALL, messages=40),
    Capacity(memory=SMALL, messages=40, most=4),
    Tolerance(memory=SMALL, levels=3, messages=40, weights=5),
    Tolerance(memory=SMALL, levels=3, messages=40, weights=5, own=True),
    Repair(steps=3),
    Repair(sharing="shared", after=2, trainer=KeyAware(), trained="all", steps=2),
    Repair(trainer=ZerothOrder(pairs=2), inputs=2, loss="ciphertext", steps=2, protection="trivial"),
    SpareUnits(host=MLP(widths=(64, 9, 10)), task=Digits(), training=Fit(Adam(lr=0.01), steps=60, batch=60)),
    Students(
        teacher=MLP(widths=(64, 16, 10)),
        host=MLP(widths=(64, 9, 10)),
        task=Digits(),
        training=Fit(Adam(lr=0.01), steps=20, batch=60),
    ),
    Tickets(
        host=MLP(widths=(64, 9, 10)), task=Digits(), training=Fit(Adam(lr=0.01), steps=8, batch=60), rounds=3, every=4
    ),
]
