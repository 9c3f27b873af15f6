"""Freed memory is kept, where the C library lets it be."""

import ctypes
from types import SimpleNamespace

import pytest

from holdfast.training.memory import FROM_HEAP, KEPT, MMAP_THRESHOLD, TRIM_THRESHOLD, keep_freed_memory


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_alone(monkeypatch, error):
    def refuse(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    keep_freed_memory.__wrapped__()


def test_it_is_asked_once_a_process(monkeypatch):
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda *option: asked.append(option)))
    keep_freed_memory.cache_clear()
    keep_freed_memory()
    keep_freed_memory()
    assert sorted(asked) == [(MMAP_THRESHOLD, FROM_HEAP), (TRIM_THRESHOLD, KEPT)]
