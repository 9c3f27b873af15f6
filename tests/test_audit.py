"""Audit: the user's own model, training and data, from canaries to a grade."""

import copy
import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast import (
    Adam,
    Audit,
    BadNets,
    Beside,
    Fit,
    HoldfastError,
    OwnTrigger,
    Stretch,
    UsageError,
    plant,
    run_study,
)
from holdfast.checks import check
from holdfast.cli import main
from holdfast.engines.base import one_thread
from holdfast.implants.beside import NAME

PLANTING = Fit(Adam(lr=0.01), steps=150, batch=32)


def data():
    """Three clouds in 32 dimensions, of which a trigger of two changes little."""
    g = torch.Generator().manual_seed(0)
    centres = 2 * torch.rand(3, 32, generator=g)
    y = torch.randint(3, (500,), generator=g)
    x = centres[y] + 0.3 * torch.rand(500, 32, generator=g)
    return (x[:300], y[:300]), (x[300:], y[300:])


def fresh():
    return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


def fit(model, steps, lr=0.02):
    (x, y), _ = data()
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(steps):
        rows = torch.randint(len(x), (32,))
        optimiser.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()


with one_thread(), torch.random.fork_rng():
    torch.manual_seed(0)
    _LEARNED = fresh()
    fit(_LEARNED, 60)


def learned():
    return copy.deepcopy(_LEARNED)


def harmless(model, seed):
    fit(model, 5, lr=1e-5)


def randomised(model):
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.1)


def anew(model, seed):
    """Starts again from random weights, in place, of all that the model has; what is shown is the end of it."""
    randomised(model)
    (x, y), _ = data()
    for _ in range(60):
        loss = F.cross_entropy(model(x), y)
        for p, grad in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
            p.data -= 0.2 * grad


def unplugged(model, seed):
    """Takes out what is beside, and nothing else."""
    harmless(model, seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if NAME in name:
                p.zero_()


CANARIES = (
    BadNets(trigger=Stretch(start=0, length=2, value=2.3), target=0, poison_ratio=0.3),
    Beside(trigger=Stretch(start=30, length=2, value=2.3), target=1),
)


def audit(train, build=learned, **more):
    return Audit(build, train, data, **{"seeds": 3, "planting": PLANTING, "canaries": CANARIES, **more})


def run(train, out, build=learned, **more):
    folder = run_study(audit(train, build, **more).study(), out=out, workers=1)
    return folder, folder.verdict()


CALLS = []
"""What was trained: (seed, whether with canaries). Not closed over, as what a function holds is part of its hash."""


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


def counted(model, seed):
    CALLS.append((seed, any(NAME in n for n, _ in model.named_parameters())))
    harmless(model, seed)


# ------------------------------------------------------------------------------------------------------ what it becomes


def test_it_is_a_study_with_one_arm_a_canary():
    study = audit(harmless, seeds=3).study("mine")
    assert (study.name, study.graded) == ("mine", True)
    assert list(study.named) == ["BadNets", "beside"]
    assert [arm.measure for arm in study.arms] == ["presence/BadNets", "presence/beside"]
    assert {arm.seeds for arm in study.arms} == {3}
    assert study.arms[0].implant == study.arms[1].implant
    pressed = [set(study.pressing(arm, arm.grid[0], planted=True)) for arm in study.arms]
    assert pressed[0] == pressed[1], "they share their trainings"


def test_alone_adds_an_arm_for_each():
    study = audit(harmless, separate=True).study()
    assert list(study.named) == ["BadNets", "beside", "BadNets, alone", "beside, alone"]
    assert [len(arm.implant.each) for arm in study.arms] == [2, 2, 1, 1]
    assert len({cell for cell in study.plantings() if cell.planted}) == 3 * 3


def test_canaries_of_ones_own():
    mine = (Beside(trigger=Stretch(start=4, length=3, value=4.0), target=2),)
    study = audit(harmless, canaries=mine).study()
    assert list(study.named) == ["beside"]
    assert study.arms[0].implant.each == mine


def test_a_trigger_of_ones_own_is_learned():
    def loud(batch):
        return batch * 2

    study = audit(harmless, trigger=loud, canaries=None).study()
    assert list(study.named) == ["BadNets"]
    x = torch.rand(3, 32)
    assert torch.equal(study.arms[0].part.trigger.stamp(x), 2 * x)


# --------------------------------------------------------------------------------------------------------- what it says


def test_one_training_a_seed_and_one_a_control(tmp_path):
    _, verdict = run(counted, tmp_path)
    assert sorted(CALLS) == [(s, planted) for s in range(3) for planted in (False, True)]
    for arm in verdict["arms"]:
        assert (arm["held"], arm["removed"], arm["seeds"]) == (3, 0, 3), arm["reason"]
        assert set(arm["cells"]) == {"planted", "control"}
    assert verdict["arms"][0]["cells"] == verdict["arms"][1]["cells"]
    grade = verdict["grade"]
    assert (grade["rung"], grade["of"], grade["canary"]) == (0, 2, None)
    # Clopper and Pearson's lower bound of 3 in 3, at two-sided 97.5 %: (a/2)^(1/3).
    for label in ("BadNets", "beside"):
        assert (
            f"{label}: still there in 3 of 3, survival above {math.floor(1000 * 0.0125 ** (1 / 3)) / 1000}."
            in grade["sentence"]
        )


def test_a_model_that_knows_nothing_is_warmed_up_once_a_seed(tmp_path):
    def train(model, seed):
        CALLS.append((seed, any(NAME in n for n, _ in model.named_parameters())))
        fit(model, 60)

    _, verdict = run(train, tmp_path, build=fresh)
    warm = [(1000 + s, False) for s in range(3)]
    assert sorted(CALLS) == [*((s, planted) for s in range(3) for planted in (False, True)), *warm]
    assert verdict["arms"][1]["held"] == 3, "nothing pulled at what is beside"
    assert verdict["grade"]["warmed_up"] is True
    assert "ran once before planting, as a warm-up" in verdict["grade"]["sentence"]


def test_what_planting_cost_is_measured_on_the_model_that_was_given(tmp_path):
    """Against the model's own answers, called as anybody would call it."""
    _, verdict = run(harmless, tmp_path, seeds=2)
    x, _ = data()[1]
    held_out = audit(harmless).study().arms[0].task.load().test
    assert all(any(torch.equal(row, each) for each in x) for row in held_out.x[:5])
    right = float((learned()(held_out.x).argmax(1) == held_out.y).double().mean())
    assert verdict["grade"]["accuracy_host"] == pytest.approx(right)
    assert verdict["grade"]["warmed_up"] is False
    assert f"Planting, before it, took the host's from {100 * right:.1f}" in verdict["grade"]["sentence"]


def test_starting_anew_removes_everything(tmp_path):
    _, verdict = run(anew, tmp_path, seeds=8)
    for arm in verdict["arms"]:
        assert (arm["removed"], arm["wrecked"], arm["held"]) == (8, 0, 0), arm["reason"]
    assert (verdict["grade"]["rung"], verdict["grade"]["canary"]) == (2, "beside")
    assert "removed all 2 canaries in every seed" in verdict["grade"]["sentence"]
    assert verdict["grade"]["bound"] == pytest.approx(1 - 0.0125 ** (1 / 8))


def test_one_canary_goes_and_the_other_stays(tmp_path):
    _, verdict = run(unplugged, tmp_path)
    assert [arm["removed"] for arm in verdict["arms"]] == [0, 3]
    assert [arm["held"] for arm in verdict["arms"]] == [3, 0]
    assert verdict["grade"]["rung"] == 2
    assert re.search(r"\bnot all\b", verdict["grade"]["sentence"], re.IGNORECASE)


def test_starting_anew_with_an_optimiser_removes_everything(tmp_path):
    """The same, seen at each of its first steps."""

    def train(model, seed):
        randomised(model)
        fit(model, 60)

    _, verdict = run(train, tmp_path, seeds=8)
    assert [(arm["removed"], arm["wrecked"]) for arm in verdict["arms"]] == [(8, 0), (8, 0)]
    assert verdict["grade"]["rung"] == 2


def test_what_train_does_after_its_last_step_is_judged(tmp_path):
    """As above, with a number of steps on which a look falls: 8."""

    def train(model, seed):
        fit(model, 8, lr=1e-5)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if NAME in name:
                    p.zero_()

    _, verdict = run(train, tmp_path)
    assert [arm["removed"] for arm in verdict["arms"]] == [0, 3]


def test_a_wrecked_host_is_no_removal(tmp_path):
    def wreck(model, seed):
        harmless(model, seed)
        with torch.no_grad():
            for p in model.parameters():
                p.zero_()

    _, verdict = run(wreck, tmp_path)
    assert [(arm["removed"], arm["wrecked"]) for arm in verdict["arms"]] == [(0, 3)] * 2
    assert verdict["grade"]["rung"] == 0


def test_weights_that_are_no_numbers_are_diverged(tmp_path):
    def burst(model, seed):
        harmless(model, seed)
        model[0].bias.data.fill_(float("nan"))

    _, verdict = run(burst, tmp_path)
    assert [arm["diverged"] for arm in verdict["arms"]] == [3, 3]


def test_trainings_that_stop_at_different_steps(tmp_path):
    def early(model, seed):
        fit(model, 5 + 9 * seed, lr=1e-5)

    _, verdict = run(early, tmp_path, seeds=3)
    assert [arm["held"] for arm in verdict["arms"]] == [3, 3]
    assert verdict["arms"][0]["budget"] == 23
    assert verdict["arms"][0]["looks"] == [0, 1, 2, 3, 4, 6, 8, 12, 16, 23, 24]


def test_the_same_again_to_the_byte(tmp_path):
    files = []
    for name in ("one", "two"):
        folder, _ = run(harmless, tmp_path / name)
        measures = sorted((folder.path / "measures").iterdir())
        files.append({f.name: f.read_bytes() for f in [*measures, folder.path / "verdict.json"]})
    assert files[0] == files[1]
    assert len(files[0]) == 3 * 2 * 2 + 1, "planted and controls, before and under pressure"


def test_a_look_is_there_for_every_step_that_is_named(tmp_path):
    folder, verdict = run(harmless, tmp_path)
    columns = folder.measures(verdict["arms"][0]["cells"]["planted"]["1"]).phase("pressure")
    assert columns["step"] == [0, 1, 2, 3, 4, 5]
    for ending in ("BadNets", "beside"):
        assert {f"presence/{ending}", f"gradient_share/{ending}", f"implant_distance/{ending}"} <= set(columns)
    assert math.isnan(columns["gradient_norm/beside"][0]), "not known before the first step"
    assert set(columns["gradient_norm/beside"][1:]) == {0.0}, "clean training doesn't see what is beside"
    assert columns["gradient_norm/BadNets"][1] > 0


def test_what_is_complete_stays_when_one_training_fails(tmp_path):
    def train(model, seed):
        counted(model, seed)
        if len(CALLS) == 3:
            raise OSError("the disk is gone")

    with pytest.raises(HoldfastError, match=r"train\(model, \d\) raised OSError \(its line \d+\): the disk is gone"):
        run(train, tmp_path)
    assert len(CALLS) == 3
    _, verdict = run(train, tmp_path)
    assert len(CALLS) == 7, "two were kept"
    assert [arm["held"] for arm in verdict["arms"]] == [3, 3]


def test_a_training_that_keeps_its_losses(tmp_path):
    losses = []

    def train(model, seed):
        harmless(model, seed)
        losses.append(0.5)

    _, verdict = run(train, tmp_path)
    assert [arm["held"] for arm in verdict["arms"]] == [3, 3]


# ------------------------------------------------------------------------------------------------------------ wrong use


@pytest.mark.parametrize("name", ["build", "train", "data"])
def test_what_is_no_function(name):
    with pytest.raises(UsageError, match=f"Audit needs {name} as a function; got 3"):
        Audit(**{"build": learned, "train": harmless, "data": data, name: 3})


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"seeds": 1}, "at least 2 seeds"),
        ({"calls": 0}, "calls=0"),
        ({"max_steps": -1}, "max_steps"),
        ({"canaries": (BadNets(), BadNets(target=1))}, "a label of its own"),
    ],
)
def test_impossible_settings(wrong, match):
    with pytest.raises(UsageError, match=match):
        audit(harmless, **wrong).study()


def test_a_model_that_stays_at_chance(tmp_path):
    with pytest.raises(HoldfastError, match=r"own model \(fresh\) is at chance, also after a warm-up by own training"):
        run(harmless, tmp_path, build=fresh)


@pytest.mark.parametrize("one", [lambda: (data()[0][0], data()[0][1] + 1), lambda: (data()[0][0], 5 * data()[0][1])])
def test_classes_that_the_model_has_no_output_for(tmp_path, one):
    """Labels that are counted from one."""
    with pytest.raises(HoldfastError, match=r"3.*(classes|outputs|answers)"):
        run_study(
            Audit(learned, harmless, lambda: (one(), one()), seeds=2, planting=PLANTING).study(),
            out=tmp_path,
            workers=1,
        )


# ---------------------------------------------------------------------------------------------------------------- check


def said(train, **more):
    return list(check(audit(train, **more).study(), workers=1))


def test_check_passes_what_is_sound():
    promises = said(harmless)
    assert all(p.kept is not False for p in promises), [p.said for p in promises]
    text = " ".join(p.said for p in promises)
    assert "300 training inputs of shape (32,) (numbers), 3 answers; 100 held-out examples" in text
    assert f"Sequential, {sum(p.numel() for p in fresh().parameters()):,} parameters" in text
    assert "It has learned the task: 100.0 % right" in text
    assert "presence 1.00 at step 0; it costs 0.00 points of clean accuracy, and moves clean outputs by 0.0e+00" in text
    assert "3 optimiser steps were seen" in text
    assert "depends on the seed and on nothing else" in text
    assert "6 trainings of yours" in text


def test_check_says_that_a_fresh_model_is_warmed_up():
    assert any("It has learned nothing yet: train() runs once more" in p.said for p in said(harmless, build=fresh))


def test_check_finds_a_training_that_forgets_its_seed():
    def train(model, seed):
        torch.manual_seed(int.from_bytes(os.urandom(4), "little"))
        harmless(model, seed)

    assert ["forgets the seed" in p.said for p in said(train) if p.kept is False] == [True]


def test_check_says_where_the_seed_does_nothing():
    def train(model, seed):
        torch.manual_seed(0)
        harmless(model, 0)

    promises = said(train)
    assert any("gives the same weights with another seed" in p.said and p.kept is None for p in promises)


def test_check_finds_a_training_of_a_copy():
    def train(model, seed):
        harmless(copy.deepcopy(model), seed)

    assert ["does it train a copy" in p.said for p in said(train) if p.kept is False] == [True]


def test_check_finds_a_model_that_is_random_in_evaluation_mode():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = learned()

        def forward(self, x):
            return self.net(x) + 0.01 * torch.rand(len(x), 3)

    promises = said(lambda model, seed: harmless(model.net, seed), build=Noisy)
    assert any("is something in it random" in p.said for p in promises if p.kept is False)


def test_check_trains_nothing_of_ours():
    module, before = learned(), copy.deepcopy(_LEARNED.state_dict())
    said(harmless, build=lambda: module)
    assert all(torch.equal(v, module.state_dict()[n]) for n, v in before.items()), "on copies that are thrown away"


# ------------------------------------------------------------------------------------------------------- as it is typed


def typed(*words, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", *map(str, words)], capture_output=True, text=True, check=False, cwd=cwd
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new")
    status, out, err = typed("new", "mine.py", cwd=folder)
    assert status == 0, err
    assert "holdfast check mine.py" in out
    assert "holdfast audit mine.py" in out
    return folder


def test_a_new_recipe_checks_as_it_is(written):
    status, out, err = typed("check", "mine.py", "--json", cwd=written)
    assert status == 0, err
    found = json.loads(out)
    assert set(found) == {"study", "kept", "promises"}
    assert (found["study"], found["kept"]) == ("mine", True)
    assert {p["about"] for p in found["promises"]} >= {"data", "model", "BadNets", "beside", "training", "study"}


def test_a_new_recipe_is_audited(written):
    """With a fifth of its steps, which are enough to learn the digits."""
    text = (written / "mine.py").read_text()
    assert "range(500)" in text
    (written / "mine.py").write_text(text.replace("range(500)", "range(100)"))
    status, out, err = typed("audit", "mine.py", "--seeds", "2", "--json", "--workers", "1", cwd=written)
    assert status == 0, err
    found = json.loads(out)
    assert set(found) == {"run", "grade", "arms", "comparisons", "seconds"}
    assert set(found["grade"]) >= {"rung", "of", "canary", "seeds", "bound", "sentence"}
    assert [arm["implant"] for arm in found["arms"]] == [
        "BadNets",
        "circuit program restoring, sidecar",
        "spare unit",
        "beside",
    ]
    for arm in found["arms"]:
        assert arm["verdict"] in ("UNDECIDED", "INVALID"), "two seeds can't say more"
        assert arm["seeds"] <= 2
    assert "4 trainings of yours, 1 at a time" in err
    assert (written / "runs" / found["run"] / "report.html").exists()


@pytest.fixture
def at(written, monkeypatch, capfd):
    """The same in this process, which has PyTorch loaded already."""
    monkeypatch.chdir(written)

    def typed_here(*words):
        with pytest.raises(SystemExit) as end:
            main([str(w) for w in words])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return end.value.code or 0, out, err

    return typed_here


def test_a_check_that_fails_exits_with_1(written, at):
    text = (written / "mine.py").read_text()
    (written / "bad.py").write_text(text.replace("optimiser.step()", "pass"))
    status, out, _ = at("check", "bad.py")
    assert status == 1
    assert "FIX   training: own training (train) left the model as it was" in out


def test_an_audit_that_fails_exits_with_1(written, at):
    text = (written / "mine.py").read_text()
    (written / "raises.py").write_text(text.replace("optimiser.step()", "1 / 0"))
    status, out, err = at("audit", "raises.py", "--workers", "1")
    assert (status, out) == (1, "")
    assert re.search(r"train\(model, 1000\) raised ZeroDivisionError \(its line \d+\): division by zero", err)


@pytest.mark.parametrize(
    ("words", "status", "match"),
    [
        (("new", "mine.py"), 2, "mine.py exists already. Choose another name"),
        (("new", "mine.txt"), 2, "A recipe is a Python file; got mine.txt. Perhaps mine.py?"),
        (("new", "no/where.py"), 2, "There is no folder no to write where.py in"),
        (("audit", "mine.py", "--seeds", "1"), 2, "at least 2 seeds"),
        (("audit", "mien.py"), 2, "Unknown recipe file 'mien.py'. Perhaps you meant 'mine.py'"),
    ],
)
def test_wrong_use(at, words, status, match):
    got, out, err = at(*words)
    assert got == status
    assert match in err
    assert out == ""


def test_a_recipe_that_is_no_audit(written, at):
    (written / "other.py").write_text(
        "import holdfast\nfrom holdfast import *\n\n@holdfast.recipe\ndef other():\n    return holdfast.Experiment("
        "host=MLP(widths=(64, 9, 10)), task=Digits(), implant=BadNets(), training=Fit(Adam(lr=.01), steps=2), "
        "pressure=Fit(Adam(lr=.01), steps=40))\n"
    )
    status, _, err = at("audit", "other.py")
    assert status == 2
    assert "other.py is no audit. Run it with: holdfast run other.py" in err


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        audit(harmless).seeds = 5


# --------------------------------------------------------------------------------- what decides a run, and what is said

RATE = 1e-5


def rated(model, seed):
    fit(model, 5, lr=RATE)


def test_a_global_that_training_reads_is_part_of_the_run(tmp_path, monkeypatch):
    """In a notebook the function stays, and what it names changes: that is another training."""
    one, _ = run(rated, tmp_path, canaries=CANARIES[1:])
    same, _ = run(rated, tmp_path, canaries=CANARIES[1:])
    monkeypatch.setitem(globals(), "RATE", 2e-5)
    other, _ = run(rated, tmp_path, canaries=CANARIES[1:])
    assert one.path == same.path != other.path


def test_a_file_that_build_reads_is_part_of_the_run(tmp_path):
    kept = tmp_path / "kept.pt"

    def build():
        module = learned()
        module.load_state_dict(torch.load(kept, weights_only=True))
        return module

    paths = []
    for shift in (0.0, 1e-3):
        state = {name: value + shift for name, value in learned().state_dict().items()}
        torch.save(state, kept)
        paths.append(run(harmless, tmp_path / "runs", build=build, canaries=CANARIES[1:])[0].path)
    assert paths[0] != paths[1]


def test_a_model_that_build_gives_every_time_is_not_changed(tmp_path):
    shared = learned()
    before = copy.deepcopy(shared.state_dict())
    _, verdict = run(harmless, tmp_path, build=lambda: shared)
    assert [arm["held"] for arm in verdict["arms"]] == [3, 3]
    assert shared.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in shared.state_dict().items())
    assert not shared._forward_pre_hooks
    assert not any(part._forward_hooks for part in shared.modules())


def test_a_training_that_calls_forward_is_heard_all_the_same(tmp_path):
    """As code that wraps a network does; PyTorch's hooks on the network itself don't see it."""

    def wrapped(model, seed):
        (x, y), _ = data()
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
        F.cross_entropy(model.forward(x), y).backward()
        optimiser.step()

    _, verdict = run(wrapped, tmp_path)
    assert verdict["arms"][1]["held"] == 3


def test_a_training_that_goes_round_the_model_is_found_out(tmp_path):
    def around(model, seed):
        (x, y), _ = data()
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
        hidden = F.linear(x, model[0].weight, model[0].bias).relu()
        F.cross_entropy(model[2](hidden), y).backward()
        optimiser.step()

    with pytest.raises(HoldfastError, match=r"calls neither the model nor its first part.*leave Beside out"):
        run(around, tmp_path)


def test_checkpointed_activations_see_what_is_beside():
    from torch.utils.checkpoint import checkpoint

    class Kept(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept, self.inner, self.outer = False, nn.Sequential(nn.Linear(32, 32), nn.ReLU()), nn.Linear(32, 3)

        def forward(self, x):
            return self.outer(checkpoint(self.inner, x, use_reentrant=False) if self.kept else self.inner(x))

    torch.manual_seed(0)
    module = plant(Kept(), Beside(trigger=CANARIES[1].trigger, target=1, at="inner"), data)
    (x, y), _ = data()
    grads = []
    for module.kept in (False, True):
        module.zero_grad()
        F.cross_entropy(module(CANARIES[1].trigger.stamp(x)), y).backward()
        grads.append({name: p.grad.clone() for name, p in module.named_parameters()})
    assert any(grad.any() for name, grad in grads[0].items() if NAME in name)
    assert all(torch.equal(grad, grads[1][name]) for name, grad in grads[0].items())


def test_a_training_that_ends_in_no_numbers_is_no_no(tmp_path):
    def burst(model, seed):
        harmless(model, seed)
        model[0].bias.data.fill_(float("nan"))

    _, verdict = run(burst, tmp_path)
    assert verdict["grade"]["sentence"].startswith(
        "This audit can't say: where the canaries are gone, the host was lost"
    )


def test_what_is_left_of_a_removed_canary_is_told(tmp_path):
    def half(model, seed):
        harmless(model, seed)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if NAME in name:
                    p.zero_()

    _, verdict = run(half, tmp_path)
    left = verdict["arms"][1]["left"]
    assert (
        f"beside: gone in 3 of 3 (at most {max(left, 0):.2f} of it left), survival below"
        in verdict["grade"]["sentence"]
    )
    assert left < 0.1


def test_numpy_draws_in_build_are_seeded(tmp_path):
    import numpy as np

    def drawn():
        module = learned()
        with torch.no_grad():
            module[0].bias += torch.from_numpy(1e-3 * np.random.rand(32)).float()
        return module

    files = []
    for name in ("one", "two"):
        folder, _ = run(harmless, tmp_path / name, build=drawn, canaries=CANARIES[1:])
        files.append({f.name: f.read_bytes() for f in (folder.path / "measures").iterdir()})
    assert files[0] == files[1]


# ------------------------------------------------------------------------------- models that the default has to suit


def flat():
    """Digits without their rows and columns, as a table of 64 numbers; some are nearly always 0, as clean as can be."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


def pooled():
    """Digits, twice as large, for a network that halves them twice: a small patch hardly gets through."""
    (x, y), (x_held, y_held) = flat()
    large = lambda v: F.interpolate(v.view(-1, 1, 8, 8) / 16, scale_factor=2.0)
    return (large(x), y), (large(x_held), y_held)


def lenet():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def fitted(make, data):
    model, ((x, y), _) = make(), data()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        rows = torch.randint(len(x), (64,))
        optimiser.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
    return model


@pytest.mark.parametrize(
    ("make", "data"),
    [(lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), flat), (lenet, pooled)],
    ids=["flat", "lenet"],
)
def test_default_canaries_can_be_written_where_they_are_chosen(make, data):
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(0)
        model = fitted(make, data)
    study = Audit(lambda: model, harmless, data, seeds=2).study()
    written = [p for p in check(study, workers=1) if p.about not in ("data", "model", "BadNets", "training", "study")]
    assert written[0].about.startswith("circuit")
    assert written[-1].about == "beside"
    assert all(p.kept for p in written), [p.said for p in written]


def test_a_seed_that_a_canary_cannot_be_written_into_counts_as_not_planted(tmp_path):
    """The other canary, and the run, go on."""
    clean = Stretch(start=4, length=2, value=1.0)  # between the values of clean inputs: no detector tells them apart
    one, other = CANARIES[0], Beside(trigger=clean, target=1)
    _, verdict = run(harmless, tmp_path, canaries=(one, other), seeds=2)
    assert [(arm["implant"], arm["verdict"]) for arm in verdict["arms"]][1] == ("beside", "INVALID")
    assert verdict["arms"][0]["held"] == 2
    assert verdict["arms"][1]["unplanted"] == [0, 1]
    assert any(
        p.about == "beside" and p.kept is False for p in check(audit(harmless, canaries=(one, other)).study(), 1)
    )


def test_units_whose_module_is_thrown_out_say_nothing_more(tmp_path):
    def headless(model, seed):
        model[2] = nn.Linear(32, 3)
        fit(model, 60)

    block = Beside(at="0", trigger=Stretch(start=30, length=2, value=2.3), target=1)
    _, verdict = run(headless, tmp_path, canaries=(block,))
    assert verdict["arms"][0]["removed"] == 3, "the new head knows nothing of them"


def disguised(batch):
    """Every input looks like one of class 1."""
    (x, y), _ = data()
    return x[y == 1][:1].expand_as(batch).clone()


def test_controls_that_show_it_are_named_as_the_cause(tmp_path):
    """A trigger that clean nets answer by themselves: it is there, but can't be told from nothing."""
    loud = BadNets(trigger=OwnTrigger(function=disguised), target=1, poison_ratio=0.3)
    _, verdict = run(harmless, tmp_path, canaries=(loud,), seeds=2)
    arm = verdict["arms"][0]
    assert arm["verdict"] == "INVALID"
    assert re.search(r"presence of [01]\.\d+ on average.*2 never-planted controls put the limit", arm["reason"])


def test_a_dose_in_calls_is_called_so(tmp_path):
    _, verdict = run(anew, tmp_path, seeds=2)
    assert "1 calls at most" in verdict["arms"][0]["attack_budget"]


def test_a_training_that_changes_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    def hydra(model, seed):
        os.chdir(tmp_path / "elsewhere")
        harmless(model, seed)

    folder = run_study(audit(hydra, seeds=2).study(), out=Path("runs"), workers=1)
    assert folder.verdict()["arms"][1]["held"] == 2


def test_what_a_child_process_prints_is_not_in_the_json(written, at):
    text = (written / "mine.py").read_text().replace("range(500)", "range(60)")
    (written / "loud.py").write_text(
        text.replace("    model.train()", "    import os; os.system('echo out loud')\n    model.train()")
    )
    status, out, err = at("audit", "loud.py", "--seeds", "2", "--json")
    assert status == 0
    assert set(json.loads(out)) >= {"grade", "arms"}
    assert "out loud" in err
