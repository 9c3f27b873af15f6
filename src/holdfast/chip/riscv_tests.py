"""RISC-V's own tests of the base integer instructions: rv32ui of github.com/riscv-software-src/riscv-tests.

Each compares what instructions give with what they should, case by case, and ends with an ecall (`riscv_test.h`).
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from holdfast.chip.instructions import Cause
from holdfast.chip.machine import Stop
from holdfast.chip.program import Program, read_program
from holdfast.errors import HoldfastError, UsageError

GCC = "riscv64-unknown-elf-gcc"
DECLARED_OUT = {"ma_data": Cause.MISALIGNED_LOAD, "fence_i": Cause.ILLEGAL}
"""Misaligned access, and the instruction FENCE.I (Zifencei): no part of this core, which stops there."""
GP, PASSED = 3, 1
"""Register x3 has the outcome: 1 if all went well, else twice the number of the case that failed, and 1."""
MOST_TICKS = 10_000


def build_tests(folder: Path) -> dict[str, Program]:
    """Every test by its name, compiled from a checkout.

    Args:
        folder: the checkout, with its folder `isa`.

    Raises:
        UsageError: it is none.
        HoldfastError: there is no compiler, or it failed.
    """
    isa = folder / "isa"
    sources = sorted((isa / "rv32ui").glob("*.S"))
    if not sources:
        raise UsageError(
            f"Expected a checkout of github.com/riscv-software-src/riscv-tests; {folder} has no isa/rv32ui/*.S. "
            f"Make one: git clone https://github.com/riscv-software-src/riscv-tests"
        )
    compiler = shutil.which(GCC)
    if compiler is None:
        raise HoldfastError(
            f"The tests are compiled by {GCC}, which is not installed (Debian: gcc-riscv64-unknown-elf)."
        )
    with tempfile.TemporaryDirectory() as built:
        return {source.stem: _built(compiler, isa, source, Path(built) / source.stem) for source in sources}


def _built(compiler: str, isa: Path, source: Path, to: Path) -> Program:
    headers = [f"-I{Path(__file__).parent}", f"-I{isa / 'macros' / 'scalar'}"]
    target = [f"-march=rv32i{'_zifencei' * (source.stem == 'fence_i')}", "-mabi=ilp32", "-static", "-nostdlib"]
    # Not relaxed, as then addresses would be made from gp, in which the tests count.
    layout = ["-Ttext=0", "-Tdata=0x80000000", "-Wl,--no-relax"]
    command = [compiler, *target, *layout, *headers, str(source), "-o", str(to)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HoldfastError(f"{GCC} could not compile {source}: {done.stderr.strip()[-400:]}")
    return read_program(to)


def result(name: str, stop: Stop, gp: int) -> str:
    """How a test went: "passed", "declared out" (and it stopped for that reason), or "failed"."""
    if name in DECLARED_OUT:
        return "declared out" if stop.cause == DECLARED_OUT[name] else "failed"
    return "passed" if stop.done and gp == PASSED else "failed"
