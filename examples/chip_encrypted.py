"""A chip in a network's weights, on which an encrypted piece of code runs.

    python examples/chip_encrypted.py --quick    # one gate under keys of two bits: seconds
    python examples/chip_encrypted.py            # a hidden function of four bits, 64 times: half a minute with numba

Somebody says: a network might hold a computer chip in its parameters, on which runs a homomorphically encrypted piece
of code, so that nobody who reads the weights, and no gradient, knows what it does. This is that, whole and small. The
chip is a processor for RV32I, a clocked circuit compiled into five layers of a ReLU network; every tick is one forward
pass. Its program, a page of assembly, evaluates tables under fully homomorphic encryption: weighted sums of
ciphertexts, then blind rotations. Keys, and the table of the function, stand encrypted in its ROM. A client makes them,
encrypts inputs, and reads what comes out; weights, ROM, and RAM at every tick may be looked at by anybody. What of it
is real: the arithmetic, to the coefficient, as in OpenFHE. What is not: the keys are so short that trying all of them
takes no time (2^8 or fewer), since a chip that does one instruction a forward pass needs millions of them for one
table; it protects nothing.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import torch

from holdfast.chip.engines.by_name import fastest
from holdfast.chip.evaluator import Evaluator
from holdfast.chip.machine import Machine
from holdfast.circuits.trace import Bits, lookup, trace
from holdfast.encrypted import SETS, Gadget, ParameterSet, SecretKey, program_of

LANES = 64
TINY = SETS["tiny"]
QUICK = replace(
    TINY,
    name="n = 2, N = 16",
    n=2,
    degree=16,
    gadgets=(Gadget(unit=2**24, base=2**4, digits=2, count=2),),
    switch=replace(TINY.switch, base=2**4, digits=2),
)


def main(inputs: int, tables: int | None, p: ParameterSet) -> None:
    # The client
    answers = np.random.default_rng().integers(0, 2, 1 << inputs).tolist()
    answers[:3] = [0, 1, 1]  # so that it is no constant, and none of the bits

    def function(x: Bits) -> Bits:
        return lookup(x, answers, 1)

    program = program_of(trace(function, {"x": inputs}), tables=tables, hidden=tables is not None)
    key = SecretKey(p)
    network = key.network(program)
    every = (torch.arange(LANES) % (1 << inputs))[:, None] >> torch.arange(inputs) & 1
    ciphertexts = key.encrypt(every, program.step)

    # Whoever has the chip: no key, no table
    evaluator = Evaluator(network)
    code, data, ram = evaluator.program.segments
    print(f"ROM: {len(code.data):,} bytes of code, {len(data.data):,} of keys, tables and cells")
    print(f"RAM: {len(ram.data):,} bytes")
    machine = Machine([evaluator.program] * LANES, engine=fastest())
    evaluator.write(machine.memory, ciphertexts)
    first, began = min(500, evaluator.ticks), time.perf_counter()
    machine.run(first)
    took = (time.perf_counter() - began) / first * evaluator.ticks
    how = f"{machine.lanes} encrypted inputs side by side on the engine {machine.engine}"
    print(f"{how}, about {evaluator.ticks:,} ticks: {took:,.0f} s", flush=True)
    machine.run(2 * evaluator.ticks)
    took = time.perf_counter() - began
    outputs = evaluator.read(machine.memory)
    most = max(stop.ticks for stop in machine.stops())
    print(f"{most:,} ticks in {took:,.0f} s; every lane ended: {all(stop.done for stop in machine.stops())}")
    same = torch.equal(outputs, network(ciphertexts))
    print(f"As the network computes it without a chip, to the coefficient: {same}")

    # The client
    found = key.decrypt(outputs, program.steps)[:, 0].tolist()
    cells = len(program.cells)
    print(f"Under {p.name}, {cells} bootstrapping{'s' * (cells > 1)} an input")
    print(f"the function   {''.join(map(str, answers))}\ndecrypted      {''.join(map(str, found[: len(answers)]))}")
    right = sum(one == answers[lane % len(answers)] for lane, one in enumerate(found))
    print(f"{right} of {LANES} right")
    raise SystemExit(right != LANES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one gate instead")
    main(*((2, None, QUICK) if parser.parse_args().quick else (4, 3, TINY)))
