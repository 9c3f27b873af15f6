"""The core as a network, compiled once a session."""

import pytest

import holdfast.chip.compiled as keeping
from holdfast.circuits import Recurrent, build, read_clocked


@pytest.fixture(scope="session")
def clocked(tmp_path_factory):
    pytest.importorskip("amaranth", reason='the core is written in Amaranth: pip install "holdfast[hdl]"')
    pytest.importorskip("pyosys", reason='RTLIL needs Yosys: pip install "holdfast[hdl]"')
    from holdfast.chip.core import core_rtlil

    path = tmp_path_factory.mktemp("core") / "core.il"
    path.write_text(core_rtlil())
    return read_clocked(path, clock="clk")


@pytest.fixture(scope="session")
def compiled(clocked):
    return build(clocked.tick, wide=True, layers=keeping.LAYERS)


@pytest.fixture(scope="session")
def core(clocked, compiled):
    return Recurrent(compiled.network, clocked.registers)


@pytest.fixture
def cache(core, tmp_path, monkeypatch):
    """A cache folder of its own, and how often the core is compiled, which takes no time here."""
    times = []

    def compiling(source, **options):
        times.append((source.read_text(), options))
        return core

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(keeping, "recurrent", compiling)
    return tmp_path / "cache" / "holdfast", times
