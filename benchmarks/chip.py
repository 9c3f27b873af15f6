"""How fast a machine runs by each engine, in ticks a second and as ratios from one run.

    python benchmarks/chip.py [--json] [--quick]

Each lane runs a loop of nine instructions (sums, a load, a store of a word and one of a byte, a branch) over a RAM
of 64 KiB of its own, out of step with the others; ROM, RAM and the look-up of addresses are in the timing. One
thread, float32. Wall time; each figure is the median of nine runs that take turns.

- `network_ticks_64`, `kernel_ticks_64`, `bits_ticks_64`, ...: ticks a second of an engine with so many lanes.
- `verilator`, `cxxrtl`: ticks a second of the same core with one lane, its ROM and RAM in C++ (`chip.cpp`), which
  runs the same program. Left out where Yosys, Verilator or a C++ compiler is missing.
- `bits_vs_verilator_64`, ...: ticks of all lanes as multiples of that.
- `vs_csr_1`, `vs_csr_64`, `vs_csr_256`: how many times as fast the network alone is, with so many lanes, as the
  same stages by `addmm` with matrices in PyTorch's CSR format.
- `network_1`, `network_64`, `network_256`: the part of a tick's time in engine "network" that the network takes.
"""

import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch

from holdfast.chip.compiled import compiled_core
from holdfast.chip.core import core_rtlil
from holdfast.chip.engines.by_name import fastest
from holdfast.chip.machine import Machine
from holdfast.chip.memory import Ram
from holdfast.chip.program import Program, Segment
from holdfast.circuits.formats.verilog import RUN
from holdfast.circuits.stages import Rows

LANES, RAM = (1, 64, 256), Ram(0x8000_0000, 1 << 16)
MANY = {"network": LANES, "kernel": (*LANES, 4096), "bits": (*LANES, 4096)}
ROUNDS, LEAST_S = 9, 0.1
"""How often, and how long at least, something runs for a figure."""
LOOP = """
    800002b7 0002a503 fff50513 fe051ee3
    00100393 00730433 00038313 00040393 0082a023 0002a483 009282a3 00158593 00000013 fe0590e3 fddff06f
"""
"""lui t0,0x80000; lw a0,(t0); a loop that counts a0 down; addi t2,zero,1; then, for ever: add s0,t1,t2; addi t1,t2;
addi t2,s0; sw s0,(t0); lw s1,(t0); sb s1,5(t0); addi a1,a1,1; nop; a branch back."""


def machine(lanes: int, engine: str = "network") -> Machine:
    code = b"".join(struct.pack("<I", int(word, 16)) for word in LOOP.split())
    made = Machine([Program((Segment(0, code, writable=False),), 0)] * lanes, ram=RAM, engine=engine)
    for lane in range(lanes):
        made.memory.write(lane, RAM.address, struct.pack("<I", 1 + lane % 16))
    made.run(100)
    if not all(stop.runs for stop in made.stops()):
        raise SystemExit(made.stops()[0].why)
    return made


def simulator(name: str, folder: Path) -> Path:
    """The core by "verilator" or "cxxrtl", compiled.

    Raises:
        FileNotFoundError: a tool that it needs is not installed.
    """
    for tool in ("g++", "make", *(["verilator"] if name == "verilator" else [])):
        if not shutil.which(tool):
            raise FileNotFoundError(tool)
    if not (yosys := find_spec("pyosys")) or not yosys.origin:
        raise FileNotFoundError("pyosys")
    runtime = Path(yosys.origin).parent / "share/include/backends/cxxrtl/runtime"
    folder.mkdir()
    (folder / "core.il").write_text(core_rtlil())
    passes = ["read_rtlil core.il", "hierarchy -top core"]
    passes += ["write_cxxrtl core.cc"] if name == "cxxrtl" else ["proc", "flatten", "write_verilog -noattr core.v"]
    harness, to = Path(__file__).with_name("chip.cpp").resolve(), folder / "core"
    build = ["g++", "-O3", "-std=c++17", "-DCXXRTL", f"-I{runtime}", "-I.", str(harness), "-o", str(to)]
    if name == "verilator":
        build = ["verilator", "--cc", "--exe", "--build", "-O3", "--x-assign", "fast", "-Wno-lint", "-CFLAGS", "-O3"]
        build += ["--Mdir", "built", "-o", str(to), "--top", "core", "core.v", str(harness)]
    for command in ([sys.executable, "-c", RUN, *passes], build):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")
    return to


def simulated(path: Path, ticks: int) -> tuple[float, int, int]:
    """Seconds of so many ticks, the pc after them, and the second word of RAM."""
    done = subprocess.run([path, str(ticks), *LOOP.split()], capture_output=True, text=True, check=True)
    took, pc, word = done.stdout.split()
    return float(took), int(pc), int(word)


def refuse_other(path: Path) -> None:
    """See that a simulator is after 1,000 ticks where the machine is."""
    made = machine(1)
    made.run(900)
    word = int.from_bytes(made.memory.read(0, RAM.address + 4, 4), "little")
    if simulated(path, 1000)[1:] != (int(made.pc_B[0]), word):
        raise SystemExit(f"{path} does something else than the machine.")


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


def enough(run: Callable[[int], float], least: float) -> int:
    """Ticks that take so many seconds."""
    ticks = 1
    while run(ticks) < least:
        ticks *= 2
    return ticks


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
    say = (lambda _: None) if asked.json else partial(print, flush=True)
    least = LEAST_S / (10 if asked.quick else 1)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name in ("verilator", "cxxrtl"):
            try:
                paths[name] = simulator(name, Path(folder) / name)
            except FileNotFoundError as error:
                say(f"{name}: no ratios, as {error} is not installed")
                continue
            refuse_other(paths[name])
        if fastest() == "network":
            say("kernel, bits: left out, as numba is not installed")
        engines = MANY if fastest() == "bits" else {"network": MANY["network"]}
        made = {(engine, lanes): machine(lanes, engine) for engine, many in engines.items() for lanes in many}
        rates: dict[str | tuple[str, int], list[float]] = {each: [] for each in (*paths, *made)}
        runs: dict[str | tuple[str, int], Callable[[int], float]] = {}
        runs |= {name: lambda ticks, path=path: simulated(path, ticks)[0] for name, path in paths.items()}
        runs |= {key: lambda ticks, run=each.run: seconds(partial(run, ticks), 1) for key, each in made.items()}
        ticks = {which: enough(run, least) for which, run in runs.items()}
        for _ in range(ROUNDS):
            for which, run in runs.items():
                rates[which].append(ticks[which] / run(ticks[which]))
    for name in paths:
        figures[name] = round(median(rates[name]))
        say(f"{name}: {figures[name]:,} ticks a second ({min(rates[name]):,.0f} to {max(rates[name]):,.0f})")
    for engine, lanes in made:
        of = rates[engine, lanes]
        figures[f"{engine}_ticks_{lanes}"] = round(median(of))
        said = f"{engine}, {lanes:,} lanes: {median(of):,.0f} ticks a second ({min(of):,.0f} to {max(of):,.0f}), "
        said += f"{lanes * median(of):,.0f} of all lanes"
        for name in paths:
            # Of the same round, as other rounds may have run on a busier machine.
            ratio = median(lanes * ours / theirs for ours, theirs in zip(of, rates[name], strict=True))
            figures[f"{engine}_vs_{name}_{lanes}"] = float(f"{ratio:.3g}")
            said += f", {ratio:.3g} x {name}"
        say(said)
    for lanes in LANES:
        each, rows, other = made["network", lanes], Rows(compiled_core().tick, lanes), csr(lanes)
        ticks = max(10, 2000 // (1 + lanes // 16) // (10 if asked.quick else 1))
        times = [[seconds(what, ticks) for what in (each.tick, rows.compute, other)] for _ in range(ROUNDS)]
        figures[f"vs_csr_{lanes}"] = round(median(csr / net for _, net, csr in times), 2)
        figures[f"network_{lanes}"] = round(median(net / ours for ours, net, _ in times), 2)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
