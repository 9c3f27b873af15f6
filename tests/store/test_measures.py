"""Append-only measures: torn lines, damage, exact bytes."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import DamagedRun
from holdfast.store import Recorder
from holdfast.store.measures import read

CELL = {"kind": "Pressing", "seed": 3}


def write(path, looks=3, end=True):
    recorder = Recorder(path, CELL)
    for step in range(looks):
        recorder.add("pressure", step, {"presence": 1 / (step + 1), "accuracy": math.nan})
    if end:
        recorder.end()


def test_what_is_written_is_read(tmp_path):
    write(tmp_path / "a")
    measures = read(tmp_path / "a")
    assert measures.cell == CELL
    assert measures.complete
    columns = measures.phase("pressure")
    assert columns["step"] == [0, 1, 2]
    assert columns["presence"] == [1, 0.5, 1 / 3], "floats come back exactly"
    assert all(map(math.isnan, columns["accuracy"])), "not finite: null, read as NaN"
    assert measures.phase("reactivation") == {}
    for line in (tmp_path / "a").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_cut_anywhere_and_written_again_gives_the_same_bytes(tmp_path, data):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    whole.unlink(missing_ok=True)
    write(whole)
    text = whole.read_bytes()
    torn.write_bytes(text[: data.draw(st.integers(0, len(text)))])
    write(torn)
    assert torn.read_bytes() == text


def test_a_second_writer_adds_nothing_twice(tmp_path):
    write(tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == before


@pytest.mark.parametrize("damage", [b"rubbish", b'{"phase": 1', b"[]", b'{"step": 3}', b"\xff\xfe", b"3"])
def test_a_damaged_line_is_named_and_left_alone(tmp_path, damage):
    path = tmp_path / "a"
    write(path)
    lines = path.read_bytes().split(b"\n")
    lines[2] = damage
    path.write_bytes(b"\n".join(lines))
    before = path.read_bytes()
    with pytest.raises(DamagedRun, match=r"line 3 is damaged.*Move this file out"):
        read(path)
    with pytest.raises(DamagedRun):
        write(path, looks=5)
    assert path.read_bytes() == before
