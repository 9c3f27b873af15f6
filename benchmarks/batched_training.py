"""How fast K networks train at once: time a net-step against three baselines, as ratios from one run on one thread.

    python benchmarks/batched_training.py [--json] [--repeats N]

A net-step is one optimiser step of one net: drawing its batch, forward, backward, update. Ours is the production path
(`Fit` with its draws, in batches of 64 nets). Every side has the data in memory as tensors and gives each net its own
batches. The sides take turns, and each figure is the baseline's median time over ours.

- `digits_vs_loop`: MLP 64-64-10, batch 64, SGD with momentum, K = 128, against a loop over plain networks:
  `nn.Sequential`, gradients set to None, `torch.optim.SGD` in each of its three implementations (for-loop, foreach,
  fused), all nets step by step; and fused also one net after the other, which suits the caches better. The fastest of
  the four is the baseline.
- `digits_vs_vmap`: the same against `torch.func`: `vmap(grad(loss))` over stacked parameters and one fused
  `torch.optim.SGD` on the stacks; all 128 nets in one call.
- `digits_vs_modelbatch`: the same against ModelBatch 0.1.0 from the package index, as its documentation uses it:
  `ModelBatch(models, shared_input=False)`, `compute_loss`, and the optimiser of its `OptimizerFactory`. null where it
  is not installed (`pip install --no-deps modelbatch==0.1.0`).
- `lenet_vs_loop`: LeNet-300-100 (784-300-100-10), batch 60, Adam, K = 8, against a loop over plain networks with
  `torch.optim.Adam` at its defaults, step by step or one net after the other, whichever is faster. Much of this figure
  is PyTorch's fused Adam, which ours uses and the defaults on a CPU don't: the table has the loops with it as well.
"""

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast import SGD, Adam, BadNets, Fit
from holdfast.engines.base import LARGEST_BATCH, one_thread
from holdfast.hosts import MLP
from holdfast.pressures.optimisers import Optimiser
from holdfast.tasks import Data, Digits, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

Side = Callable[[int], None]
"""Takes so many steps with every net."""


def plain_nets(host: MLP, k: int) -> list[nn.Module]:
    """Ordinary networks that flatten nothing: their inputs are flat already."""
    nets = []
    for _ in range(k):
        layers = [layer for i, o in pairwise(host.widths) for layer in (nn.Linear(i, o), nn.ReLU())]
        nets.append(nn.Sequential(*layers[:-1]))
    return nets


def ours(host: MLP, data: Data, k: int, batch: int, optimiser: Optimiser) -> Side:
    """The production path, in batches of at most LARGEST_BATCH nets."""
    parts = []
    for start in range(0, k, LARGEST_BATCH):
        streams = tuple(Streams(0, seed) for seed in range(start, min(k, start + LARGEST_BATCH)))
        site = Site(host=host, data=data, streams=streams, implant=BadNets())
        nets = Nets.initialised(host, streams)
        fits = [Fit(optimiser, steps=1, batch=batch)] * nets.k
        parts.append((fits, site, nets))

    def run(steps: int) -> None:
        for fits, site, nets in parts:
            for _ in Fit.press(fits, site, nets, (steps,)):
                pass

    return run


def loop(
    host: MLP,
    data: Data,
    k: int,
    batch: int,
    make: Callable[[nn.Module], torch.optim.Optimizer],
    *,
    net_by_net: bool = False,
) -> Side:
    """Plain networks: a step of each in turn, or all steps of one and then of the next."""
    x, y = data.train.x.flatten(1), data.train.y
    nets = plain_nets(host, k)
    optimisers = [make(net) for net in nets]
    draw = torch.Generator().manual_seed(0)

    def run(steps: int) -> None:
        rows_SKB = torch.randint(len(x), (steps, k, batch), generator=draw)
        turns = [(step, net) for step in range(steps) for net in range(k)]
        for step, i in sorted(turns, key=lambda turn: turn[1]) if net_by_net else turns:
            rows = rows_SKB[step, i]
            optimisers[i].zero_grad(set_to_none=True)
            F.cross_entropy(nets[i](x.index_select(0, rows)), y.index_select(0, rows)).backward()
            optimisers[i].step()

    return run


def vmap(host: MLP, data: Data, k: int, batch: int) -> Side:
    """`torch.func`, all nets in one call."""
    x, y = data.train.x.flatten(1), data.train.y
    nets = plain_nets(host, k)
    params, _ = torch.func.stack_module_state(nets)
    optimiser = torch.optim.SGD(list(params.values()), lr=0.1, momentum=0.9, fused=True)
    draw = torch.Generator().manual_seed(0)

    def loss(params: dict[str, Tensor], x_B: Tensor, y_B: Tensor) -> Tensor:
        logits: Tensor = torch.func.functional_call(nets[0], params, (x_B,))
        return F.cross_entropy(logits, y_B)

    gradient = torch.func.vmap(torch.func.grad(loss))

    def run(steps: int) -> None:
        for _ in range(steps):
            rows_KB = torch.randint(len(x), (k, batch), generator=draw)
            grads = gradient(params, x[rows_KB], y[rows_KB])
            for name, param in params.items():
                param.grad = grads[name]
            optimiser.step()

    return run


def modelbatch(host: MLP, data: Data, k: int, batch: int) -> Side | None:
    """ModelBatch 0.1.0, or None where it is not installed."""
    if importlib.util.find_spec("modelbatch") is None:
        return None
    from modelbatch import ModelBatch, OptimizerFactory

    x, y = data.train.x.flatten(1), data.train.y
    model = ModelBatch(plain_nets(host, k), shared_input=False)
    factory = OptimizerFactory(torch.optim.SGD)
    optimiser = factory.create_optimizer(model, [{"lr": 0.1, "momentum": 0.9}] * k)
    draw = torch.Generator().manual_seed(0)

    def run(steps: int) -> None:
        for _ in range(steps):
            rows_KB = torch.randint(len(x), (k, batch), generator=draw)
            optimiser.zero_grad()
            loss = model.compute_loss(model(x[rows_KB]), y[rows_KB], F.cross_entropy, reduction="sum")
            loss.backward()
            optimiser.step()

    return run


def take_turns(sides: dict[str, tuple[Side, int]], k: int, repeats: int) -> dict[str, list[float]]:
    """Microseconds a net-step of each side, `repeats` times in turn; each side takes its own number of steps a turn."""
    for side, steps in sides.values():
        side(max(2, steps // 10))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats):
        for name, (side, steps) in sides.items():
            began = time.perf_counter()
            side(steps)
            times[name].append((time.perf_counter() - began) / steps / k * 1e6)
        print(f"turn {turn + 1} of {repeats}", end="\r", file=sys.stderr)
    return times


def report(title: str, times: dict[str, list[float]]) -> None:
    """Print one row a side: median, spread, and the ratio to ours."""
    print(f"\n{title}\n{'':24}{'us a net-step':>14}{'min':>8}{'max':>8}{'ratio':>8}")
    for name, values in times.items():
        ratio = median(values) / median(times["ours"])
        print(f"{name:24}{median(values):14.1f}{min(values):8.1f}{max(values):8.1f}{ratio:8.2f}")


def digits(repeats: int) -> dict[str, list[float]]:
    """The digits figures."""
    host, data, k, batch = MLP(widths=(64, 64, 10)), Digits().load(), 128, 64

    def sgd(**how: bool) -> Callable[[nn.Module], torch.optim.Optimizer]:
        return lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, **how)

    sides: dict[str, tuple[Side, int]] = {
        "ours": (ours(host, data, k, batch, SGD(lr=0.1, momentum=0.9)), 160),
        "vmap": (vmap(host, data, k, batch), 100),
        "loop": (loop(host, data, k, batch, sgd(foreach=False)), 8),
        "loop, foreach": (loop(host, data, k, batch, sgd(foreach=True)), 8),
        "loop, fused": (loop(host, data, k, batch, sgd(fused=True)), 8),
        "loop, fused, net by net": (loop(host, data, k, batch, sgd(fused=True), net_by_net=True), 8),
    }
    other = modelbatch(host, data, k, batch)
    if other is not None:
        sides["ModelBatch 0.1.0"] = (other, 8)
    return take_turns(sides, k, repeats)


def lenet(repeats: int) -> dict[str, list[float]]:
    """The LeNet figures, on random data: speed does not depend on what is learned."""
    host, k, batch = MLP(widths=(784, 300, 100, 10)), 8, 60
    draw = torch.Generator().manual_seed(0)
    split = Split(torch.rand(6000, 28, 28, generator=draw), torch.randint(10, (6000,), generator=draw))
    data = Data(split, split, split, classes=10)

    def adam(fused: bool | None = None) -> Callable[[nn.Module], torch.optim.Optimizer]:
        return lambda net: torch.optim.Adam(net.parameters(), lr=1e-3, fused=fused)

    sides: dict[str, tuple[Side, int]] = {
        "ours": (ours(host, data, k, batch, Adam(lr=1e-3)), 60),
        "loop": (loop(host, data, k, batch, adam()), 20),
        "loop, net by net": (loop(host, data, k, batch, adam(), net_by_net=True), 20),
        "fused loop": (loop(host, data, k, batch, adam(fused=True)), 20),
        "fused loop, net by net": (loop(host, data, k, batch, adam(fused=True), net_by_net=True), 20),
    }
    return take_turns(sides, k, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="end with one line of JSON, and print nothing else")
    parser.add_argument("--repeats", type=int, default=9, help="turns of every side")
    options = parser.parse_args()
    print("about 90 s on one core", file=sys.stderr)
    with one_thread():
        small, large = digits(options.repeats), lenet(options.repeats)
    if not options.json:
        report("digits MLP 64-64-10, batch 64, SGD with momentum, K = 128", small)
        report("LeNet-300-100, batch 60, Adam, K = 8", large)
        print()

    def best_loop(times: dict[str, list[float]]) -> float:
        return min(median(values) for name, values in times.items() if name.startswith("loop"))

    other = small.get("ModelBatch 0.1.0")
    figures = {
        "digits_vs_loop": best_loop(small) / median(small["ours"]),
        "digits_vs_vmap": median(small["vmap"]) / median(small["ours"]),
        "digits_vs_modelbatch": median(other) / median(small["ours"]) if other else None,
        "lenet_vs_loop": best_loop(large) / median(large["ours"]),
    }
    print(json.dumps({name: None if ratio is None else round(ratio, 3) for name, ratio in figures.items()}))


if __name__ == "__main__":
    main()
