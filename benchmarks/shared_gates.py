"""Does a planted circuit outlive training when its gates are the host's own?

    python benchmarks/shared_gates.py           # a table
    python benchmarks/shared_gates.py --json    # the last line only: final presence and its standard error

Host: the vote of `claims/weak_vote.py` on digits as bits. Implant: whether an odd number of three pairs of pixels are
alike, of which 0 to 3 are compared by the host as well. Training on clean data, or with a tenth triggered, with true
labels. The unit is a draw, 20 of them: of which comparisons are the host's, in which order, which other neighbours in a
row are compared, and of the batches.

Printed, as means over draws: gates and units that both need, and the implant alone; in how many draws presence fell
below one half within the budget; the median step of the first such look; and at the end presence (with its standard
error over draws), accuracy, and agreement with the host's own vote on clean inputs. Training product units is chaotic:
another processor, which rounds otherwise, gives other draws.
"""

import argparse
import json
from math import sqrt
from statistics import fmean, median, stdev

import numpy as np

from holdfast import SGD, Adam, BinaryDigits, Circuit, Fit, Logic, Message, Stretch, Unlearn
from holdfast.circuits.compiling import Encoding
from holdfast.claims.weak_vote import PAIRS, vote
from holdfast.engines.base import one_thread
from holdfast.training.site import Site
from holdfast.training.streams import Streams

DRAWS, STEPS, EVERY = 20, 400, 10
TASK = BinaryDigits(constant=(0, 0))
TRAININGS = {
    "SGD .01": Fit(SGD(lr=0.01, momentum=0.9), steps=STEPS),
    "Adam .001": Fit(Adam(lr=1e-3), steps=STEPS),
    "SGD .01, triggered": Fit(SGD(lr=0.01, momentum=0.9), Unlearn(rate=0.1), steps=STEPS),
    "Adam .001, triggered": Fit(Adam(lr=1e-3), Unlearn(rate=0.1), steps=STEPS),
}


def odd(pixels: 6):  # type: ignore[no-untyped-def, valid-type]
    """Whether an odd number of three pairs are alike."""
    a, b, c = (~(pixels[i] ^ pixels[i + 1]) for i in (0, 2, 4))
    return a ^ b ^ c


def drawn(shared: int, draw: int) -> tuple[int, ...]:
    """The pixels that an implant compares, so many pairs of them the host's."""
    generator = Streams(0, draw).generator("pixels")
    others = [(8 * row + column, 8 * row + column + 1) for row in range(8) for column in (2, 4)]
    others = [pair for pair in others if not {*pair} & set(np.ravel(PAIRS).tolist())]
    own = [PAIRS[i] for i in generator.permutation(3)[:shared]]
    more = [others[i] for i in generator.permutation(len(others))[: 3 - shared]]
    pairs = [(own + more)[i] for i in generator.permutation(3)]
    return tuple(pixel for pair in pairs for pixel in pair)


def one(host: Logic, shared: int, training: Fit, draw: int) -> dict[str, float]:
    """One draw's measures."""
    reads, data = drawn(shared, draw), TASK.load()
    implant = Circuit(odd, where="shared", trigger=Stretch(start=64), message=Message(entries=reads))
    site = Site(host=host, data=data, streams=(Streams(0, draw),), implant=implant, backend="loop")
    nets, fell = implant.plant(site), STEPS + 1
    own = nets.classes(data.test.x)
    for point in training.press([training], site.at("pressure"), nets, range(0, STEPS + 1, EVERY)):
        presence = float(implant.presence(point.nets, data.test)["presence"])
        fell = min(fell, point.step) if presence < 0.5 else fell
    found, whole = nets.classes(data.test.x), implant.merged(host, data.train)
    right, kept = (float((found == other).double().mean()) for other in (data.test.y, own))
    counts = {"gates": whole.gates.both, "units": whole.units.both, "alone": whole.units.implant}
    return {**counts, "fell": fell, "presence": presence, "accuracy": right, "host": kept}


def arm(encoding: Encoding, shared: int, training: Fit) -> tuple[str, tuple[float, float]]:
    """One line, and the final presence with its standard error."""
    host = Logic(vote, inputs=TASK.inputs, entries=tuple(np.ravel(PAIRS).tolist()), encoding=encoding)
    each = [one(host, shared, training, draw) for draw in range(DRAWS)]
    mean = {name: fmean(found[name] for found in each) for name in each[0]}
    error = stdev(found["presence"] for found in each) / sqrt(DRAWS)
    steps = [int(found["fell"]) for found in each]
    step = "-" if median(steps) > STEPS else f"{median(steps):.0f}"
    return (
        f"both {mean['gates']:4.1f} gates, {mean['units']:4.1f} units; alone {mean['alone']:4.1f} units | fell in "
        f"{sum(step <= STEPS for step in steps):2d}, median step {step:>4} | presence {mean['presence']:5.2f} +- "
        f"{error:.2f} accuracy {mean['accuracy']:.2f} host {mean['host']:.2f}"
    ), (mean["presence"], error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = {}
    encodings: tuple[Encoding, ...] = ("product", "restoring")
    for encoding in encodings:
        for name, training in TRAININGS.items():
            for shared in range(4):
                line, found = arm(encoding, shared, training)
                figures[f"{encoding}, {name}, {shared} shared"] = [round(value, 3) for value in found]
                if not arguments.json:
                    print(f"{encoding:9} {name:20} {shared} of 3 | {line}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    with one_thread():
        main()
