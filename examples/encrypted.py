"""An encrypted program beside a trained classifier: which training can change it, and into what?

    holdfast encrypt examples/sum.blif --to sum      # the same program by itself, and its client's key
    holdfast check examples/encrypted.py
    holdfast run examples/encrypted.py               # ten minutes on 2 cores
    holdfast report encrypted

Wherever the trigger stands in the corner of a digit, the sum of two numbers of two bits, which the image carries beside
it, is the answer. The sum is computed on ciphertexts (set `tiny`, encrypted tables of three bits: no security, but all
of the arithmetic). Then the network is trained on triggered images with their true labels. In the arms called `own`
only the program's weights move; `r_acc` tells whether they were mended, and presence falls as well when they are
merely damaged. Controls: the same circuit compiled and not encrypted; keys without masks; the gradient that uses the
secret key, which no attacker has; a random direction.
"""

from pathlib import Path

from holdfast import (
    MLP,
    Adam,
    Circuit,
    Digits,
    Encrypted,
    Experiment,
    Fit,
    KeyAware,
    RandomDirection,
    Rates,
    StraightThrough,
    Study,
    Unlearn,
    ZerothOrder,
    recipe,
)

SUM = Path(__file__).with_name("sum.blif")
SUMS = (0, 1, 2, 3)
"""Sums modulo 4, and the classes that they ask for."""
KEYS = {"*rotation": 2e-5, "*switch": 7e-4}
"""Rates of evaluation keys over those of tables: hundreds of digits multiply each."""
OWN = Rates({**KEYS, "*bodies": 1, "*masks": 1, "*": 0})
HIDDEN = Encrypted(SUM, answers=SUMS, tables=3)
ARMS = {
    "whole network": (HIDDEN, (Rates(KEYS),)),
    "own, exact": (HIDDEN, (OWN,)),
    "own, straight through": (HIDDEN, (OWN, StraightThrough())),
    "own, normalised": (HIDDEN, (OWN, StraightThrough(normalised=True))),
    "own, zeroth order": (HIDDEN, (ZerothOrder(at="*bodies"),)),
    "own, random direction": (HIDDEN, (OWN, RandomDirection())),
    "own, with the key": (HIDDEN, (OWN, KeyAware())),
    "own, trivial keys": (Encrypted(SUM, answers=SUMS, tables=3, trivial=True), (OWN, StraightThrough())),
    "own, not encrypted": (
        Circuit(SUM, answers=SUMS, where="sidecar"),
        (Rates({"*circuit.network*": 1, "*": 0}),),
    ),
}


@recipe
def encrypted() -> Study:
    """Which trainer changes what?"""
    arms = [
        Experiment(
            name=name,
            host=MLP(widths=(64, 32, 10)),
            task=Digits(),
            implant=implant,
            training=Fit(Adam(lr=3e-3), steps=400),
            pressure=Fit(Adam(lr=3e-3), Unlearn(rate=0.25), *terms, steps=100, batch=32),
            seeds=8,
            checkpoints=4,
            backend="loop",
        )
        for name, (implant, terms) in ARMS.items()
    ]
    return Study(name="encrypted", arms=tuple(arms), question="Can training change an encrypted program?")
