"""What Yosys makes of the core: cells of whole words, and how they hang together."""

import json
import re
import subprocess
import sys

import pytest

from chip.machine import WHY
from holdfast.circuits.formats.verilog import RUN

pytest.importorskip("pyosys", reason='Yosys reads it: pip install "holdfast[hdl]"')
pytest.importorskip("amaranth", reason=WHY)
READ = ("read_rtlil core.il", "hierarchy -top core", "proc", "flatten", "opt", "memory -nomap", "opt_clean")
WORKING = {"$add", "$sub", "$lt", "$shl", "$shr", "$sshr"}
"""Cells that take a layer of carries or shifts, and of which no path may pass two."""


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    from holdfast.chip.core import core_rtlil

    folder = tmp_path_factory.mktemp("rtlil")
    (folder / "core.il").write_text(core_rtlil())
    passes = [*READ, "check -assert", "write_json core.json"]
    command = [sys.executable, "-c", RUN, *passes]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return json.loads((folder / "core.json").read_text())["modules"]["core"]["cells"]


def test_registers_are_one_memory_with_two_reads_straight_away_and_one_clocked_write(cells):
    (memory,) = [cell["parameters"] for cell in cells.values() if cell["type"].startswith("$mem")]
    numbers = {name: int(memory[name], 2) for name in ("SIZE", "WIDTH", "RD_PORTS", "RD_CLK_ENABLE", "WR_PORTS")}
    assert numbers == {"SIZE": 32, "WIDTH": 32, "RD_PORTS": 2, "RD_CLK_ENABLE": 0, "WR_PORTS": 1}
    assert int(memory["WR_CLK_ENABLE"], 2) == 1


def test_there_is_one_clock_and_no_latch(cells):
    keeping = {cell["type"] for cell in cells.values() if re.search(r"ff|latch|\$sr$", cell["type"])}
    assert keeping <= {"$dff", "$dffe", "$sdff", "$sdffe", "$sdffce"}
    clocks = {tuple(cell["connections"]["CLK"]) for cell in cells.values() if "dff" in cell["type"]}
    clocks |= {tuple(cell["connections"]["WR_CLK"]) for cell in cells.values() if cell["type"] == "$mem_v2"}
    assert len(clocks) == 1


def test_no_sum_comparison_or_shift_waits_for_another(cells):
    drives = {}
    for name, cell in cells.items():
        if "dff" not in cell["type"]:
            for pin, bits in cell["connections"].items():
                if cell["port_directions"][pin] == "output":
                    drives.update(dict.fromkeys(bits, name))

    def works(name, seen):
        """Working cells in what drives a cell's inputs. A read waits for its address alone."""
        for pin, bits in cells[name]["connections"].items():
            if cells[name]["port_directions"][pin] == "input" and not pin.startswith("WR_"):
                for other in {drives[bit] for bit in bits if bit in drives} - seen:
                    seen.add(other)
                    if cells[other]["type"] in WORKING:
                        yield other
                    yield from works(other, seen)

    working = [name for name, cell in cells.items() if cell["type"] in WORKING]
    assert len(working) == 9
    assert not [name for name in working if [*works(name, set())]]
