"""The official tests of RISC-V's base integer instructions, rv32ui of github.com/riscv-software-src/riscv-tests.

$HOLDFAST_RISCV_TESTS names a checkout of it (with its folder `isa`); without that they are skipped.
"""

import os
import shutil
import struct
from pathlib import Path

import pytest

from chip.machine import run
from holdfast.chip.core import Core
from holdfast.chip.engines.by_name import ENGINES
from holdfast.chip.instructions import Cause
from holdfast.chip.machine import Machine, Stop
from holdfast.chip.riscv_tests import DECLARED_OUT, GCC, GP, MOST_TICKS, build_tests, result
from holdfast.errors import HoldfastError, UsageError

FOLDER = os.environ.get("HOLDFAST_RISCV_TESTS")
official = [
    pytest.mark.skipif(not FOLDER, reason="HOLDFAST_RISCV_TESTS names no folder with riscv-tests"),
    pytest.mark.skipif(not shutil.which(GCC), reason=f"needs {GCC}"),
]
NAMES = sorted(file.stem for file in (Path(FOLDER or ".") / "isa" / "rv32ui").glob("*.S"))


@pytest.fixture(scope="module")
def programs():
    return build_tests(Path(FOLDER))


def words(program):
    """All of it, code too, by address: some tests read words that stand among the instructions."""
    for segment in program.segments:
        padded = segment.data + bytes(-len(segment.data) % 4)
        for at, (word,) in enumerate(struct.iter_unpack("<I", padded)):
            yield segment.address + 4 * at, word


def executed(program):
    """In Amaranth's simulator: where the core is when it has run a test."""
    code, ram = dict(words(program)), dict(words(program))
    return run(Core(start=program.entry), code, ram, instructions=MOST_TICKS, traced=False)


@pytest.mark.parametrize("name", NAMES)
class TestTheCore:
    pytestmark = official

    def test_passes_or_stops_as_it_is_declared(self, programs, name):
        ended = executed(programs[name])
        if name in DECLARED_OUT:
            assert (ended.halted, ended.cause) == (True, DECLARED_OUT[name])
        else:
            assert (ended.halted, ended.cause, ended.registers[GP - 1]) == (True, Cause.ECALL, 1)


@pytest.mark.parametrize("engine", ENGINES)
class TestTheMachine:
    pytestmark = official

    def test_all_at_once(self, programs, core, clocked, engine):
        if engine != "network":
            pytest.importorskip("numba", reason='loops are compiled by numba: pip install "holdfast[encrypted]"')
        machine = Machine(list(programs.values()), core=clocked if engine == "bits" else core, engine=engine)
        machine.run(MOST_TICKS)
        held = machine.registers_B32[:, GP].tolist()
        ended = zip(programs, machine.stops(), held, strict=True)
        results = {name: result(name, stop, gp) for name, stop, gp in ended}
        assert results == {name: "declared out" if name in DECLARED_OUT else "passed" for name in programs}
        assert len(results) == 42


@pytest.mark.parametrize(
    ("name", "cause", "gp", "expected"),
    [
        ("add", Cause.ECALL, 1, "passed"),
        ("add", Cause.ECALL, 5, "failed"),
        ("add", Cause.ILLEGAL, 1, "failed"),
        ("add", None, 1, "failed"),
        ("fence_i", Cause.ILLEGAL, 0, "declared out"),
        ("fence_i", Cause.ECALL, 1, "failed"),
        ("ma_data", Cause.MISALIGNED_LOAD, 0, "declared out"),
    ],
)
def test_how_a_test_went(name, cause, gp, expected):
    stop = Stop("", cause, 0, None, runs=False, ticks=1, instructions=1)
    assert result(name, stop, gp) == expected


def test_what_cannot_be_built(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"a checkout of .*riscv-tests; .* has no isa/rv32ui/\*\.S. Make one"):
        build_tests(tmp_path)
    folder = tmp_path / "isa" / "rv32ui"
    folder.mkdir(parents=True)
    (folder / "add.S").write_text("nonsense, all of it\n")
    if shutil.which(GCC):
        with pytest.raises(HoldfastError, match=r"(?s)could not compile .*add.S: .*nonsense"):
            build_tests(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HoldfastError, match=f"compiled by {GCC}, which is not installed"):
        build_tests(tmp_path)
