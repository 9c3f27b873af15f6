"""How fast the machine around the core runs, in ticks a second and as ratios from one run.

    python benchmarks/chip.py [--json] [--quick]

Each lane runs a loop of nine instructions (sums, a load, a store of a word and one of a byte, a branch) over a RAM of
64 KiB of its own, out of step with the others; ROM, RAM and the look-up of addresses are in the timing. One thread,
float32, plain PyTorch. Wall time; each figure is the median of nine runs that take turns.

- `vs_csr_1`, `vs_csr_64`, `vs_csr_256`: how many times as fast the network alone is, with so many lanes, as the same
  stages by `addmm` with matrices in PyTorch's CSR format.
- `network_1`, `network_64`, `network_256`: the part of a tick's time that the network takes.
"""

import argparse
import json
import struct
import time
import warnings
from collections.abc import Callable
from statistics import median

import torch

from holdfast.chip.compiled import compiled_core
from holdfast.chip.machine import Machine
from holdfast.chip.memory import Ram
from holdfast.chip.program import Program, Segment
from holdfast.circuits.stages import Rows

LANES, RAM = (1, 64, 256), Ram(0x8000_0000, 1 << 16)
LOOP = """
    800002b7 0002a503 fff50513 fe051ee3
    00100393 00730433 00038313 00040393 0082a023 0002a483 009282a3 00158593 00000013 fe0590e3 fddff06f
"""
"""lui t0,0x80000; lw a0,(t0); a loop that counts a0 down; addi t2,zero,1; then, for ever: add s0,t1,t2; addi t1,t2;
addi t2,s0; sw s0,(t0); lw s1,(t0); sb s1,5(t0); addi a1,a1,1; nop; a branch back."""


def machine(lanes: int) -> Machine:
    code = b"".join(struct.pack("<I", int(word, 16)) for word in LOOP.split())
    made = Machine([Program((Segment(0, code, writable=False),), 0)] * lanes, ram=RAM)
    for lane in range(lanes):
        made.memory.write(lane, RAM.address, struct.pack("<I", 1 + lane % 16))
    made.run(100)
    if not all(stop.runs for stop in made.stops()):
        raise SystemExit(made.stops()[0].why)
    return made


def csr(lanes: int) -> Callable[[], None]:
    """The network's stages by matrices in CSR."""
    net = compiled_core().tick
    values_RB = torch.zeros(net.inputs + len(net.bias), lanes)
    bias_R1, weight = net.bias.detach()[:, None], net.weight.detach()
    stages = []
    for (rows, at), relu in zip(net.stretches, net.relus, strict=True):
        top = net.inputs + rows.start
        starts = net.starts[rows.start : rows.stop + 1] - net.starts[rows.start]
        matrix = torch.sparse_csr_tensor(starts, net.indices[at], weight[at], size=(len(starts) - 1, top))
        bias = bias_R1[rows].expand(-1, lanes).contiguous()
        stages.append((values_RB[net.inputs :][rows], bias, matrix, values_RB[:top], relu))

    def tick() -> None:
        for out, bias, matrix, held, relu in stages:
            torch.addmm(bias, matrix, held, out=out)
            if relu:
                out.relu_()

    return tick


def seconds(what: Callable[[], object], ticks: int) -> float:
    began = time.perf_counter()
    for _ in range(ticks):
        what()
    return (time.perf_counter() - began) / ticks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one line of JSON only")
    parser.add_argument("--quick", action="store_true", help="a tenth of the ticks")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Sparse")  # CSR is in beta, says the first of them
    figures = {}
    for lanes in LANES:
        made, rows, other = machine(lanes), Rows(compiled_core().tick, lanes), csr(lanes)
        ticks = max(10, 2000 // (1 + lanes // 16) // (10 if asked.quick else 1))
        times = [[seconds(each, ticks) for each in (made.tick, rows.compute, other)] for _ in range(9)]
        of = sorted(lanes / each[0] for each in times)
        if not asked.json:
            each = f"{median(of) / lanes:,.0f} ticks a second, {median(of):,.0f} of all lanes"
            print(f"{lanes:>4} lanes: {each} ({of[0]:,.0f} to {of[-1]:,.0f})")
        figures[f"vs_csr_{lanes}"] = round(median(csr / net for _, net, csr in times), 2)
        figures[f"network_{lanes}"] = round(median(net / ours for ours, net, _ in times), 2)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
