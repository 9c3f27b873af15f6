"""The same comparisons as in test_core.py, more of them, with the core made into a program by Verilator.

$HOLDFAST_LOCKSTEP is how many instructions are compared (20,000 by default; 1,000,000 take a minute).
"""

import os
from collections import Counter

import pytest

from chip.legality import legal
from chip.random_programs import NAMES, RAM_BYTES, random_run
from chip.verilated import MISSING, Verilated
from holdfast.chip.instructions import Cause

pytest.importorskip("pyosys", reason='Yosys writes the Verilog: pip install "holdfast[hdl]"')
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
LENGTH = int(os.environ.get("HOLDFAST_LOCKSTEP", "20_000"))


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    core = Verilated(tmp_path_factory.mktemp("verilated"))
    yield core
    core.close()


def test_in_lockstep_with_unicorn_through_random_programs(core):
    compared, seed = Counter(), 1000
    while compared.total() < LENGTH:
        program = random_run(seed, 3000)
        ended, ram = core.run(program.code, program.ram_before, len(program.trace))
        assert (ended.trace, ram, ended.halted) == (program.trace, program.ram_after, False), f"seed {seed}"
        compared += program.counts
        seed += 1
    assert {name for name, _ in compared} == {*NAMES}
    print(f"{compared.total():,} instructions of {seed - 1000:,} programs: {sorted(compared.items())}")


def test_the_same_words_are_instructions_as_in_unicorn(core):
    ram = bytes(RAM_BYTES)
    for word, expected in legal(every=1 if LENGTH >= 1_000_000 else 17).items():
        ended, _ = core.run({0: word}, ram, 1)
        assert (ended.halted and ended.cause == Cause.ILLEGAL) != expected, f"{word:#010x}"
