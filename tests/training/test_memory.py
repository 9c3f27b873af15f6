"""Freed memory is kept, where the C library lets it be."""

import ctypes

import pytest

from holdfast.training.memory import keep_freed_memory


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_alone(monkeypatch, error):
    def refuse(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    keep_freed_memory.__wrapped__()


def test_asking_again_changes_nothing():
    keep_freed_memory()
    keep_freed_memory()
