"""How fast gates on encrypted bits are beside OpenFHE's, how much memory they take, and how many of them fail.

    HOLDFAST_OPENFHE=PYTHON python benchmarks/encrypted.py [--minutes M] [--repeats N] [--seed S]

PYTHON has openfhe 1.6.1 (`pip install openfhe==1.6.1.0.22.4`, CPython 3.10). One thread each. An estimate comes first,
then a line for each figure:

- `peak_memory_std128_MB`: the largest resident memory of a fresh process that makes the keys of `std128` and computes a
  gate of 64 pairs, in 10^6 bytes, with Python, torch and numba.
- `nand_batch64_vs_openfhe`: OpenFHE's time for a NAND of `std128` over ours for each of a batch of 64;
  `nand_batch1_vs_openfhe`: of a single one. Above 1 we are faster. N times in turn OpenFHE computes 4, we one of 64 and
  one of 1; figures are of medians (`nand_ms_...`). OpenFHE has no batches. Of a machine whose cores are busy with
  something else the times are too long, but the ratios hold.
- `largest_rounding_std128`: by how many ticks a sum was off the whole number that it stands for, at most, in those
  gates. From 1/2 on it would be taken for another one.
- `descent_ms_forward`, `descent_ms_backward`: of one bootstrapping whose keys and tables are trained, 8 nets side by
  side, `tiny` (n = 8, N = 64, 3 digits), 256 ciphertexts each, exact gradients; medians of N.
- `decryption_failures_SET`: gates of gates' outputs that gave the wrong bit, in an equal part of the M minutes; the
  largest share of failures that such a count leaves open at 95 % (Clopper and Pearson, one side; for none of n about
  3 / n); and the share by the formulas (`Noise`), far too small to be seen. Gates and bits are drawn at random; one key
  of each set.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from holdfast.encrypted import SETS, Bootstrap, SecretKey, gate
from holdfast.encrypted.bootstrap import compiled
from holdfast.encrypted.descent import bootstrapped
from holdfast.encrypted.noise import Noise
from holdfast.stats import clopper_pearson

PYTHON = os.environ.get("HOLDFAST_OPENFHE")
BATCH, THEIRS = 64, 4
STARTING, BOTH, PLAIN = 25, 1.0, 6
"""Seconds: for keys and memory, for a repeat of both sides, and for keys of the small sets."""
OPENFHE = """
import sys, time, openfhe as fhe
context = fhe.BinFHEContext()
context.GenerateBinFHEContext(fhe.STD128, fhe.GINX)
secret = context.KeyGen()
context.BTKeyGen(secret)
x, y = context.Encrypt(secret, 1), context.Encrypt(secret, 0)
print("ready", flush=True)
for _ in sys.stdin:
    began = time.perf_counter()
    context.EvalBinGate(fhe.NAND, x, y)
    print(time.perf_counter() - began, flush=True)
"""
GATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "nand": lambda a, b: 1 - (a & b),
    "nor": lambda a, b: 1 - (a | b),
    "xor": lambda a, b: a ^ b,
    "xnor": lambda a, b: 1 - (a ^ b),
}


def made(name: str, seed: int = 0) -> tuple[SecretKey, Bootstrap]:
    key = SecretKey(SETS[name], np.random.default_rng(seed))
    return key, key.evaluation_key()


def pairs(key: SecretKey) -> list[Tensor]:
    """A batch for a gate."""
    return [key.encrypt(bits) for bits in torch.from_numpy(np.random.default_rng(0).integers(0, 2, (2, BATCH)))]


def peak() -> float:
    """Of this process, in MB."""
    key, network = made("std128")
    gate(network, "nand", *pairs(key))
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1e6 if sys.platform == "darwin" else size * 1024 / 1e6


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@contextmanager
def openfhe() -> Iterator[Callable[[], float]]:
    """A call that gives the seconds of one of its gates."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["OMP_NUM_THREADS"] = "1"
    command = [str(PYTHON), "-c", OPENFHE]
    with subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        there, back = process.stdin, process.stdout
        if back.readline() != "ready\n":
            sys.exit(f"{PYTHON} computes no gates with openfhe; see above.")

        def one() -> float:
            there.write("\n")
            there.flush()
            return float(back.readline())

        yield one
        there.close()


@contextmanager
def watched() -> Iterator[list[float]]:
    """By how much sums were off, of each call of the compiled blocks."""
    kernel, off = compiled(), [float("nan")]
    if kernel is None:
        yield off
        return
    blocks, off = kernel.blocks, []
    kernel.blocks = lambda *given: off.append(blocks(*given)) or off[-1]  # type: ignore[func-returns-value]
    try:
        yield off
    finally:
        kernel.blocks = blocks


def speed(repeats: int) -> None:
    key, network = made("std128")
    x, y = pairs(key)
    sides: dict[str, Callable[[], float]] = {
        "batch64": lambda: seconds(lambda: gate(network, "nand", x, y)) / BATCH,
        "batch1": lambda: seconds(lambda: gate(network, "nand", x[:1], y[:1])),
    }
    took: dict[str, list[float]] = {name: [] for name in (*sides, "openfhe")}

    def measure(theirs: Callable[[], float] | None) -> None:
        for side in sides.values():
            side()
        for _ in range(repeats):
            if theirs:
                took["openfhe"] += [theirs() for _ in range(THEIRS)]
            for name, side in sides.items():
                took[name].append(side())

    with watched() as off:
        if PYTHON:
            with openfhe() as theirs:
                measure(theirs)
        else:
            measure(None)
    median = {name: statistics.median(each) for name, each in took.items() if each}
    for name in sides:
        ratio = f"{median['openfhe'] / median[name]:.2f}" if PYTHON else "skipped: HOLDFAST_OPENFHE names no Python"
        print(f"nand_{name}_vs_openfhe: {ratio}")
    for name, value in median.items():
        print(f"nand_ms_{name}: {1000 * value:.1f}")
    print(f"largest_rounding_std128: {max(off):.2g}")


def descent(repeats: int) -> None:
    p, nets, each = SETS["tiny"], 8, 256
    networks = [SecretKey(p, np.random.default_rng(seed)).evaluation_key() for seed in range(nets)]
    held = [torch.stack([part(one) for one in networks]).double() for part in (rotation, switch)]
    generator = torch.Generator().manual_seed(0)
    shapes = (nets, each, p.n + 1), (nets, each, 2, p.degree)
    sent, tables = (torch.randint(0, p.modulus, shape, generator=generator).double() for shape in shapes)
    took: dict[str, list[float]] = {"forward": [], "backward": []}
    for _ in range(repeats + 1):
        weights = [value.clone().requires_grad_() for value in (*held, tables)]
        began = time.perf_counter()
        out = bootstrapped(p, *weights[:2], sent, weights[2])
        took["forward"].append(time.perf_counter() - began)
        took["backward"].append(seconds(out[..., -1].sum().backward))
    for name, values in took.items():
        print(f"descent_ms_{name}: {1000 * statistics.median(values[1:]):.0f}")


def rotation(network: Bootstrap) -> Tensor:
    return network.rotation[0][:, 0]


def switch(network: Bootstrap) -> Tensor:
    return network.switch


def failures(name: str, minutes: float, seed: int) -> None:
    key, network = made(name, seed)
    choice = np.random.default_rng((seed, 1))

    def given() -> tuple[Tensor, Tensor]:
        """Bits, (2, BATCH), and what a gate gave for them."""
        bits = torch.from_numpy(choice.integers(0, 2, (2, BATCH)))
        return bits, torch.stack([gate(network, "or", each, each) for each in map(key.encrypt, bits)])

    bits, ciphertexts = given()
    done = wrong = 0
    began = time.perf_counter()
    while done == 0 or time.perf_counter() - began < 60 * minutes:
        names = choice.choice(list(GATES), 2)
        ciphertexts = torch.stack([gate(network, each, *ciphertexts) for each in names])
        bits = torch.stack([GATES[each](*bits) for each in names])
        failed = torch.floor((key.phase(ciphertexts) + 0.125) * 4) % 4 != bits
        done, wrong = done + failed.numel(), wrong + int(failed.sum())
        if bool(failed.any()):
            bits, ciphertexts = given()
        order = torch.from_numpy(choice.permutation(2 * BATCH))
        bits, ciphertexts = bits.flatten()[order].view_as(bits), ciphertexts.flatten(0, 1)[order].view_as(ciphertexts)
    bound = clopper_pearson(wrong, done, 0.9).high
    print(f"decryption_failures_{name}: {wrong} of {done:,} gates, at most {bound:.1e} of them; {Noise(SETS[name])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="for failures, all sets together (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="of keys and gates for failures; other ones add up")
    parser.add_argument("--repeats", type=int, default=20, help="of both sides (default 20)")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        print(f"peak_memory_std128_MB: {peak():.0f}", flush=True)
        return
    estimate = STARTING + BOTH * arguments.repeats + PLAIN + 60 * arguments.minutes
    print(f"Estimate: {estimate / 60:.1f} minutes.", flush=True)
    # Before anything large is here: what a new process begins with counts as its own.
    subprocess.run([sys.executable, __file__, "--peak"], check=True)
    speed(arguments.repeats)
    descent(arguments.repeats)
    for name in SETS:
        failures(name, arguments.minutes / len(SETS), arguments.seed)


if __name__ == "__main__":
    main()
