"""Whether three copies and a vote fail as often as `redundant.py` says: 3 p^2 - 2 p^3, where one copy fails with p.

    python benchmarks/redundancy.py [--draws N] [--noise SD] [--json]

A product of two words of 6 bits (restoring units, 3 copies) under Gaussian noise on every weight and bias, drawn anew N
times. The unit is the draw, for one draw's mistakes are shared by all inputs: of each draw one bit of one input is
counted, chosen beforehand (bit 6 of 45 x 27). Three networks, each with draws of its own:

- `one`: a single copy. Its share of wrong bits is p.
- `spared`: three copies, with the vote's own weights left alone.
- `noisy`: three copies, with noise on the vote as well. The vote is not copied: what it errs comes on top.
- `counted`: in the draws of `spared`, two or more of the copies' bits are wrong, counted outside of the network.

`predicted` is 3 p^2 - 2 p^3, and its interval that of p put through it (99 %, Clopper-Pearson, as all intervals here).
`counted` obeys it if copies err independently. `spared` does as far as a copy is either right or wrong: a bit between
1/4 and 3/4 is neither, and its ramp hands on a part of a vote.
"""

import argparse
import json
from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.circuits import Bits, build, concat, trace
from holdfast.circuits.network import Network
from holdfast.stats import clopper_pearson

WIDTH, INPUT, BIT = 6, (45, 27), 6
NOISE, LEVEL = 0.04, 0.99


def product(a: Bits, b: Bits) -> Bits:
    """By rows, each a sum."""
    wide = concat(a, a & 0)
    zero = wide & 0
    total = zero
    for i, bit in enumerate(b):
        total = total + ((wide << i) & concat(*[bit] * len(wide)))
    return total


def network(copies: int) -> Network:
    compiled = build(trace(product, {"a": WIDTH, "b": WIDTH}), encoding="restoring", copies=copies)
    assert compiled.wrong_bits == 0
    return compiled.network


def copies_of(net: Network) -> list[int]:
    """Where the copies' values of the bit are among all rows: what the first layer of the vote reads."""
    if not net.name.startswith("3 x"):
        return [int(net.outputs[BIT])]
    ballots = int((net.level == net.level.max() - 1).nonzero()[0]) + 6 * BIT
    return [int(net.indices[net.starts[ballots + 2 * copy]]) for copy in range(3)]


def wrong(net: Network, spared: Tensor, noise: float, draws: int, seed: int) -> tuple[int, int]:
    """Draws in which the bit is wrong, and in which most copies' bits are. Spared rows keep weights and biases."""
    generator = torch.Generator().manual_seed(seed)
    weight, bias = (parameter.detach().clone() for parameter in net.parameters())
    of_weight = noise * torch.repeat_interleave(~spared, net.starts.diff())
    of_bias = noise * ~spared
    a, b = INPUT
    x = torch.tensor([[(a | b << WIDTH) >> i & 1 for i in range(2 * WIDTH)]])
    right, count, most, places = a * b >> BIT & 1, 0, 0, copies_of(net)
    with torch.no_grad():
        for _ in range(draws):
            net.weight.copy_(weight + of_weight * torch.randn(weight.shape, generator=generator))
            net.bias.copy_(bias + of_bias * torch.randn(bias.shape, generator=generator))
            values_R = net.rows(x)[:, 0]
            count += int((values_R[net.outputs[BIT]] > 0.5) != right)
            most += 2 * int(((values_R[places] > 0.5) != right).sum()) > len(places)
        net.weight.copy_(weight)
        net.bias.copy_(bias)
    return count, most


def measure(draws: int, noise: float = NOISE) -> dict[str, tuple[float, float, float]]:
    """(share, low, high) of each of these, and of what is predicted."""
    single, triple = network(1), network(3)
    nothing = [torch.zeros_like(net.relu) for net in (single, triple)]
    vote = triple.level >= triple.level.max() - 1
    sides = {"one": (single, nothing[0]), "spared": (triple, vote), "noisy": (triple, nothing[1])}
    found = {}
    for seed, (name, (net, spared)) in enumerate(sides.items()):
        counts = wrong(net, spared, noise, draws, seed)
        for key, count in zip((name, "counted"), counts, strict=True):
            if key == name or name == "spared":
                found[key] = (count / draws, *clopper_pearson(count, draws, LEVEL))
    share, low, high = (3 * p**2 - 2 * p**3 for p in found["one"])
    return {**found, "predicted": (share, low, high)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20_000, help="of the noise, for each network (default 20,000)")
    parser.add_argument("--noise", type=float, default=NOISE, help=f"its standard deviation (default {NOISE})")
    parser.add_argument("--json", action="store_true", help="print the last line only")
    arguments = parser.parse_args()
    say: Callable[..., None] = (lambda *_: None) if arguments.json else print
    torch.set_num_threads(1)
    say(f"{network(1)}; noise {arguments.noise}, {arguments.draws:,} draws")
    found = measure(arguments.draws, arguments.noise)
    for name, (share, low, high) in found.items():
        say(f"{name:>9}: {share:.4f} [{low:.4f}, {high:.4f}]")
    print(json.dumps({name: [round(value, 5) for value in values] for name, values in found.items()}))


if __name__ == "__main__":
    main()
