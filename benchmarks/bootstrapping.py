"""One bootstrapping on the chip, as `chip/evaluator.s` computes it and by schoolbook products, in ticks of one run.

    python benchmarks/bootstrapping.py [--json]     # about two minutes on an idle core

A gate on two encrypted bits under `tiny` (n = 8, N = 64), 64 lanes with ciphertexts of their own. The baseline is the
same program but for the external product, which multiplies each digit by each coefficient of a key by shifting and
adding (`schoolbook.s`), as the core has no multiplication. Both must give the network's ciphertexts, to the
coefficient. Engine: the fastest that is here.

- `ticks`, `schoolbook_ticks`: until the last lane has ended.
- `fewer`: the second over the first.
- `seconds`, `schoolbook_seconds`: of all lanes, wall time.
"""

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import torch

from holdfast.chip import evaluator as evaluating
from holdfast.chip.engines.by_name import fastest
from holdfast.chip.evaluator import Evaluator
from holdfast.chip.machine import Machine
from holdfast.circuits.trace import trace
from holdfast.encrypted import SETS, SecretKey, program_of

LANES = 64
MOST = 30_000_000
"""Ticks. Who has not ended by then never does."""
PRODUCT = re.compile(r"^# product \+= .*?(?=^# The ciphertext at s1 becomes 0)", re.MULTILINE | re.DOTALL)
"""Of `evaluator.s`, what `schoolbook.s` stands for."""


def run(evaluator: Evaluator, ciphertexts: torch.Tensor) -> tuple[int, float]:
    """Ticks and seconds, if it came out right."""
    machine = Machine([evaluator.program] * LANES, engine=fastest())
    evaluator.write(machine.memory, ciphertexts)
    began = time.perf_counter()
    machine.run(MOST)
    took = time.perf_counter() - began
    stops = machine.stops()
    if not all(stop.done for stop in stops):
        raise SystemExit(f"A lane has not come to its end: {next(stop for stop in stops if not stop.done)}")
    if not torch.equal(evaluator.read(machine.memory), evaluator.network(ciphertexts)):
        raise SystemExit("It is not what the network computes.")
    return max(stop.ticks for stop in stops), took


def main(*, as_json: bool) -> None:
    key = SecretKey(SETS["tiny"])
    program = program_of(trace(lambda x: x[0] & ~x[1], {"x": 2}))
    network = key.network(program)
    bits = (torch.arange(LANES) % 4)[:, None] >> torch.arange(2) & 1
    ciphertexts = key.encrypt(bits, program.step)
    ticks, seconds = run(Evaluator(network), ciphertexts)
    if not as_json:
        print(f"evaluator.s: {ticks:,} ticks, {seconds:.1f} s; schoolbook: 8 times as many", flush=True)
    text, count = PRODUCT.subn(
        lambda _: Path(__file__).with_name("schoolbook.s").read_text(encoding="utf-8"),
        evaluating.SOURCE.read_text(encoding="utf-8"),
    )
    if count != 1:
        raise SystemExit(f"evaluator.s has {count} external products, expected 1.")
    with tempfile.TemporaryDirectory() as folder:
        evaluating.SOURCE = Path(folder) / "schoolbook.s"
        evaluating.SOURCE.write_text(text, encoding="utf-8")
        slow = Evaluator(network)
    slow_ticks, slow_seconds = run(slow, ciphertexts)
    fewer = slow_ticks / ticks
    if as_json:
        took = {"seconds": round(seconds, 3), "schoolbook_seconds": round(slow_seconds, 3)}
        print(json.dumps({"ticks": ticks, "schoolbook_ticks": slow_ticks, "fewer": round(fewer, 3)} | took))
        return
    print(
        f"schoolbook.s: {slow_ticks:,} ticks, {slow_seconds:.1f} s; both to the coefficient\n{fewer:.2f} times as many"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures as one line of JSON")
    main(as_json=parser.parse_args().json)
