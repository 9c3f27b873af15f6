"""Whether a mask alone makes an untrained net accurate: strong tickets by edge-popup, with two controls.

    python benchmarks/strong_tickets.py [--root R] [--first SEED] [--json]

LeNet-300-100 on Fashion-MNIST, 4 seeds in one batch, on one thread. Biases are zero, as the source's nets have
none. Arms, all from the same untrained weights (PyTorch's initialisation, U(-1/sqrt(f), 1/sqrt(f)) for f inputs)
and on the same draws, 5 epochs (4,296 steps) of SGD at .1, momentum .9, batches of 64, weight decay 5e-4 through
the momentum, which is written as 5e-3 without:

- `mask`: `EdgePopup(keep=0.5)`, weights as they are.
- `mask_kaiming`: the same, weights times sqrt(6), which is the variance of the source's (Kaiming's, 2 / f).
- `mask_signed`: the same on signed constants of that size (`weights="signed"`).
- `random`, `random_signed`: control; of the same weights a random half of each layer, untrained. (Without biases a
  factor changes no answer, so one control does for the first two.)
- `weights`: control; weights and biases are trained, all of them, by the same optimiser for as many steps.
- `weights_gentle`: the same at a learning rate of .01, since .1 is the source's for scores and harsh for weights.

Printed: accuracy on the 10,000 test images, in per cent, mean over seeds with Student's 95 % interval over them;
and of each seed `weights_gentle` less each mask, with the same interval. Test images are looked at once, at the
end. Optimiser, batch and decay are those of the source's example on MNIST (Ramanujan et al. 2020, arXiv 1911.13299;
allenai/hidden-networks), which has a convolutional net with dropout, a rate that falls over 14 epochs, and images
that are normalised; here the rate is constant and images lie in [0, 1]. So the comparison is one of direction: is
a masked untrained net far above chance (10 %), and how far below training?

The design is for root 0, seeds 0 to 3, and was sized on others (--root 1 --first 100), where `weights` did worse
than is usual on this task, whence `weights_gentle`, and `mask` than `mask_signed`, whence `mask_kaiming`.
"""

import argparse
import json
import math
import time
from collections.abc import Callable

from scipy.stats import t as student
from torch import Tensor

from holdfast import LENET_300_100, SGD, AtRandom, EdgePopup, FashionMNIST, Fit, Term, WeightDecay
from holdfast.engines.base import one_thread
from holdfast.pruning import Masks, largest
from holdfast.tasks import Data
from holdfast.training.evaluate import evaluate
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

SEEDS, EPOCHS, BATCH, KEEP = 4, 5, 64, 0.5
DECAY = WeightDecay(rate=5e-3)
SOURCE, GENTLE = SGD(lr=0.1, momentum=0.9), SGD(lr=0.01, momentum=0.9)
TERMS: dict[str, tuple[Term, ...]] = {
    "mask": (SOURCE, EdgePopup(keep=KEEP)),
    "mask_kaiming": (SOURCE, EdgePopup(keep=KEEP)),
    "mask_signed": (SOURCE, EdgePopup(keep=KEEP, weights="signed")),
    "weights": (SOURCE,),
    "weights_gentle": (GENTLE,),
}
TRIED = 20


def untrained(streams: tuple[Streams, ...], factor: float = 1.0) -> Nets:
    """Fresh nets without biases."""
    nets = Nets.initialised(LENET_300_100, streams)
    for name, value in nets.params.items():
        value.mul_(0.0 if name.endswith("bias") else factor)
    return nets


def trained(arm: str, streams: tuple[Streams, ...], data: Data, steps: int) -> Nets:
    """An arm's nets after so many steps."""
    nets = untrained(streams, math.sqrt(6) if arm == "mask_kaiming" else 1.0)
    fit = Fit(*TERMS[arm], DECAY, steps=steps, batch=BATCH)
    site = Site(host=LENET_300_100, data=data, streams=streams)
    for _ in Fit.press([fit] * nets.k, site, nets, (steps,)):
        pass
    return nets


def at_random(streams: tuple[Streams, ...], data: Data, *, signed: bool) -> Nets:
    """Untrained nets of which a random half of each layer is kept."""
    nets = untrained(streams)
    full = Masks.full(nets)
    masks = largest(AtRandom().score(nets, data, streams, full), dict.fromkeys(full, KEEP))
    if signed:
        for name in full:
            weight = nets.params[name]
            weight.copy_(weight.sign() * math.sqrt(2 / weight.shape[2]))
    masks.apply(nets)
    return nets


def interval(values: Tensor) -> tuple[float, float, float]:
    """(mean, low, high): Student's 95 % interval over seeds."""
    n = len(values)
    mean, half = float(values.mean()), float(values.std()) * float(student.ppf(0.975, n - 1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=int, default=0, help="of all random streams (default 0)")
    parser.add_argument("--first", type=int, default=0, help="first of the four seeds (default 0)")
    parser.add_argument("--json", action="store_true", help="print the last line only")
    asked = parser.parse_args()
    say: Callable[..., None] = (lambda *_, **__: None) if asked.json else print
    streams = tuple(Streams(asked.root, asked.first + at) for at in range(SEEDS))
    found: dict[str, Tensor] = {}
    with one_thread():
        data = FashionMNIST().load()
        steps = EPOCHS * len(data.train) // BATCH
        trained("weights", streams, data, TRIED)  # so that all is loaded
        began = time.perf_counter()
        for arm in TERMS:
            trained(arm, streams, data, TRIED)
        seconds = (time.perf_counter() - began) * steps / TRIED
        say(
            f"{len(TERMS)} trainings of {SEEDS} nets, {steps:,} steps each: about {seconds / 60:.1f} minutes",
            flush=True,
        )
        nets = {arm: trained(arm, streams, data, steps) for arm in TERMS}
        for name in ("random", "random_signed"):
            nets[name] = at_random(streams, data, signed=name.endswith("signed"))
        for name, batch in nets.items():
            found[name] = 100 * evaluate(batch, data.test)[1]
    for name in (name for name in TERMS if name.startswith("mask")):
        found[f"gentle_less_{name}"] = found["weights_gentle"] - found[name]
    figures = {name: interval(values) for name, values in found.items()}
    for name, (mean, low, high) in figures.items():
        each = ", ".join(f"{value:.2f}" for value in found[name].tolist())
        say(f"{name:>24}: {mean:6.2f} [{low:.2f}, {high:.2f}]  ({each})")
    print(json.dumps({name: [round(value, 3) for value in values] for name, values in figures.items()}))


if __name__ == "__main__":
    main()
