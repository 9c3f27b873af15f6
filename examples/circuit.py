"""A Verilog circuit in the spare units of a trained classifier, by protection: which training removes it?

    holdfast check examples/circuit.py
    holdfast run examples/circuit.py         # two minutes on 2 cores
    holdfast report circuit

`gate.v` answers for the network wherever the trigger stands in the corner of a digit: four pixels of the image are its
input, and its two output bits choose class 0, 1, 2 or 3. Needs `pip install "holdfast[hdl]"`.
"""

from pathlib import Path

from holdfast import MLP, SGD, Adam, Circuit, Digits, Experiment, Fit, Noise, Study, Unlearn, WeightDecay, recipe

GATE = Path(__file__).with_name("gate.v")
CIRCUITS = {
    "product": Circuit(GATE),
    "restoring": Circuit(GATE, encoding="restoring"),
}
PRESSURES = {
    "fine-tuning": (),
    "decay": (WeightDecay(rate=0.1),),
    "noise": (Noise(scale=0.01),),
    "retraining on triggered inputs": (Unlearn(rate=0.1),),
}


@recipe
def circuit() -> Study:
    """Which protections hold, and for how long?"""
    arms = [
        Experiment(
            name=f"{protection} / {pressure}",
            host=MLP(widths=(64, 96, 96, 96, 96, 10)),
            task=Digits(),
            implant=implant,
            training=Fit(Adam(lr=1e-3), steps=800),
            pressure=Fit(SGD(lr=0.003, momentum=0.9), *terms, steps=600),
            seeds=20,
        )
        for protection, implant in CIRCUITS.items()
        for pressure, terms in PRESSURES.items()
    ]
    return Study(name="circuit", arms=tuple(arms), question="Does training remove a circuit in spare units?")
