"""How fast compiled circuits run and train, and how the time grows, as ratios from one run.

    python benchmarks/circuits.py [--json] [--quick]

Random circuits of AND and XOR gates with inverted inputs (each reads two of the 10 % of nodes before it; outputs are
what nobody reads), compiled with k = 3. A pass is forward and backward, to inputs, weights and biases, of a batch of
1,024 random inputs in float32, on one thread. Times are CPU seconds, which on one thread are nearly those of an idle
machine; the sides take turns, and each figure is the median ratio.

- `vs_dense_1k`, `vs_dense_10k`: a pass of dense layers over ours, for 1,000 and 10,000 gates. The dense side is what a
  good engineer would write without sparse code: for every stage one `F.linear` over the rows that are still live
  (needed later or outputs) and nothing else, ReLU where units are, and the live rows that stay copied on. Both give
  the same bits.
- `growth`: time a gate of compiling and a pass at the largest circuit, over that at 10,000 gates. 1 is linear. (Up to
  10^6 gates; batch 64, so that values fit in memory. With --quick 10^5.)
"""

import argparse
import json
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.circuits import Netlist, build
from holdfast.circuits.builder import Builder
from holdfast.circuits.layers import Layers

BATCH, INPUTS, REPEATS = 1024, 64, 7


def random_circuit(gates: int, seed: int = 0) -> Netlist:
    """So many gates, about: some are found to be equal, and those are built once."""
    draw = np.random.Generator(np.random.Philox(key=seed))
    builder = Builder()
    nodes = builder.input("x", INPUTS)
    window = max(INPUTS, gates // 10)
    draws = draw.random((gates, 2)), draw.random((gates, 2)) < 0.5, draw.random(gates) < 0.5
    for uniform, invert, kind in zip(*draws, strict=True):
        low = max(0, len(nodes) - window)
        x, y = (nodes[low + int(u * (len(nodes) - low))] ^ int(i) for u, i in zip(uniform, invert, strict=False))
        nodes.append((builder.both if kind else builder.differ)(x, y))
    return builder.netlist(f"random-{gates}", [("y", nodes[-max(1, window) :])])


class Dense(nn.Module):
    """The same rows by dense matrices over the live ones."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        outputs = [row for port in layers.output_ports for row in port.bits]
        last = np.zeros(layers.inputs + layers.rows, np.int64)
        for stage, (first, end) in enumerate(layers.stages):
            last[layers.indices[layers.starts[first] : layers.starts[end]]] = stage
        last[outputs] = len(layers.stages)
        live = np.arange(layers.inputs)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        self.relu, self.stay = [], []
        for stage, (first, end) in enumerate(layers.stages):
            place = np.full(layers.inputs + layers.rows, -1)
            place[live] = np.arange(len(live))
            weight = np.zeros((end - first, len(live)), np.float32)
            at = slice(layers.starts[first], layers.starts[end])
            rows = np.repeat(np.arange(end - first), np.diff(layers.starts[first : end + 1]))
            weight[rows, place[layers.indices[at]]] = layers.weights[at]
            self.weights.append(nn.Parameter(torch.from_numpy(weight)))
            self.biases.append(nn.Parameter(torch.from_numpy(layers.bias[first:end].astype(np.float32))))
            self.relu.append(bool(layers.relu[first]))
            stay = last[live] > stage
            self.stay.append(torch.from_numpy(np.flatnonzero(stay)))
            live = np.concatenate([live[stay], np.arange(layers.inputs + first, layers.inputs + end)])
        place = {row: i for i, row in enumerate(live.tolist())}
        self.outputs = torch.tensor([place[row] for row in outputs])

    def forward(self, x: Tensor) -> Tensor:
        for weight, bias, relu, stay in zip(self.weights, self.biases, self.relu, self.stay, strict=False):
            z = F.linear(x, weight, bias)
            x = torch.cat([x.index_select(1, stay), z.relu() if relu else z], 1)
        return x.index_select(1, self.outputs)


def seconds(network: nn.Module, x: Tensor) -> float:
    """CPU seconds of one pass."""
    network.zero_grad()
    x = x.clone().requires_grad_()
    began = time.process_time()
    network(x).sum().backward()
    return time.process_time() - began


def against_dense(gates: int) -> tuple[float, dict[str, float]]:
    compiled = build(random_circuit(gates), checks=256)
    assert compiled.wrong_bits == 0
    ours, dense = compiled.network, Dense(compiled.layers)
    x = torch.randint(2, (BATCH, INPUTS)).float()
    assert torch.equal(ours(x), dense(x))
    times: dict[str, list[float]] = {"ours": [], "dense": []}
    for _ in range(REPEATS + 1):
        times["ours"].append(seconds(ours, x))
        times["dense"].append(seconds(dense, x))
    pairs = zip(times["dense"][1:], times["ours"][1:], strict=False)
    shown = {name: 1e3 * median(found[1:]) for name, found in times.items()}
    return median(d / o for d, o in pairs), shown | dict(compiled.layers.record())


def growth(sizes: list[int], say: Callable[..., None]) -> dict[int, tuple[float, float]]:
    """(compiling, a pass) in microseconds a gate."""
    found = {}
    for gates in sizes:
        began = time.process_time()
        netlist = random_circuit(gates)
        drawn = time.process_time()
        compiled = build(netlist, checks=64)
        compiling = time.process_time() - drawn
        assert compiled.wrong_bits == 0
        x = torch.randint(2, (64, INPUTS)).float()
        a_pass = median(seconds(compiled.network, x) for _ in range(3))
        found[gates] = 1e6 * compiling / netlist.gates, 1e6 * a_pass / netlist.gates
        say(
            f"{netlist.gates:>9,} gates: drawn in {drawn - began:.1f} s, compiled in {found[gates][0]:.1f} us a "
            f"gate, a "
            f"pass of 64 {found[gates][1]:.2f} us a gate"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    parser.add_argument("--quick", action="store_true", help="circuits of up to 10^5 gates")
    arguments = parser.parse_args()
    say: Callable[..., None] = (lambda *_: None) if arguments.json else print
    torch.set_num_threads(1)
    torch.manual_seed(0)
    figures = {}
    for name, gates in (("1k", 1_000), ("10k", 10_000)):
        figures[f"vs_dense_{name}"], shown = against_dense(gates)
        say(f"{gates:,} gates, a pass of 1,024: ours {shown['ours']:.1f} ms, dense {shown['dense']:.1f} ms; {shown}")
    sizes = [1_000, 10_000, 100_000] + ([] if arguments.quick else [1_000_000])
    found = growth(sizes, say)
    figures["growth"] = sum(found[sizes[-1]]) / sum(found[10_000])
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
