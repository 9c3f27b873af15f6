"""Run folders: settings first, newer schemas, damage, one writer, finding runs."""

import json
import subprocess
import sys

import pytest

from holdfast.errors import DamagedRun, HoldfastError, UsageError
from holdfast.store import RunFolder, all_runs, find_run, runs_root
from holdfast.study import SCHEMA

STUDY = {
    "schema": SCHEMA,
    "hash": "0",
    "holdfast": "0.1.0",
    "code": "x",
    "study": {"name": "demo"},
    "arms": [],
    "data": {},
}


def begun(path, study=STUDY):
    folder = RunFolder(path)
    folder.begin(study, {"started": "today"})
    return folder


def test_settings_are_there_before_anything_else(tmp_path):
    folder = begun(tmp_path / "run")
    assert folder.study() == STUDY
    assert folder.environment()["started"] == "today"
    assert folder.verdict() is None
    folder.begin(STUDY, {"started": "tomorrow"})
    assert folder.environment()["started"] == "today", "the first start is kept"
    (tmp_path / "run" / "environment.json").unlink()
    assert folder.environment()["started"] == "unknown", "no verdict rests on it"
    folder.begin(STUDY, {"started": "tomorrow"})
    assert folder.environment()["started"] == "tomorrow", "a lost one is written anew"


def test_what_a_kill_left_half_written_is_swept_up(tmp_path):
    folder = begun(tmp_path / "run")
    half, whole = (tmp_path / "run" / "nets" / name for name in (".tmpXa4b2z", "0123.safetensors"))
    half.write_bytes(b"half")
    whole.write_bytes(b"whole")
    folder.begin(STUDY, {})
    assert whole.exists()
    assert not half.exists()


def test_another_study_is_not_mixed_in(tmp_path):
    folder = begun(tmp_path / "run")
    with pytest.raises(DamagedRun, match="other settings.*--out"):
        folder.begin({**STUDY, "code": "y"}, {})
    assert folder.study() == STUDY


def test_a_newer_schema_says_upgrade(tmp_path):
    folder = begun(tmp_path / "run", {**STUDY, "schema": SCHEMA + 1})
    with pytest.raises(
        HoldfastError, match=f"newer holdfast .schema {SCHEMA + 1}; this one reads up to {SCHEMA}.*Upgrade"
    ):
        folder.study()


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\x01", '{"no": "schema"}', '{"schema": 1}'])
def test_damaged_settings(tmp_path, text):
    folder = begun(tmp_path / "run")
    (tmp_path / "run" / "study.json").write_text(text)
    with pytest.raises(DamagedRun, match=r"study\.json"):
        folder.study()
    assert (tmp_path / "run" / "study.json").read_text() == text


def test_a_damaged_verdict(tmp_path):
    folder = begun(tmp_path / "run")
    (tmp_path / "run" / "verdict.json").write_text("{")
    with pytest.raises(DamagedRun, match=r"verdict\.json is damaged.*move verdict\.json away"):
        folder.verdict()


def test_a_verdict_without_its_parts(tmp_path):
    folder = begun(tmp_path / "run")
    (tmp_path / "run" / "verdict.json").write_text('{"arms": []}')
    with pytest.raises(DamagedRun, match="lacks comparisons, question.*move verdict"):
        folder.verdict()
    (tmp_path / "run" / "verdict.json").write_text('{"arms": [{}], "question": "?", "comparisons": []}')
    with pytest.raises(DamagedRun, match="lacks arm, .*verdict.*move verdict"):
        folder.verdict()


def test_one_writer_at_a_time(tmp_path):
    code = (
        "import sys; from pathlib import Path; from holdfast.store import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).writing(): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(HoldfastError, match="Another process is writing"), RunFolder(tmp_path).writing(0.2):
            pass
        other.kill()
        other.wait()
        with RunFolder(tmp_path).writing(5):
            pass


def test_the_seconds_of_all_starts_add_up(tmp_path):
    folder = begun(tmp_path / "run")
    folder.add_time({"stage": "run", "wall_s": 2.0})
    folder.add_time({"stage": "planting", "work_s": 9.0})
    folder.add_time({"stage": "run", "wall_s": 0.5})
    with (tmp_path / "run" / "times.jsonl").open("a") as file:
        file.write('{bad}\n{"wall_s": "x"}\n3\n{"wall_s": 7')
    assert folder.seconds() == 2.5


def test_finding_runs(tmp_path, monkeypatch):
    for name in ("demo-11111111", "mine-22222222"):
        begun(tmp_path / name)
    assert {run.name for run in all_runs(tmp_path)} == {"demo-11111111", "mine-22222222"}
    assert find_run("mine", tmp_path).name == "mine-22222222"
    assert find_run("demo-1", tmp_path).name == "demo-11111111"
    assert find_run(str(tmp_path / "demo-11111111"), tmp_path / "elsewhere").name == "demo-11111111"
    with pytest.raises(UsageError, match="Unknown run 'dmeo'. Perhaps you meant 'demo'"):
        find_run("dmeo", tmp_path)
    with pytest.raises(UsageError, match="Name a run"):
        find_run("", tmp_path)
    with pytest.raises(UsageError, match="there are no runs in"):
        find_run("demo", tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is no run folder"):
        find_run(str(tmp_path), tmp_path)
    monkeypatch.setenv("HOLDFAST_RUNS", str(tmp_path))
    assert runs_root() == tmp_path
    assert runs_root(tmp_path / "here") == tmp_path / "here"


def test_the_newest_run_of_a_name_is_meant(tmp_path):
    import os

    for age, name in enumerate(("demo-b0000000", "demo-a0000000", "demo-c0000000")):
        begun(tmp_path / name)
        os.utime(tmp_path / name / "study.json", (1e9 - age, 1e9 - age))
    assert find_run("demo", tmp_path).name == "demo-b0000000"


def test_stored_files_name_no_path_of_the_machine(tmp_path):
    from holdfast.store.environment import environment

    text = json.dumps(environment(tmp_path / "recipe.py"))
    assert str(tmp_path) not in text
