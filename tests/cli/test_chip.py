"""`holdfast chip`, with a core that is compiled once."""

import json
import os
import shutil
import signal

import pytest

from chip.assembled import A0, ECALL, FIBONACCI, op, words
from holdfast.chip.engines.by_name import ENGINES

pytest.importorskip("numba", reason='loops are compiled by numba: pip install "holdfast[encrypted]"')
from holdfast.chip.engines.bits import BitsEngine
from holdfast.cli import main


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder of its own: the first of these tests compiles the core."""
    pytest.importorskip("amaranth", reason='the core is written in Amaranth: pip install "holdfast[hdl]"')
    pytest.importorskip("pyosys", reason='RTLIL needs Yosys: pip install "holdfast[hdl]"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def fibonacci(tmp_path):
    path = tmp_path / "fibonacci.bin"
    path.write_bytes(FIBONACCI.segments[0].data)
    return path


def typed(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["chip", *map(str, arguments)])
    return ended.value.code


def test_a_program_and_what_is_said_of_it(fibonacci, capsys):
    assert typed("run", fibonacci, "--at", 0) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ticks         144 in ")
    assert lines[1:] == [
        "instructions  143",
        "stopped       done (ecall) (pc 0x00000028: ecall), tick 144",
        "outputs       0 1 1 2 3 5 8 13 21 34 55 89 144 233 377 610 987 1597 2584 4181",
        "registers     t1 0x1a6d  t2 0x2ac2  s0 0x2ac2  s1 0x10000000",
    ]


def test_as_json_with_lanes(fibonacci, capsys):
    assert typed("run", fibonacci, "--at", "0x40", "--lanes", 3, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert {key: record[key] for key in ("ticks", "instructions")} == {"ticks": 144, "instructions": 3 * 143}
    assert set(record) == {
        "program", "engine", "ticks", "instructions", "seconds", "ticks_per_second", "lanes",
    }  # fmt: skip
    assert record["lanes"][0] == record["lanes"][2]
    lane = record["lanes"][0]
    said = {"done": True, "runs": False, "cause": "ecall", "pc": 0x68, "address": None, "ticks": 144}
    assert lane | said == lane
    assert (lane["outputs"][-1], lane["registers"]["s1"], "a0" in lane["registers"]) == (4181, 0x1000_0000, False)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_says_the_same_and_which_it_is(fibonacci, capsys, engine):
    asked = ["run", fibonacci, "--at", 0, "--lanes", 2]
    assert typed(*asked, "--engine", engine, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert typed(*asked, "--json") == 0
    fastest = json.loads(capsys.readouterr().out)
    assert (record["engine"], fastest["engine"]) == (engine, "bits")
    assert (record["lanes"], record["ticks"]) == (fastest["lanes"], fastest["ticks"])
    assert typed(*asked, "--engine", engine) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(f"of all lanes (engine {engine})")
    assert typed(*asked, "--engine", engine, "--trace") == 0
    assert "       2  00000004  addi t2,zero,1                t2 = 0x00000001\n" in capsys.readouterr().out


def test_without_numba_it_says_so_and_runs_the_network(fibonacci, capsys, monkeypatch):
    monkeypatch.setattr("holdfast.chip.engines.by_name.fastest", lambda: "network")
    assert typed("run", fibonacci, "--at", 0, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["engine"] == "network"
    assert "the engine is network; bits is some 50 times as fast, and needs numba" in said.err
    assert typed("run", fibonacci, "--at", 0, "--engine", "network") == 0
    assert "numba" not in capsys.readouterr().err


def test_lanes_that_are_alike_are_said_once(fibonacci, capsys):
    assert typed("run", fibonacci, "--at", 0, "--lanes", 3, "--cycles", 10) == 1
    out = capsys.readouterr().out
    assert "3 lanes (0 to 2):\nstopped       still running (pc 0x" in out
    assert out.count("registers") == 1
    assert "a second, " in out.splitlines()[0]


def test_a_trace(fibonacci, capsys):
    assert typed("run", fibonacci, "--at", 0, "--trace") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "       2  00000004  addi t2,zero,1                t2 = 0x00000001"
    assert len(lines) == 1 + 143 + 5
    assert typed("run", fibonacci, "--at", 0, "--trace", "--json") == 0
    both = capsys.readouterr()
    assert json.loads(both.out)["ticks"] == 144
    assert len(both.err.splitlines()) == 1 + 143


def test_memory_is_where_it_is_said_to_be(tmp_path, capsys):
    path = tmp_path / "store.bin"
    path.write_bytes(words(op("addi", A0, 0, imm=7), op("sw", 0, 0, A0, 0x400), op("sw", 0, 0, A0, 0x500), ECALL))
    assert typed("run", path, "--at", 0, "--ram", 256, "--ram-at", "0x400") == 1
    assert "a store to 0x00000500, where no memory is; it has RAM 0x0 to 0x10, RAM 0x400 to 0x500" in (
        capsys.readouterr().out
    )
    assert typed("run", path, "--at", 0, "--ram", "0x200", "--ram-at", "0x300", "--output", "0x500", "--json") == 0
    assert json.loads(capsys.readouterr().out)["lanes"][0]["outputs"] == [7]


def test_who_stops_it_reads_where_it_is(fibonacci, capsys, monkeypatch):
    def stopped(machine, cycles, watch):
        machine.tick()
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.chip.machine.Machine.run", stopped)
    assert typed("run", fibonacci, "--at", 0) == 1
    assert "still running (pc 0x00000004: addi t2,zero,1), tick 1" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--trace"]])
def test_ctrl_c_finds_all_lanes_at_the_same_tick(tmp_path, capsys, monkeypatch, more):
    """It comes while an engine is at work on 1,200 lanes, in three blocks."""
    path = tmp_path / "loop.bin"
    path.write_bytes(words(op("addi", A0, A0, imm=1), op("jal", 0, imm=-4)))
    run_block, calls = BitsEngine.run_block, []

    def interrupted(engine, number, ticks):
        calls.append(number)
        if calls.count(1) == 3 and number == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return run_block(engine, number, ticks)

    monkeypatch.setattr(BitsEngine, "run_block", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert typed("run", path, "--at", 0, "--lanes", 1200, "--cycles", 1_000_001, "--json", *more) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["ticks"] < 1_000_001
    assert {lane["ticks"] for lane in record["lanes"]} == {record["ticks"]}
    assert {lane["registers"]["a0"] for lane in record["lanes"]} == {(record["ticks"] + 1) // 2}
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--at", "here"], "--at takes a whole number, such as 65536 or 0x1_0000; got 'here'"),
        (["--at", "2"], "expected an address of an instruction"),
        (["--at", "0", "--cycles", "0"], "needs cycles of 1 or more; got 0"),
        (["--at", "0", "--lanes", "5000"], "--lanes is 4,096 at most; got 5,000"),
        (["--at", "0", "--engine", "bit"], "Unknown engine 'bit'. Perhaps you meant 'bits'"),
        (["--at", "0", "--engine", "c"], "Unknown engine 'c'. Valid: bits, kernel, network."),
        (["--at", "0", "--ram", "3"], "RAM lies at an address that is a multiple of 4"),
        (["--at", "0", "--output", "1"], "The output word has an address that is a multiple of 4"),
    ],
)
def test_what_is_refused(fibonacci, capsys, more, said):
    assert typed("run", fibonacci, *more) == 2
    assert said in capsys.readouterr().err


def test_programs_that_do_not_fit_or_are_none(fibonacci, tmp_path, capsys):
    assert typed("run", fibonacci, "--at", 0, "--ram-at", 0, "--ram", 16) == 1
    assert "beyond the 16 bytes of RAM at 0x0. Give it 44 or more" in capsys.readouterr().err
    assert typed("run", fibonacci) == 1
    assert typed("run", tmp_path / "nothing") == 2
    assert "is no file" in capsys.readouterr().err


def test_a_bar_where_there_is_a_terminal(fibonacci, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert typed("run", fibonacci, "--at", 0) == 0
    assert "running fibonacci.bin" in capsys.readouterr().err


def test_a_line_now_and_then_where_there_is_none(fibonacci, capsys, monkeypatch):
    monkeypatch.setattr("holdfast.cli.chip.PLAIN_EVERY_S", 0.0)
    assert typed("run", fibonacci, "--at", 0) == 0
    assert "running fibonacci.bin: 64 of 100,000 ticks at most\n" in capsys.readouterr().err


def test_the_official_tests(capsys, tmp_path):
    assert typed("test", tmp_path) == 2
    assert "has no isa/rv32ui/*.S" in capsys.readouterr().err
    folder = os.environ.get("HOLDFAST_RISCV_TESTS")
    if not folder or not shutil.which("riscv64-unknown-elf-gcc"):
        pytest.skip("needs HOLDFAST_RISCV_TESTS, a folder with riscv-tests, and riscv64-unknown-elf-gcc")
    assert typed("test", folder, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert [record[key] for key in ("passed", "declared_out", "failed", "total")] == [40, 2, 0, 42]
    out = {test["name"]: test["why"] for test in record["tests"] if test["result"] == "declared out"}
    assert set(out) == {"ma_data", "fence_i"}
    assert "misaligned" in out["ma_data"]
    assert typed("test", folder) == 0
    assert "40 of 42 passed, 2 declared out, 0 failed" in capsys.readouterr().out
