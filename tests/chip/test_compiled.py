"""One tick of the core as a network: its size, and how it is kept."""

import pytest
import torch

from holdfast.chip.compiled import LAYERS, cache_folder, compiled_core


def test_a_tick_is_five_layers(compiled):
    """And exact in float32. Smaller than any published: 533,344 weights (rv32cpu)."""
    assert compiled.wrong_bits == 0
    assert compiled.layers.exact_in("float32")
    layers = compiled.layers
    assert (layers.depth, layers.neurons <= 7_000, layers.connections <= 45_000) == (5, True, True)


def test_it_is_compiled_once_and_said_so(core, cache, capsys):
    folder, times = cache
    first, said = compiled_core(), capsys.readouterr().err
    second = compiled_core()
    assert (len(times), said, capsys.readouterr().err) == (1, "holdfast: compiling the core, once\n", "")
    assert "module \\core" in times[0][0]
    assert times[0][1] == {"clock": "clk", "wide": True, "layers": LAYERS}
    assert first is core
    assert second.registers == core.registers
    assert torch.equal(second.tick.weight, core.tick.weight)
    assert sorted(file.suffix for file in folder.iterdir()) == [".safetensors", ".sha256"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "no sum", "no such text"])
def test_what_is_damaged_is_made_anew(cache, damage):
    folder, times = cache
    compiled_core()
    net, total = sorted(folder.iterdir())
    whole = net.read_bytes()
    if damage == "cut":
        net.write_bytes(whole[:1000])
    elif damage == "flipped":
        net.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    elif damage == "no sum":
        total.unlink()
    else:
        total.write_bytes(b"\xff\xfe")
    compiled_core()
    assert (len(times), len(net.read_bytes())) == (2, len(whole))
    compiled_core()
    assert len(times) == 2


def test_another_compiler_is_another_core(cache, tmp_path, monkeypatch):
    folder, times = cache
    compiled_core()
    (tmp_path / "layers.py").write_text("# another")
    monkeypatch.setattr("holdfast.chip.compiled.CIRCUITS", tmp_path)
    compiled_core()
    assert (len(times), len(list(folder.iterdir()))) == (2, 4)


def test_a_folder_that_cannot_be_written_is_no_obstacle(core, cache, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled_core() is core
    assert "Not a directory. The core is not kept." in capsys.readouterr().err


def test_the_folder_is_the_users_where_none_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for said in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", said)
        assert cache_folder() == tmp_path / ".cache" / "holdfast"
