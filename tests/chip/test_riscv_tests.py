"""The official tests of RISC-V's base integer instructions, rv32ui of github.com/riscv-software-src/riscv-tests.

$HOLDFAST_RISCV_TESTS names a checkout of it (with its folder `isa`); without that they are skipped.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from chip.machine import run
from holdfast.chip.core import Core
from holdfast.chip.instructions import Cause
from holdfast.chip.program import read_program

FOLDER, GCC = os.environ.get("HOLDFAST_RISCV_TESTS"), shutil.which("riscv64-unknown-elf-gcc")
pytestmark = [
    pytest.mark.skipif(not FOLDER, reason="HOLDFAST_RISCV_TESTS names no folder with riscv-tests"),
    pytest.mark.skipif(not GCC, reason="needs riscv64-unknown-elf-gcc"),
]
ISA = Path(FOLDER or ".") / "isa"
NAMES = sorted(file.stem for file in (ISA / "rv32ui").glob("*.S"))
DECLARED_OUT = {"ma_data": Cause.MISALIGNED_LOAD, "fence_i": Cause.ILLEGAL}
"""Misaligned access, and a program that writes its own instructions: no part of this core, which stops there."""
GP, MOST = 3, 10_000


def words(program):
    """All of it, code too, by address: some tests read words that stand among the instructions."""
    for segment in program.segments:
        padded = segment.data + bytes(-len(segment.data) % 4)
        for at, (word,) in enumerate(struct.iter_unpack("<I", padded)):
            yield segment.address + 4 * at, word


def executed(name, folder):
    """Where the core is when it has run a test."""
    headers = [f"-I{Path(__file__).parent}", f"-I{ISA / 'macros' / 'scalar'}"]
    target = [f"-march=rv32i{'_zifencei' * (name == 'fence_i')}", "-mabi=ilp32", "-static", "-nostdlib"]
    # Not relaxed, as then addresses would be made from gp, in which the tests count.
    layout = ["-Ttext=0", "-Tdata=0x80000000", "-Wl,--no-relax"]
    command = [GCC, *target, *layout, *headers, ISA / "rv32ui" / f"{name}.S", "-o", folder / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    program = read_program(folder / name)
    code, ram = dict(words(program)), dict(words(program))
    return run(Core(start=program.entry), code, ram, instructions=MOST, traced=False)


def test_there_are_42():
    assert len(NAMES) == 42


@pytest.mark.parametrize("name", [name for name in NAMES if name not in DECLARED_OUT])
def test_passes(name, tmp_path):
    ended = executed(name, tmp_path)
    assert (ended.halted, ended.cause, ended.registers[GP - 1]) == (True, Cause.ECALL, 1)


@pytest.mark.parametrize("name", DECLARED_OUT)
def test_declared_out_and_stopped_for_that(name, tmp_path):
    ended = executed(name, tmp_path)
    assert (ended.halted, ended.cause) == (True, DECLARED_OUT[name])
