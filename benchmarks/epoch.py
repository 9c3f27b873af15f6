"""How fast the larger hosts train: time an epoch and a net-step against plain PyTorch loops, as ratios from one run.

    python benchmarks/epoch.py [--json] [--repeats N]

Everything runs on one thread with the data in memory as tensors (random ones of the right shapes: speed does not depend
on what is learned). Ours is the production path, `Fit` with its draws. Times are the process's CPU seconds, which on
one thread are nearly the seconds of an idle machine, whoever else is using this one. The sides take turns, a twelfth of
an epoch each, since a machine's speed drifts. The baseline is the plain loop with the smallest median, and each figure
the median over epochs of its time a net over ours.

- `epoch_k1`: an epoch of LeNet-300-100 on 60,000 images of 28 x 28 (Fashion-MNIST's size) in batches of 128, with Adam;
  K = 1. The plain loop indexes a permutation of the tensors, runs `nn.Sequential` and `F.cross_entropy`, sets gradients
  to None and steps `torch.optim.Adam`: the fastest of `fused=True`, `foreach=True` and the default.
- `epoch_k4`: the same, a net, at K = 4, against the same loops (one net after the other is the same loop four times).
- `gpt_k8`: a net-step (one optimiser step of one net, its batch drawn) of `GPT` with 2 layers of 64, 4 heads, 100
  tokens and batches of 16 sequences of 64 tokens, with Adam; K = 8. The plain loop trains the module that `GPT.build`
  gives, whose attention is `F.scaled_dot_product_attention`, with the same three forms of `torch.optim.Adam`; one net
  by itself, which suits the caches best.

The table shows the same epoch with SGD, and what share of ours the matrix products alone would take.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast import GPT, LENET_300_100, SGD, Adam, BadNets, Fit
from holdfast.engines.base import one_thread
from holdfast.parts import Host
from holdfast.pressures.optimisers import Optimiser
from holdfast.tasks import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

Side = Callable[[], Iterator[None]]
"""Takes its steps with every net, and pauses after each part of them."""
Make = Callable[[nn.Module], torch.optim.Optimizer]

IMAGES, BATCH = 60_000, 128
TOKENS, LENGTH, SEQUENCES, GPT_STEPS = 100, 64, 16, 24
PARTS = 12


def ours(host: Host, data: Data, k: int, batch: int, steps: int, optimiser: Optimiser) -> Side:
    """The production path."""
    streams = tuple(Streams(0, seed) for seed in range(k))
    site = Site(host=host, data=data, streams=streams, implant=BadNets())
    nets = Nets.initialised(host, streams)
    fits = [Fit(optimiser, steps=steps, batch=batch)] * k

    def run() -> Iterator[None]:
        for _ in Fit.press(fits, site, nets, [steps * part // PARTS for part in range(1, PARTS + 1)]):
            yield

    return run


def loop(net: nn.Module, data: Data, batch: int, steps: int, make: Make) -> Side:
    """One plain network."""
    x, y, optimiser = data.train.x, data.train.y, make(net)

    def run() -> Iterator[None]:
        order = torch.randperm(len(x))
        for step in range(steps):
            rows = order[step * batch : (step + 1) * batch]
            optimiser.zero_grad(set_to_none=True)
            logits: Tensor = net(x[rows])
            F.cross_entropy(logits.flatten(0, -2), y[rows].flatten()).backward()
            optimiser.step()
            if (step + 1) % (steps // PARTS) == 0:
                yield

    return run


def take_turns(sides: dict[str, tuple[Side, int]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each side, over its divisor, `repeats` times; the sides take turns at every part."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):  # the first is thrown away
        running = {name: side() for name, (side, _) in sides.items()}
        taken = dict.fromkeys(sides, 0.0)
        for _ in range(PARTS):
            for name, side in running.items():
                began = time.process_time()
                next(side)
                taken[name] += time.process_time() - began
        for name, (_, divisor) in sides.items():
            times[name] += [taken[name] / divisor * 1e3] if turn else []
        print(f"turn {turn} of {repeats}", end="\r", file=sys.stderr)
    return times


def adam(**how: bool) -> Make:
    return lambda net: torch.optim.Adam(net.parameters(), lr=1e-3, **how)


def epoch(repeats: int) -> dict[str, list[float]]:
    """LeNet-300-100: milliseconds an epoch of one net."""
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.rand(IMAGES, 28, 28, generator=draw), torch.randint(10, (IMAGES,), generator=draw))
    data, steps = Data(split, split, split, classes=10), IMAGES // BATCH
    assert steps % PARTS == 0

    def plain(make: Make) -> tuple[Side, int]:
        layers = [nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)]
        return loop(nn.Sequential(nn.Flatten(), *layers), data, BATCH, steps, make), 1

    def held(k: int, optimiser: Optimiser) -> tuple[Side, int]:
        return ours(LENET_300_100, data, k, BATCH, steps, optimiser), k

    def products() -> Iterator[None]:
        w1, w2, w3 = torch.rand(300, 784), torch.rand(100, 300), torch.rand(10, 100)
        x, g1, g2, g3 = (torch.rand(BATCH, width) for width in (784, 300, 100, 10))
        for _ in range(PARTS):
            for _ in range(steps // PARTS):
                x @ w1.T, g1 @ w2.T, g2 @ w3.T, g3.T @ g2, g3 @ w3, g2.T @ g1, g2 @ w2, g1.T @ x
            yield

    return take_turns(
        {
            "ours, K = 1": held(1, Adam(lr=1e-3)),
            "ours, K = 4": held(4, Adam(lr=1e-3)),
            "loop": plain(adam()),
            "loop, foreach": plain(adam(foreach=True)),
            "loop, fused": plain(adam(fused=True)),
            "SGD: ours, K = 1": held(1, SGD(lr=0.1)),
            "SGD: ours, K = 4": held(4, SGD(lr=0.1)),
            "SGD: loop, fused": plain(lambda net: torch.optim.SGD(net.parameters(), lr=0.1, fused=True)),
            "matrix products alone": (products, 1),
        },
        repeats,
    )


def gpt(repeats: int) -> dict[str, list[float]]:
    """The small GPT: milliseconds a net-step."""
    host, k = GPT(vocabulary=TOKENS, length=LENGTH), 8
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(TOKENS, (4000, LENGTH + 1), generator=draw)
    split = Split(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
    data = Data(split, split, split, classes=TOKENS)

    def plain(make: Make) -> tuple[Side, int]:
        return loop(host.build(), data, SEQUENCES, GPT_STEPS * k, make), GPT_STEPS * k

    def products() -> Iterator[None]:
        n, w = SEQUENCES * LENGTH, host.width
        shapes = [(w, 3 * w), (w, w), (w, 4 * w), (4 * w, w)] * host.layers + [(w, TOKENS)]
        made = [(torch.rand(n, i), torch.rand(o, i), torch.rand(n, o)) for i, o in shapes]
        for _ in range(PARTS):
            for _ in range(GPT_STEPS * k // PARTS):
                for x, weight, grad in made:
                    x @ weight.T, grad.T @ x, grad @ weight
            yield

    return take_turns(
        {
            "ours, K = 8": (ours(host, data, k, SEQUENCES, GPT_STEPS, Adam(lr=1e-3)), GPT_STEPS * k),
            "loop": plain(adam()),
            "loop, foreach": plain(adam(foreach=True)),
            "loop, fused": plain(adam(fused=True)),
            "matrix products alone": (products, GPT_STEPS * k),
        },
        repeats,
    )


def report(title: str, times: dict[str, list[float]], against: str) -> None:
    """Print one row a side: median, spread, and the ratio to ours."""
    print(f"\n{title}\n{'':24}{'median':>10}{'min':>10}{'max':>10}{'ratio':>8}")
    for name, values in times.items():
        ratio = median(values) / median(times[against])
        print(f"{name:24}{median(values):10.2f}{min(values):10.2f}{max(values):10.2f}{ratio:8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON, and print nothing else")
    parser.add_argument("--repeats", type=int, default=7, help="turns of every side")
    options = parser.parse_args()
    print("about 7 minutes on one core", file=sys.stderr)
    with one_thread():
        lenet, small = epoch(options.repeats), gpt(options.repeats)
    if not options.json:
        report("LeNet-300-100, batch 128: ms an epoch of a net", lenet, "ours, K = 1")
        report("GPT 2 x 64, 16 x 64 tokens, Adam: ms a net-step", small, "ours, K = 8")
        print()

    def against(times: dict[str, list[float]], side: str) -> float:
        best = min((values for name, values in times.items() if name.startswith("loop")), key=median)
        return median(theirs / mine for theirs, mine in zip(best, times[side], strict=True))

    figures = {
        "epoch_k1": against(lenet, "ours, K = 1"),
        "epoch_k4": against(lenet, "ours, K = 4"),
        "gpt_k8": against(small, "ours, K = 8"),
    }
    print(json.dumps({name: round(ratio, 3) for name, ratio in figures.items()}))


if __name__ == "__main__":
    main()
