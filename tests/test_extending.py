"""More seeds after a look: what was measured is taken over, and the look is counted."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast import (
    MLP,
    SGD,
    Adam,
    BadNets,
    Digits,
    Experiment,
    Fit,
    HoldfastError,
    Study,
    Unlearn,
    UsageError,
    open_run,
    run_study,
)
from holdfast.claims import CLAIMS, Findings
from holdfast.cli import main
from holdfast.extending import extended
from holdfast.recipes import load_recipe
from holdfast.stats import judge_mean, look_level

RECIPE = """
from holdfast import *

@recipe
def few() -> Experiment:
    return Experiment(host=MLP(widths=(64, 16, 10)), task=Digits(), implant=BadNets(),
        training=Fit(Adam(lr=3e-3), steps=300), pressure=Fit(SGD(lr=0.3), Unlearn(rate=0.3), steps=60), seeds=6)
"""


def study(seeds=6):
    arm = Experiment(
        host=MLP(widths=(64, 16, 10)), task=Digits(), implant=BadNets(), training=Fit(Adam(lr=3e-3), steps=300),
        pressure=Fit(SGD(lr=0.3), Unlearn(rate=0.3), steps=60), seeds=seeds,
    )  # fmt: skip
    return Study(name="few", arms=(arm,))


def test_old_seeds_are_taken_over_to_the_byte_and_new_ones_are_run(tmp_path):
    old = run_study(study(), out=tmp_path, workers=1)
    before = {file.name: file.read_bytes() for file in (old.path / "measures").iterdir()}
    more = extended(study(), old, 5, None, tmp_path)
    new = run_study(more, out=tmp_path, workers=1)
    assert new.path != old.path
    after = {file.name: file.read_bytes() for file in (new.path / "measures").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == len(before) * 11 // 6
    arm = new.verdict()["arms"][0]
    assert (arm["built"], arm["look"], arm["level"]) == (11, 2, look_level(2))
    assert old.verdict()["arms"][0]["look"] == 1, "what was found then stays"
    again = extended(study(), new, 1, None, tmp_path)
    assert (again.look, again.arms[0].seeds) == (3, 12)


def test_the_same_as_if_all_had_been_run_at_once(tmp_path):
    run_study(extended(study(), run_study(study(), out=tmp_path, workers=1), 3, None, tmp_path), out=tmp_path)
    at_once = run_study(replace(study(9), look=2), out=tmp_path / "other")
    (extended_run,) = tmp_path.glob(at_once.name)
    for name in ("verdict.json",):
        assert (extended_run / name).read_bytes() == (at_once.path / name).read_bytes()


def test_what_cannot_be_extended(tmp_path):
    old = run_study(study(), out=tmp_path, workers=1)
    with pytest.raises(UsageError, match="1 or more; got 0"):
        extended(study(), old, 0, None, tmp_path)
    other = replace(study(), arms=(replace(study().arms[0], implant=BadNets(target=1)),))
    with pytest.raises(HoldfastError, match="made by other code, or from other settings"):
        extended(other, old, 2, None, tmp_path)
    (old.path / "verdict.json").unlink()
    with pytest.raises(HoldfastError, match="is not complete"):
        extended(study(), old, 2, None, tmp_path)


def typed(capfd, *words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return end.value.code or 0, out, err


def _read():
    """(study, folder) of the newest run of the recipe."""
    return load_recipe("few.py")[0], open_run("few")


def test_as_it_is_typed(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["holdfast", "run", "few.py"])
    Path("few.py").write_text(RECIPE)
    assert typed(capfd, "run", "few.py", "--workers", "1")[0] == 0
    status, out, err = typed(capfd, "extend", "few", "--seeds", "2", "--workers", "1")
    assert status == 0
    assert "This is look 2" in err
    assert "/8" in out
    # Killed in the middle of the next one: typed again, the short name is still that of the run before.
    third = run_study(extended(*_read(), 1, Path("few.py"), None), recipe=Path("few.py"), workers=1)
    (third.path / "verdict.json").unlink()
    status, out, err = typed(capfd, "extend", "few", "--seeds", "1", "--workers", "1")
    assert (status, third.verdict() is not None) == (0, True), err
    assert "/9" in out
    Path("few.py").rename("moved.py")
    status, _, err = typed(capfd, "extend", "few", "--seeds", "2")
    assert status == 1
    assert "Name it: --recipe FILE" in err
    assert typed(capfd, "extend", "nothing", "--seeds", "2")[0] == 2


def test_a_look_cannot_be_had_twice(tmp_path):
    """From one run in two ways, each counted as the second look: one could extend until it comes out."""
    old = run_study(study(), out=tmp_path, workers=1)
    first = run_study(extended(study(), old, 2, None, tmp_path), out=tmp_path, workers=1)
    assert extended(study(), old, 2, None, tmp_path).look == 2, "the same goes on"
    with pytest.raises(HoldfastError, match=f"was extended already, into {first.name}"):
        extended(study(), old, 3, None, tmp_path)
    shutil.rmtree(first.path)
    assert extended(study(), old, 3, None, tmp_path).look == 2


@pytest.mark.parametrize("kind", ["Planting", "Pressing"])
def test_damaged_measures_are_named_where_they_lie_and_measured_anew(tmp_path, monkeypatch, capfd, kind):
    monkeypatch.chdir(tmp_path)
    Path("few.py").write_text(RECIPE)
    assert typed(capfd, "run", "few.py", "--workers", "1")[0] == 0
    old = open_run("few")
    before = (old.path / "verdict.json").read_bytes()
    begins = f'{{"cell":{{"kind":"{kind}"'.encode()
    file = next(f for f in sorted((old.path / "measures").iterdir()) if f.read_bytes().startswith(begins))
    file.write_bytes(file.read_bytes().replace(b'"step":0', b'"step":1', 1).replace(b'"step": 0', b'"step": 1', 1))
    status, _, err = typed(capfd, "extend", "few", "--seeds", "2", "--recipe", "few.py")
    assert (status, str(file) in err) == (1, True), err
    file.rename(tmp_path / "moved")
    assert typed(capfd, "run", "few.py", "--workers", "1")[0] == 0
    assert (old.path / "verdict.json").read_bytes() == before
    assert file.exists()
    assert typed(capfd, "extend", "few", "--seeds", "2", "--recipe", "few.py", "--workers", "1")[0] == 0


def test_a_claim_killed_between_its_verdicts_goes_on(tmp_path, monkeypatch, capfd):
    """After the arms' verdicts and before the claim's, which takes seconds."""
    monkeypatch.chdir(tmp_path)
    claim = CLAIMS["every-weight"]
    whole = claim.study
    arms = lambda size: tuple(
        replace(
            arm, seeds=6, checkpoints=2, training=Fit(Adam(lr=3e-3), steps=300), pressure=Fit(SGD(lr=0.1), steps=20)
        )
        for arm in whole(size).arms
        if arm.name.startswith("handcrafted")
    )
    monkeypatch.setattr(claim, "study", lambda size: replace(whole(size), arms=arms(size)), raising=False)
    nothing = Findings(parts=[judge_mean(claim.parts[0], [], 0.9)])
    monkeypatch.setattr(claim, "judge", lambda evidence: nothing, raising=False)
    assert typed(capfd, "claim", "every-weight", "--workers", "1")[0] == 0
    status, _, err = typed(capfd, "extend", "every-weight-quick", "--seeds", "2", "--workers", "1")
    assert (status, "a level of 0.9968" in err) == (0, True), err
    new = open_run("every-weight-quick")
    assert new.claim()["look"] == 2
    (new.path / "claim.json").unlink()
    status, out, err = typed(capfd, "extend", "every-weight-quick", "--seeds", "2", "--workers", "1")
    assert (status, new.claim()["look"]) == (0, 2), err
    assert "every-weight, quick" in out
