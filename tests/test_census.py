"""Censuses: what is measured and not trained is run, stored, resumed, extended and shown as arms are."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from holdfast import (
    MLP,
    SGD,
    Adam,
    BadNets,
    Census,
    Digits,
    Experiment,
    Fit,
    HoldfastError,
    Study,
    UsageError,
    open_run,
    run_study,
)
from holdfast.cells import measured
from holdfast.checks import check
from holdfast.cli import main
from holdfast.estimate import estimate
from holdfast.extending import extended
from holdfast.notebook import Result
from holdfast.parts import Sample
from holdfast.recipes import as_study
from holdfast.report import write_report
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams


@dataclass(frozen=True)
class Dice:
    """The mean of a few throws; NaN for an odd seed's `even`."""

    throws: int = 4
    label: str = "dice"

    def measure(self, streams):
        thrown = streams.generator("throw").integers(1, 7, self.throws)
        return {"mean": float(thrown.mean()), "even": math.nan if streams.seed % 2 else 1.0}


@dataclass(frozen=True)
class Says:
    """Whatever it is told to."""

    found: object
    label: str = "says"

    def measure(self, streams):
        return self.found


STUDY = Study(name="dice", censuses=(Census(sample=Dice(), seeds=5), Census(sample=Dice(9), name="many", seeds=3)))


def arm():
    return Experiment(
        host=MLP(widths=(64, 16, 10)), task=Digits(), implant=BadNets(), training=Fit(Adam(lr=3e-3), steps=300),
        pressure=Fit(SGD(lr=0.3), steps=20), checkpoints=2, seeds=4,
    )  # fmt: skip


def bytes_of(folder):
    return {f.name: f.read_bytes() for f in (*(folder.path / "measures").iterdir(), folder.path / "verdict.json")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_study(STUDY, out=tmp_path_factory.mktemp("runs"), workers=1)


def test_every_seed_is_measured_and_told(finished):
    many, few = (finished.verdict()["censuses"][i] for i in (1, 0))
    assert (few["census"], few["sample"], few["seeds"], many["census"]) == ("dice", "dice", 5, "many")
    assert few["measures"]["even"] == {"seeds": 3, "mean": 1.0, "least": 1.0, "most": 1.0}
    assert few["measures"]["mean"]["least"] < few["measures"]["mean"]["most"], "every seed draws anew"
    assert finished.verdict()["arms"] == []
    measures = finished.measures(few["cells"]["measured"]["3"])
    assert measures.cell["sample"] == {"kind": "Dice", "throws": 4, "label": "dice"}
    assert (measures.cell["kind"], measures.cell["seed"], measures.cell["root"]) == ("Measuring", 3, 0)
    assert math.isnan(measures.phase("census")["even"][0])


def test_two_processes_give_the_bytes_of_one(finished, tmp_path):
    assert bytes_of(run_study(STUDY, out=tmp_path, workers=2)) == bytes_of(finished)


def test_what_is_complete_is_not_run_again_and_what_is_lost_is(finished, tmp_path, monkeypatch):
    again = run_study(STUDY, out=tmp_path, workers=1)
    monkeypatch.setattr(Dice, "measure", pytest.fail)
    run_study(STUDY, out=tmp_path, workers=1)
    monkeypatch.undo()
    lost = sorted((again.path / "measures").iterdir())[2]
    torn = lost.read_bytes()[:-9]
    measured, measure = [], Dice.measure
    monkeypatch.setattr(Dice, "measure", lambda self, streams: measured.append(streams.seed) or measure(self, streams))
    for left in (None, torn):
        lost.unlink() if left is None else lost.write_bytes(left)
        run_study(STUDY, out=tmp_path, workers=1)
        assert bytes_of(again) == bytes_of(finished)
    assert len(measured) == 2, "one seed each time"


def test_seeds_are_added_as_to_an_arm(finished, tmp_path):
    old = run_study(STUDY, out=tmp_path, workers=1)
    more = extended(STUDY, old, 2, None, tmp_path)
    assert ([census.seeds for census in more.censuses], more.look, more.seeds) == ([7, 5], 2, 7)
    new = run_study(more, out=tmp_path, workers=1)
    assert bytes_of(new).items() >= {k: v for k, v in bytes_of(old).items() if k != "verdict.json"}.items()
    assert [census["seeds"] for census in new.verdict()["censuses"]] == [7, 5]
    with pytest.raises(HoldfastError, match="other settings"):
        extended(replace(STUDY, censuses=STUDY.censuses[:1]), old, 2, None, tmp_path)


def test_beside_arms(tmp_path):
    both = as_study([arm(), Census(sample=Dice(), seeds=2)], "both")
    folder = run_study(both, out=tmp_path, workers=1)
    assert (len(folder.verdict()["arms"]), len(folder.verdict()["censuses"])) == (1, 1)
    text, page = repr(Result(folder)), write_report(folder).read_text()
    for words in ("BadNets", "UNDECIDED", "dice"):
        assert words in text
        assert words in page
    assert "4 nets" not in str(estimate(replace(both, arms=()), 2))
    assert str(estimate(both, 2)).startswith("8 nets")
    assert str(estimate(both, 2)).endswith("; 2 seeds to measure, 2 at a time")


def test_shown_without_any_arm(finished, tmp_path, capfd):
    words = [str(w) for w in ("show", "dice", "--out", finished.path.parent)]
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit):
            main([*words, *more])
    out = capfd.readouterr().out
    assert "many" in out
    assert "share:" not in out, "there is no arm to have one"
    assert json.loads(out.splitlines()[-1])["censuses"][0]["measures"]["even"]["mean"] == 1.0
    page = write_report(finished).read_text()
    assert "Measured, without any training: dice and many." in page
    for section in ('id="verdicts"', 'id="lost"', 'id="reading"', "#lost"):
        assert section not in page
    with pytest.raises(SystemExit):
        main(["ls", "--out", str(finished.path.parent)])
    assert "2 measured" in capfd.readouterr().out


def test_a_run_from_before_there_were_censuses(finished, tmp_path):
    old = run_study(STUDY, out=tmp_path, workers=1)
    path = old.path / "verdict.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "censuses"}))
    assert old.verdict()["censuses"] == []


def test_a_recipe_may_return_one(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from dataclasses import dataclass\nfrom holdfast import *\n"
        "@dataclass(frozen=True)\nclass Coin:\n    label: str = 'coin'\n"
        "    def measure(self, streams):\n        return {'heads': float(streams.generator('coin').random() < 0.5)}\n"
        "@recipe\ndef coins():\n    return Census(sample=Coin(), seeds=3)\n"
    )
    for command in ("check", "run"):
        with pytest.raises(SystemExit) as end:
            main([command, "mine.py"])
        assert not end.value.code
        assert "coin" in capfd.readouterr().out
    with pytest.raises(SystemExit):
        main(["extend", "coins", "--seeds", "2", "--recipe", "mine.py"])
    assert open_run("coins").verdict()["censuses"][0]["seeds"] == 5


def test_check_finds_what_is_drawn_elsewhere():
    @dataclass(frozen=True)
    class Loose:
        label: str = "loose"

        def measure(self, streams):
            COUNT.append(0)
            return {"count": len(COUNT)}

    COUNT = []
    kept = {p.about: p.kept for p in check(Study(name="c", censuses=(*STUDY.censuses, Census(sample=Loose()))), 1)}
    assert kept == {"dice": True, "many": True, "loose": False, "study": None}


@pytest.mark.parametrize(
    ("found", "match"),
    [
        ({}, "must measure a mapping"),
        ([1.0], "must measure a mapping"),
        ({"x": "1"}, "must measure numbers; x is '1'"),
        ({"step": 1.0}, "'step', which is taken"),
    ],
)
def test_what_is_no_measure(found, match):
    with pytest.raises(HoldfastError, match=match):
        measured(Says(found), [Streams(0, 0)], Slot(), lambda _: None)


def test_a_seed_is_a_batch_of_its_own():
    cells = STUDY.measurings()
    assert len({cell.batch_key() for cell in cells}) == len(cells) == 8


def test_what_cannot_be_a_census():
    assert isinstance(Dice(), Sample)
    with pytest.raises(UsageError, match=r"got the class Dice. Write Dice\(...\)"):
        Census(sample=Dice)
    with pytest.raises(UsageError, match="a seed or more; got 0"):
        Census(sample=Dice(), seeds=0)
    with pytest.raises(UsageError, match="Two censuses are called 'dice'"):
        replace(STUDY, censuses=(STUDY.censuses[0], Census(sample=Dice(7))))
    with pytest.raises(UsageError, match="no arms and no censuses"):
        Study(name="nothing")
    with pytest.raises(UsageError, match="Unknown census 'man'. Perhaps you meant 'many'"):
        STUDY.census("man")
