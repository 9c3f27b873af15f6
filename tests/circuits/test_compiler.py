"""Compiled loops: what is kept of them, and where nothing can be kept."""

import pytest

pytest.importorskip("numba", reason='loops are compiled by numba: pip install "holdfast[encrypted]"')
import numba

from holdfast.circuits import compiler, kernel


def test_what_is_kept_is_of_all_sources():
    """A loop has others compiled into it, of other files."""
    assert kernel.compute._cache._cache_file._source_stamp == compiler.digest()


def test_other_sources_are_others(tmp_path, monkeypatch):
    for room in compiler.ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "some.py").write_text("BLOCK = 1")
    monkeypatch.setattr(compiler, "__file__", str(tmp_path / "circuits" / "compiler.py"))
    before = compiler.digest()
    assert compiler.digest() == before
    (tmp_path / "chip" / "some.py").write_text("BLOCK = 2")
    assert compiler.digest() != before


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(monkeypatch):
    def njit(cache=False, **more):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**more)

    monkeypatch.setattr(compiler, "njit", njit)
    assert compiler.compiled(lambda x: x + 1)(2) == 3
