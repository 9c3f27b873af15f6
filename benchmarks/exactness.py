"""Whether compiled circuits give the right bits on a million random inputs, to the last digit.

    python benchmarks/exactness.py [CIRCUIT ...] [--inputs N] [--minutes M] [--only] [--json]

SHA-256 and Keccak-f[1600], and every circuit file that is given, compiled as `holdfast compile` does, in float32, and
compared with the simulator, which works on Python's integers and shares nothing with the compiler. Circuits of up to
12 inputs are compared on all of theirs. Inputs are drawn by Philox, another stream for each batch. One thread; an
estimate comes first, and progress goes to standard error.

- `inputs`, `wrong_bits`: of each circuit. With `--minutes M` a circuit stops after so long, and `inputs` says how far
  it came.
- `caught`: share of 20 networks with a mistake that 512 of these inputs show, so that 0 wrong bits mean something. The
  mistake is a unit, drawn at random, whose threshold is one input too low: 2 added to its bias. Below 1 where a unit
  matters on rare inputs only.
- `simulating`: share of the time that the simulator takes.

On random inputs what is rare is not seen: of an adder's carries hardly one runs over 40 bits. What every input does is
known for circuits of up to 12 inputs, and by the equivalence tests in tests/circuits for netlists.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.circuits import build, read, simulate
from holdfast.circuits.compiling import ALL, Compiled, some_inputs, wrong_bits
from holdfast.circuits.simulate import LANES

BUILT_IN = ("sha256", "keccak")
MISTAKES, MISTAKE = 20, 2.0


def drawn(compiled: Compiled, batch: int, count: int) -> NDArray[np.bool_]:
    """Random inputs, a byte of the generator for eight bits."""
    width = len(compiled.netlist.input_bits)
    if width <= ALL:
        return some_inputs(compiled.netlist, 0, 0)
    draw = np.random.Generator(np.random.Philox(key=batch))
    packed = draw.integers(0, 256, (count, -(-width // 8)), np.uint8)
    return np.unpackbits(packed, axis=1, count=width).astype(np.bool_)


def wrong(compiled: Compiled, bits: NDArray[np.bool_]) -> int:
    return wrong_bits(compiled.network, compiled.netlist, bits)


def seconds(call: Callable[..., Any], *of: Any) -> float:
    began = time.perf_counter()
    call(*of)
    return time.perf_counter() - began


def check(name: str, compiled: Compiled, count: int, minutes: float) -> tuple[int, int]:
    """(inputs compared, wrong bits)."""
    began, done, found, batch = time.perf_counter(), 0, 0, 0
    while done < count and time.perf_counter() - began < 60 * minutes:
        bits = drawn(compiled, batch, min(LANES, count - done))
        found += wrong(compiled, bits)
        done, batch = done + len(bits), batch + 1
        count = len(bits) if len(compiled.netlist.input_bits) <= ALL else count
        took = time.perf_counter() - began
        print(
            f"\r{name}: {done:,} of {count:,}, {found} wrong bits, {took / 60:.1f} min ",
            end="\n" if done >= count else "",
            file=sys.stderr,
            flush=True,
        )
    return done, found


def caught(compiled: Compiled, batch: int = 1 << 32) -> float:
    """Share of networks with one wrong threshold that differ from the simulator on a batch of inputs."""
    bits = drawn(compiled, batch, 512)
    bias, relu = compiled.network.bias, compiled.network.relu
    units = torch.nonzero(relu).flatten()
    some = units[torch.randint(len(units), (MISTAKES,), generator=torch.Generator().manual_seed(0))].tolist()
    found = 0
    for unit in some:
        with torch.no_grad():
            bias[unit] += MISTAKE
            found += wrong(compiled, bits) > 0
            bias[unit] -= MISTAKE
    return found / len(some)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("circuits", nargs="*", metavar="CIRCUIT", help="files, besides sha256 and keccak")
    parser.add_argument("--inputs", type=int, default=10**6, help="of each circuit (default 10^6)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="at most, of each circuit")
    parser.add_argument("--json", action="store_true", help="print the last line only")
    parser.add_argument("--only", action="store_true", help="the files, without sha256 and keccak")
    arguments = parser.parse_args()
    say: Callable[..., None] = (lambda *_: None) if arguments.json else print
    torch.set_num_threads(1)
    ready = []
    for source in (*(() if arguments.only else BUILT_IN), *arguments.circuits):
        compiled = build(read(source), checks=0)
        bits = drawn(compiled, 1 << 33, min(LANES, arguments.inputs))
        whole, simulating = seconds(wrong, compiled, bits), seconds(simulate, compiled.netlist, bits)
        name = Path(source).name
        ready.append((name, compiled, whole / len(bits) * arguments.inputs, simulating / whole))
        say(
            f"{name}: {compiled.layers.neurons:,} units in {compiled.layers.depth:,} layers; "
            f"{1e6 * whole / len(bits):,.0f} us an input, {simulating / whole:.0%} of it simulating"
        )
    total = sum(min(needed, 60 * arguments.minutes) for *_, needed, _ in ready)
    say(f"Estimate: {total / 60:.0f} minutes for {arguments.inputs:,} inputs of each of {len(ready)} circuits.")
    figures = {}
    for name, compiled, _, simulating in sorted(ready, key=lambda item: item[2]):
        share = caught(compiled)
        done, found = check(name, compiled, arguments.inputs, arguments.minutes)
        say(f"{name}: {found} wrong bits on {done:,} inputs; {share:.0%} of mistakes caught")
        figures[name] = {
            "inputs": done,
            "wrong_bits": found,
            "caught": share,
            "simulating": round(simulating, 3),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
