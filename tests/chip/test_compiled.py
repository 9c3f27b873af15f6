"""One tick of the core as a network: its size, and programs that it runs as unicorn does."""

import pytest
import torch

from chip.machine import ILLEGAL, Executed
from chip.random_programs import random_run
from chip.test_core import words
from holdfast.chip.core import core_rtlil
from holdfast.circuits import Recurrent, build, read_clocked

pytest.importorskip("pyosys", reason='RTLIL needs Yosys: pip install "holdfast[hdl]"')
INSTRUCTIONS = 200


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """Its registers, and its tick."""
    path = tmp_path_factory.mktemp("core") / "core.il"
    path.write_text(core_rtlil())
    clocked = read_clocked(path, clock="clk")
    return clocked.registers, build(clocked.tick, wide=True, layers=5)


def test_a_tick_is_five_layers(core):
    """And exact in float32. Smaller than any published: 533,344 weights (rv32cpu)."""
    _, tick = core
    assert tick.wrong_bits == 0
    assert tick.layers.exact_in("float32")
    assert (tick.layers.depth, tick.layers.neurons <= 7_000, tick.layers.connections <= 45_000) == (5, True, True)


def numbers(bits_BI, ports):
    """Of each lane the words on these ports, by name."""
    found = []
    for bits in bits_BI.int().tolist():
        each, at = {}, 0
        for port in ports:
            each[port.name] = sum(bit << i for i, bit in enumerate(bits[at : at + len(port.bits)]))
            at += len(port.bits)
        found.append(each)
    return found


def test_programs_side_by_side_in_lockstep_with_unicorn(core):
    """Twelve lanes, each with ROM and RAM of its own, as `machine.run` has them."""
    registers, compiled = core
    net, programs = Recurrent(compiled.network, registers), [random_run(seed, INSTRUCTIONS) for seed in range(12)]
    rams, traces = [words(program.ram_before) for program in programs], [[] for _ in programs]
    ports = net.tick.output_ports
    state, rdata, first = net.power_up(len(programs)), [0] * len(programs), True
    pcs = [0] * len(programs)
    while min(map(len, traces)) < INSTRUCTIONS:
        asked = []
        for lane, program in enumerate(programs):
            comes = {"rdata": rdata[lane], "rst": first, "instr": program.code.get(pcs[lane], ILLEGAL)}
            inputs = net.tick.input_ports[:3]
            asked.append([float(comes[p.name] >> i & 1) for p in inputs for i in range(len(p.bits))])
        with torch.no_grad():
            out, state = net(torch.tensor(asked)[:, None], state)
        for lane, said in enumerate(numbers(torch.cat([out[:, 0], state], 1), ports)):
            address, ram, stored = said["address"] & ~3, rams[lane], None
            if len(traces[lane]) < INSTRUCTIONS:
                if said["strobe"]:
                    mask = sum(0xFF << 8 * at for at in range(4) if said["strobe"] >> at & 1)
                    ram[address] = ram.get(address, 0) & ~mask | said["wdata"] & mask
                    stored = address, ram[address]
                if not (said["read"] or first or said["halted"]):
                    held = tuple(said[f"registers[{r}]'"] for r in range(1, 32))
                    traces[lane].append(Executed(pcs[lane], held, stored))
            rdata[lane] = ram.get(address, 0) if said["read"] else 0xDEAD_BEEF
            pcs[lane] = said["pc'"]
        first = False
    assert traces == [program.trace for program in programs]
    assert rams == [words(program.ram_after) for program in programs]
