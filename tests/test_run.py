"""The whole path on real digits: verdicts, resume after kills, sabotage."""

import dataclasses
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from holdfast import (
    MLP,
    SGD,
    Backdoor,
    BadNets,
    Fit,
    Given,
    HoldfastError,
    Patch,
    Study,
    UsageError,
    WeightDecay,
    run_study,
)
from holdfast.recipes import load_recipe
from holdfast.sessions import folder_of
from holdfast.store import Recorder, RunFolder

RECIPE = Path(__file__).parent / "recipes" / "small.py"


def small():
    return load_recipe(str(RECIPE))[0]


def bytes_of(folder):
    """What must be the same between runs: measures and verdicts, and the planted nets."""
    files = [*sorted((folder / "measures").iterdir()), *sorted((folder / "nets").iterdir()), folder / "verdict.json"]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_study(small(), out=tmp_path_factory.mktemp("runs"), recipe=RECIPE, workers=1)


def test_each_arm_gets_its_verdict(finished):
    verdict = finished.verdict()
    assert [arm["arm"] for arm in verdict["arms"]] == [
        "BadNets / unlearning at firing rate 0.5",
        "handcrafted / unlearning at firing rate 0.5",
    ]
    for arm in verdict["arms"]:
        assert arm["verdict"] == "REMOVED", arm["reason"]
        assert arm["seeds"] == 20
        assert arm["held"] + arm["removed"] + arm["wrecked"] + arm["diverged"] == 20
        assert "The strongest of 2 settings on 9 tuning seeds, 100 steps of 64 on 1,077" in arm["attack_budget"]
        assert arm["suppressed"] is not None
        assert len(arm["cells"]["planted"]) == len(arm["cells"]["control"]) == 20
    badnets = verdict["arms"][0]
    assert [row["held"] for row in badnets["grid"]] == [9, 0]
    assert badnets["setting"].endswith("SGD lr 0.05 momentum 0.9"), "the stronger of the two was found"
    assert len(verdict["comparisons"]) == 1


def test_a_cell_holds_every_look_and_standard_measure(finished):
    arm = finished.verdict()["arms"][1]
    measures = finished.measures(arm["cells"]["planted"]["7"])
    columns = measures.phase("pressure")
    assert columns["step"] == [0, 20, 40, 60, 80, 100, 120]
    expected = "step presence asr r_acc accuracy gradient_norm gradient_share gradient_zero weight_share update_share"
    assert set(columns) == {*expected.split(), "distance", "implant_distance", "implant_norm"}
    assert measures.phase("reactivation")["step"] == [0, 2, 4, 6]
    assert measures.cell["planting"]["seed"] == 7
    assert not any((finished.path / "state").iterdir()), "states are gone once a batch is done"


def test_planted_nets_say_so(finished):
    from safetensors import safe_open

    said = set()
    for path in (finished.path / "nets").iterdir():
        with safe_open(path, "pt") as file:
            said.add(file.metadata()["holdfast"].split(";")[0])
    assert said == {"planted: BadNets", "planted: handcrafted", "never planted"}


def test_what_is_complete_is_not_run_again(finished, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in finished.path.rglob("*") if p.name != "lock"}
    monkeypatch.setattr("holdfast.run.run", pytest.fail)
    assert run_study(small(), out=finished.path.parent, recipe=RECIPE).path == finished.path
    assert {p: p.stat().st_mtime_ns for p in finished.path.rglob("*") if p.name != "lock"} == before


def test_two_processes_give_the_bytes_of_one(finished, tmp_path):
    other = run_study(small(), out=tmp_path, recipe=RECIPE, workers=2)
    assert bytes_of(other.path) == bytes_of(finished.path)


@pytest.mark.parametrize("largest", [8, 12])
def test_however_nets_fall_into_batches_they_are_the_same(finished, tmp_path, monkeypatch, largest):
    """Batches that hold some seeds' planted nets and other seeds' controls: each trains its own hosts."""
    monkeypatch.setattr("holdfast.engines.base.LARGEST_BATCH", largest)
    again = run_study(small(), out=tmp_path, recipe=RECIPE, workers=1)
    assert bytes_of(again.path) == bytes_of(finished.path)


@pytest.mark.parametrize("moment", range(3))
def test_killed_at_a_random_moment_it_ends_in_the_same_bytes(finished, tmp_path, moment):
    """kill -9, at a moment given by how much has been written, twice in each run."""
    folder, _ = folder_of(small(), tmp_path, RECIPE)
    assert folder.name == finished.name
    total = sum(file.stat().st_size for file in (finished.path / "measures").iterdir())
    pick = random.Random(moment)
    for target in sorted(pick.uniform(0, 0.95) * total for _ in range(2)):
        _kill_at(folder.path, target, tmp_path)
    assert not (folder.path / "verdict.json").exists()
    run_study(small(), out=tmp_path, recipe=RECIPE)
    assert bytes_of(folder.path) == bytes_of(finished.path)


def _kill_at(path, target, out, *, in_batch=False):
    """Kill it once so many bytes of measures are there, and, if so asked, a batch is under way."""
    command = [sys.executable, "-m", "holdfast", "run", str(RECIPE), "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            files = list((path / "measures").iterdir()) if (path / "measures").exists() else []
            under_way = not in_batch or any((path / "state").glob("*"))
            if sum(file.stat().st_size for file in files) >= target and (path / "measures").exists() and under_way:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was still running when it was killed"


def test_a_lost_checkpoint_state_costs_time_only(finished, tmp_path):
    """The states are deleted in mid-run: cells start again, and what was measured stays as it was."""
    folder, _ = folder_of(small(), tmp_path, RECIPE)
    measured = sum(file.stat().st_size for file in (finished.path / "measures").iterdir())
    _kill_at(folder.path, 0.7 * measured, tmp_path, in_batch=True)
    states = list((folder.path / "state").iterdir())
    assert states, "it was killed in the middle of a batch"
    for state in states:
        state.unlink()
    run_study(small(), out=tmp_path, recipe=RECIPE)
    assert bytes_of(folder.path) == bytes_of(finished.path)


def test_a_state_with_a_flipped_bit_costs_time_only(finished, tmp_path):
    folder, _ = folder_of(small(), tmp_path, RECIPE)
    _kill_at(folder.path, 0.7 * sum(f.stat().st_size for f in (finished.path / "measures").iterdir()), tmp_path)
    states = list((folder.path / "state").glob("*.safetensors"))
    assert states
    for state in states:
        text = bytearray(state.read_bytes())
        text[-5] ^= 1
        state.write_bytes(text)
    run_study(small(), out=tmp_path, recipe=RECIPE)
    assert bytes_of(folder.path) == bytes_of(finished.path)


def test_measures_that_are_moved_away_in_mid_run_are_written_anew(finished, tmp_path):
    """What the sentence about a damaged file says to do, while a batch stands in the middle of its training."""
    folder, _ = folder_of(small(), tmp_path, RECIPE)
    _kill_at(folder.path, 0.7 * sum(f.stat().st_size for f in (finished.path / "measures").iterdir()), tmp_path)
    assert list((folder.path / "state").glob("*.safetensors"))
    open_ones = [f for f in sorted((folder.path / "measures").iterdir()) if b'"end"' not in f.read_bytes()]
    assert open_ones
    damaged = open_ones[0]
    damaged.write_bytes(damaged.read_bytes().replace(b'"step":0', b'"step:0', 1))
    with pytest.raises(HoldfastError, match="is damaged.*Move this file out of the run folder and run again"):
        run_study(small(), out=tmp_path, recipe=RECIPE)
    damaged.rename(tmp_path / "moved.jsonl")
    run_study(small(), out=tmp_path, recipe=RECIPE)
    assert bytes_of(folder.path) == bytes_of(finished.path)


def test_a_verdict_by_other_rules_is_judged_again_and_nothing_is_trained(finished, tmp_path):
    folder = RunFolder(tmp_path / finished.name)
    shutil.copytree(finished.path, folder.path)
    stale = {**folder.verdict(), "rules": "of yesterday", "question": "?"}
    folder.write_verdict(stale)
    measures = {f: f.stat().st_mtime_ns for f in (folder.path / "measures").iterdir()}
    run_study(small(), out=tmp_path, recipe=RECIPE)
    assert bytes_of(folder.path) == bytes_of(finished.path)
    assert measures == {f: f.stat().st_mtime_ns for f in (folder.path / "measures").iterdir()}


def test_a_lost_study_file_is_written_anew(finished, tmp_path):
    folder = RunFolder(tmp_path / finished.name)
    shutil.copytree(finished.path, folder.path)
    (folder.path / "study.json").unlink()
    run_study(small(), out=tmp_path, recipe=RECIPE)
    assert folder.study() == finished.study()
    assert bytes_of(folder.path) == bytes_of(finished.path)


def test_a_lost_planted_net_is_named_and_can_be_planted_anew(finished, tmp_path):
    folder, _ = folder_of(small(), tmp_path, RECIPE)
    _kill_at(folder.path, 0.7 * sum(f.stat().st_size for f in (finished.path / "measures").iterdir()), tmp_path)
    nets = sorted((folder.path / "nets").iterdir())
    for state in (folder.path / "state").iterdir():
        state.unlink()
    for net in nets:
        net.write_bytes(b"rubbish")
    with pytest.raises(HoldfastError, match=r"The planted net .* cannot be read .* Delete .* and run again"):
        run_study(small(), out=tmp_path, recipe=RECIPE)
    for net in nets:
        (folder.path / "measures" / net.with_suffix(".jsonl").name).unlink()
    run_study(small(), out=tmp_path, recipe=RECIPE)
    assert bytes_of(folder.path) == bytes_of(finished.path)


def test_a_full_disk_is_a_sentence_and_the_run_goes_on_afterwards(finished, tmp_path, monkeypatch):
    folder, _ = folder_of(small(), tmp_path, RECIPE)
    folder.path.mkdir()
    (folder.path / "times.jsonl").symlink_to("/dev/full")
    with pytest.raises(HoldfastError, match="No space left on device.*is kept.*run again"):
        run_study(small(), out=tmp_path, recipe=RECIPE, workers=1)
    (folder.path / "times.jsonl").unlink()
    append, lines = Recorder._append, iter(range(10**9))

    def full(recorder, line):
        if next(lines) < 900:
            return append(recorder, line)
        with recorder.path.open("ab") as file:
            file.write(b'{"phase":"pre')  # half a line still fitted
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(recorder.path))

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_append", full)
        with pytest.raises(HoldfastError, match="No space left on device.*is kept.*run again"):
            run_study(small(), out=tmp_path, recipe=RECIPE, workers=1)
    assert next(lines) > 900
    run_study(small(), out=tmp_path, recipe=RECIPE)
    assert bytes_of(folder.path) == bytes_of(finished.path)


# ---------------------------------------------------------------------------------------------------------- sabotage


def one_arm(**changes):
    arm = dataclasses.replace(small().arms[0], **changes)
    return Study(name="one", arms=(arm,))


def verdict_of(study, out):
    return run_study(study, out=out).verdict()["arms"][0]


def test_an_implant_that_is_not_there_is_invalid_and_nothing_is_pressed(tmp_path):
    weak = BadNets(poison_ratio=0.001)
    arm = verdict_of(one_arm(implant=weak), tmp_path)
    assert arm["verdict"] == "INVALID"
    assert "there in only" in arm["reason"]
    assert "nothing was pressed" in arm["reason"]
    files = next(tmp_path.iterdir()).glob("measures/*")
    kinds = {json.loads(file.read_text().splitlines()[0])["cell"]["kind"] for file in files}
    assert kinds == {"Planting"}


def test_hosts_that_diverge_in_training_are_a_verdict(tmp_path):
    arm = verdict_of(one_arm(training=Fit(SGD(lr=1e30), steps=40)), tmp_path)
    assert arm["verdict"] == "INVALID"
    assert "controls only 0 are finite at step 0" in arm["reason"]


def test_arms_that_differ_only_in_a_function_do_not_share_their_measures(tmp_path):
    checkpoint = tmp_path / "net.safetensors"
    torch.manual_seed(0)
    save_file(MLP(widths=(64, 24, 10)).build().state_dict(), checkpoint)

    def reader(value):
        return lambda net, x, y: value

    arms = [
        dataclasses.replace(
            small().arms[0], implant=Given(reader(value), checkpoint=checkpoint), name=f"{value}", seeds=3,
            pressure=Fit(SGD(lr=1e-9), steps=4), reactivation=None, training=None,
        )
        for value in (0.2, 0.8)
    ]  # fmt: skip
    folder = run_study(Study(name="two", arms=tuple(arms)), out=tmp_path / "runs")
    for arm, value in zip(folder.verdict()["arms"], (0.2, 0.8), strict=True):
        for key in arm["cells"]["planted"].values():
            assert set(folder.measures(key).phase("pressure")["presence"]) == {value}


@pytest.mark.parametrize(
    ("found", "match"),
    [
        ({"presence": torch.zeros(40)}, "calls a measure 'presence', which is taken"),
        ({"step": torch.zeros(40)}, "calls a measure 'step', which is taken"),
        ({"mine": torch.zeros(3)}, r"shape \(\d+,\), one entry a net; mine is \(3,\)"),
        ({"mine": 3.0}, "mine is float"),
        ([1, 2], "what it returned is list"),
        ("raise", "raised ValueError: oh"),
    ],
)
def test_a_probe_of_ones_own_that_does_not_fit(found, match, tmp_path):
    def probe(look):
        if found == "raise":
            raise ValueError("oh")
        return found

    with pytest.raises(HoldfastError, match=match):
        verdict_of(one_arm(probes=(probe,), pressure=Fit(SGD(lr=0.1), steps=4), checkpoints=2), tmp_path)


def test_without_pressure_it_survives(tmp_path):
    """Gradient off, all but: the same arm at a learning rate that moves nothing."""
    arm = verdict_of(one_arm(pressure=Fit(SGD(lr=1e-12), steps=60)), tmp_path)
    assert (arm["verdict"], arm["held"]) == ("SURVIVES", 20)
    assert "One setting" in arm["attack_budget"]


def test_a_grid_that_only_wrecks_is_undecided(tmp_path):
    wreckers = tuple(Fit(SGD(lr=lr, momentum=0.9), steps=60) for lr in (1e2, 1e30))
    arm = verdict_of(one_arm(pressure=wreckers), tmp_path)
    assert (arm["verdict"], arm["setting"]) == ("UNDECIDED", None)
    assert "No usable attacker" in arm["reason"]
    assert all(row["wrecked"] + row["diverged"] == 9 for row in arm["grid"])
    assert sum(row["diverged"] for row in arm["grid"]) > 0


def test_a_pressure_that_plants_the_implant_in_the_controls_is_invalid(tmp_path):
    from holdfast import Poison

    arm = verdict_of(one_arm(pressure=Fit(SGD(lr=0.1, momentum=0.9), Poison(rate=0.2), steps=60)), tmp_path)
    assert arm["verdict"] == "INVALID"
    assert "never-planted controls" in arm["reason"]


def test_diverged_seeds_are_counted_and_never_rolled_again(tmp_path):
    arm = verdict_of(one_arm(pressure=Fit(SGD(lr=1e30), steps=60), reactivation=None), tmp_path)
    assert arm["diverged"] == 20
    assert (arm["held"], arm["removed"]) == (0, 0)
    assert arm["verdict"] not in ("SURVIVES", "REMOVED")


@pytest.fixture
def checkpoints(finished, tmp_path):
    """A suspect and a clean net of seed 0, as files. (By name and not by place: file names are hashes of code too.)"""
    found = {}
    for path in sorted((finished.path / "nets").iterdir()):
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            what, which, _ = file.metadata()["holdfast"].split("; ")
            if which.endswith(", seed 0"):
                found[what] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(found["planted: BadNets"], tmp_path / "suspect.safetensors")
    save_file(found["never planted"], tmp_path / "clean.safetensors")
    return tmp_path


@pytest.mark.parametrize("clean", [True, False])
def test_a_given_checkpoint_with_and_without_a_clean_reference(checkpoints, tmp_path, clean):
    given = Given(
        Backdoor(trigger=Patch(), target=0),
        checkpoint=checkpoints / "suspect.safetensors",
        clean=checkpoints / "clean.safetensors" if clean else None,
    )
    arm = verdict_of(one_arm(implant=given, training=None), tmp_path / "runs")
    assert arm["verdict"] == "REMOVED", arm["reason"]
    assert arm["reason"].startswith("No clean control") == (not clean)
    assert (arm["suppressed"] is None) == (not clean)


def test_unlearning_what_has_no_trigger(checkpoints, tmp_path):
    given = Given(lambda net, x, y: 0.5, checkpoint=checkpoints / "suspect.safetensors")
    with pytest.raises(UsageError, match=r"needs triggered inputs.*given \(suspect.safetensors\) has none"):
        verdict_of(one_arm(implant=given, training=None), tmp_path / "runs")


def test_decay_that_would_turn_weights_over(tmp_path):
    with pytest.raises(UsageError, match="would turn weights over"):
        verdict_of(one_arm(pressure=Fit(SGD(lr=1.0), WeightDecay(rate=2.0), steps=60)), tmp_path)


def test_other_settings_lie_in_another_folder(finished, tmp_path):
    names = {folder_of(study, tmp_path)[0].name for study in (small(), one_arm(), one_arm(seeds=21), one_arm(seeds=22))}
    assert len(names) == 4
