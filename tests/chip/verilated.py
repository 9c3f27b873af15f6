"""The core by Verilator: from RTLIL through Yosys to Verilog, and to a program that runs it."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

from chip.machine import Ended, Executed
from chip.random_programs import RAM_BYTES
from holdfast.chip.core import core_rtlil
from holdfast.circuits.formats.verilog import RUN

MISSING = [tool for tool in ("verilator", "g++", "make") if not shutil.which(tool)]
PASSES = ("read_rtlil core.il", "hierarchy -top core", "proc", "flatten", "write_verilog -noattr core.v")
TRACED = 34
"""Words of one instruction: pc, x1 to x31, address and word of a store."""


class Verilated:
    """The process. `run` may be called again and again."""

    def __init__(self, folder: Path) -> None:
        (folder / "core.il").write_text(core_rtlil())
        build = ["--cc", "--exe", "--build", "--public-flat-rw", "-O3", "-Wno-lint", "--Mdir", "built"]
        harness = str(Path(__file__).with_name("lockstep.cpp"))
        for command in (
            [sys.executable, "-c", RUN, *PASSES],
            ["verilator", *build, "--top", "core", "core.v", harness],
        ):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        built = folder / "built" / "Vcore"
        self.process = subprocess.Popen([built], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, code: dict[int, int], ram: bytes, instructions: int) -> tuple[Ended, bytes]:
        """As `machine.run`, and RAM after it."""
        placed = [number for pair in code.items() for number in pair]
        self.process.stdin.write(struct.pack(f"<2I{len(placed)}I", len(code), instructions, *placed) + ram)
        self.process.stdin.flush()
        executed, pc, halted, cause = struct.unpack("<4I", self.process.stdout.read(16))
        words = struct.unpack(f"<{TRACED * executed}I", self.process.stdout.read(4 * TRACED * executed))
        rows = [words[at : at + TRACED] for at in range(0, len(words), TRACED)]
        trace = [Executed(row[0], row[1:32], row[32:] if row[32] else None) for row in rows]
        return Ended(trace=trace, pc=pc, halted=bool(halted), cause=cause), self.process.stdout.read(RAM_BYTES)

    def close(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()
