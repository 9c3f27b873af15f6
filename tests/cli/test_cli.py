"""The command as it is typed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli import main

RECIPE = Path(__file__).parents[1] / "recipes" / "small.py"


def typed(capfd, *words):
    """(exit status, standard output, standard error)"""
    with pytest.raises(SystemExit) as end:
        main([str(w) for w in words])
    out, err = capfd.readouterr()
    return end.value.code or 0, out, err


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with one finished run."""
    out = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "holdfast", "run", str(RECIPE), "--out", str(out), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (out / "said.json").write_text(done.stdout)
    (out / "progress.txt").write_text(done.stderr)
    return out


def test_run_answers_with_one_json_object(runs):
    answer = json.loads((runs / "said.json").read_text())
    assert set(answer) == {"run", "arms", "comparisons", "seconds"}
    expected = "arm implant pressure setting verdict seeds held removed wrecked diverged interval level suppressed"
    assert [set(arm) for arm in answer["arms"]] == [set(expected.split())] * 2
    assert (runs / answer["run"] / "report.html").exists()


def test_progress_goes_to_standard_error_with_the_estimate_first(runs):
    lines = (runs / "progress.txt").read_text().splitlines()
    assert re.match(
        r"Running small: \d+ nets, [\d,]+ net-steps: about .* on \d cores?, \d+ MB\. Ctrl-C is safe", lines[0]
    )
    assert any(line.startswith("pressing: ") for line in lines)


def test_running_again_says_so_and_does_nothing(runs, capfd):
    before = {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file() and p.name != "lock"}
    status, out, err = typed(capfd, "run", RECIPE, "--out", runs)
    assert status == 0
    assert "is complete: nothing to do" in err
    assert "REMOVED" in out
    assert {p: p.stat().st_mtime_ns for p in runs.rglob("*") if p.is_file() and p.name != "lock"} == before


def test_show_prints_table_reasons_and_budget(runs, capfd):
    status, out, _ = typed(capfd, "show", "small", "--out", runs)
    text = " ".join(out.split())
    assert status == 0
    for words in ("Does unlearning remove it?", "20/20", "tuning seeds", "against", "lost:", "97.5 %"):
        assert words in text


def test_show_and_ls_as_json(runs, capfd):
    _, out, _ = typed(capfd, "show", "small", "--out", runs, "--json")
    shown = json.loads(out)
    said = json.loads((runs / "said.json").read_text())
    assert {k: v for k, v in shown.items() if k != "seconds"} == {k: v for k, v in said.items() if k != "seconds"}
    _, out, _ = typed(capfd, "ls", "--out", runs, "--json")
    listed = json.loads(out)["runs"]
    assert [row["run"] for row in listed] == [said["run"]]
    assert set(listed[0]["arms"].values()) <= {"REMOVED", "REMOVED (suppressed)"}


def test_report_prints_its_path(runs, capfd):
    status, out, _ = typed(capfd, "report", "small", "--out", runs)
    assert status == 0
    assert Path(out.strip()).read_text().lstrip().lower().startswith("<!doctype html>")


def test_ls_without_runs_says_how_to_start(tmp_path, capfd):
    status, out, _ = typed(capfd, "ls", "--out", tmp_path)
    assert (status, out) == (0, f"No runs in {tmp_path}. Start with: holdfast demo\n")


def test_ls_survives_a_damaged_run(runs, tmp_path, capfd):
    shutil.copytree(next(runs.glob("small-*")), tmp_path / "broken-00000000")
    (tmp_path / "broken-00000000" / "study.json").write_text("{")
    status, out, _ = typed(capfd, "ls", "--out", tmp_path)
    assert status == 0
    assert "unreadable" in out


@pytest.mark.parametrize(
    ("words", "status", "match"),
    [
        (["dmo"], 2, "Unknown command 'dmo'. Perhaps you meant 'demo'"),
        (["show", "smal_l"], 2, "Unknown run 'smal_l'. Perhaps you meant 'small'"),
        (["run", "nothing.py"], 2, "Unknown recipe file 'nothing.py'"),
        (["run", f"{RECIPE}::smll"], 2, "Unknown recipe in small.py 'smll'. Perhaps you meant 'small'"),
        (["demo", "--sedes", "3"], 2, "--seeds"),
        (["run", str(RECIPE), "--seeds", "many"], 2, "many"),
        (["run", str(RECIPE), "--seeds", "1"], 2, "at least 2 seeds"),
        (["run", str(RECIPE), "--workers", "0"], 2, "workers"),
    ],
)
def test_wrong_use_names_the_nearest_and_exits_2(runs, capfd, monkeypatch, words, status, match):
    monkeypatch.setenv("HOLDFAST_RUNS", str(runs))
    got, out, err = typed(capfd, *words)
    assert got == status
    assert match in err
    assert "Traceback" not in err
    assert out == ""


def test_an_incomplete_run_says_how_to_go_on(runs, tmp_path, capfd):
    shutil.copytree(next(runs.glob("small-*")), tmp_path / "small-00000000")
    (tmp_path / "small-00000000" / "verdict.json").unlink()
    for command in ("show", "report"):
        status, _, err = typed(capfd, command, "small", "--out", tmp_path)
        assert status == 1
        assert "not complete" in err


def test_a_newer_run_is_refused_with_a_sentence(runs, tmp_path, capfd):
    shutil.copytree(next(runs.glob("small-*")), tmp_path / "small-00000000")
    file = tmp_path / "small-00000000" / "study.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 99}))
    for command in ("show", "report"):
        status, _, err = typed(capfd, command, "small", "--out", tmp_path)
        assert status == 1
        assert "newer holdfast (schema 99" in err
        assert "Upgrade" in err


def test_check_passes_and_fails(capfd, tmp_path):
    status, out, _ = typed(capfd, "check", RECIPE)
    assert status == 0
    assert "FIX" not in out
    bad = tmp_path / "bad.py"
    bad.write_text(RECIPE.read_text().replace("widths=(64, 24, 10)", "widths=(100, 24, 10)"))
    status, _, err = typed(capfd, "check", bad)
    assert status == 2
    assert "MLP 100-24-10 cannot read inputs of shape (8, 8)" in err


def test_doctor(capfd, tmp_path):
    status, out, _ = typed(capfd, "doctor", "--out", tmp_path, "--json")
    found = json.loads(out)
    assert status == 0
    assert found["faults"] == []
    assert {"python", "torch", "device", "cores", "disk", "extras"} <= set(found)


def test_ctrl_c_is_a_sentence(capfd, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("holdfast.cli.ls.Ls.run", interrupted)
    status, _, err = typed(capfd, "ls")
    assert status == 1
    assert "the same command goes on from here" in err


def test_a_reader_that_goes_away_is_no_failure(runs):
    """`holdfast show small | head -1`."""
    command = [sys.executable, "-m", "holdfast", "show", "small", "--out", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shown:
        shown.stdout.close()
        assert (shown.wait(), shown.stderr.read()) == (0, "")
