"""The page: what it says, what it loads, what it does with hostile text. Runs are written by hand, without training."""

import html
import itertools
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from holdfast.errors import HoldfastError
from holdfast.judging.arms import as_json
from holdfast.report import write_report
from holdfast.report.answer import OPEN, SAYS, answer
from holdfast.stats import Trace, judge_arm
from holdfast.store import RunFolder
from holdfast.study import SCHEMA

LOOKS = (0, 50, 100, 150)
BUDGET = 100
HOSTILE = '<script>alert("x")</script> & $\\frac{1}{2}$'
FATES = {
    "held": (1.0, 0.9, 0.9, 0.9),
    "removed": (1.0, 0.1, 0.0, 0.0),
    "diverged": (1.0, 0.9, None, None),
}


def arm(folder, name, fates, *, implant="BadNets", pressure="fine-tuning", controls=True):
    """One row of verdict.json with its measures, judged by the real rules."""
    cells = {"planted": {}, "control": {}}
    traces = {}
    for seed, fate in enumerate(fates):
        key = f"{name.encode().hex()[:12]}{seed:04d}"
        cells["planted"][str(seed)] = key
        nan = float("nan")
        presence = tuple(nan if p is None else p for p in FATES[fate])
        traces[seed] = Trace(steps=LOOKS, presence=presence, accuracy=tuple(nan if p != p else 0.95 for p in presence))
        record(folder, key, FATES[fate], share=0.1)
        if controls:
            cells["control"][str(seed)] = f"c{key}"
            record(folder, f"c{key}", (0.0, 0.01, 0.0, 0.02), share=None)
    reference = {
        seed: Trace(steps=LOOKS, presence=(0.0, 0.01, 0.0, 0.02), accuracy=(0.95,) * 4) for seed in range(len(fates))
    }
    row = as_json(judge_arm(traces, reference if controls else None, budget=BUDGET))
    grid = [
        {"setting": f"setting {i}", "chosen": i == 1, "seeds": 8, "held": 8 - 4 * i, "removed": 4 * i, "wrecked": 0,
         "diverged": 0, "presence": 1 - i / 2, "accuracy_lost": 0.01 * i}
        for i in range(3)
    ]  # fmt: skip
    return {
        "arm": name, "implant": implant, "measure": "presence", "pressure": pressure, "setting": "setting 1",
        "host": "MLP 64-64-10",
        "task": "digits", "budget": BUDGET, "looks": list(LOOKS), "attack_budget": "The strongest of 3 settings.",
        "grid": grid, "cells": cells, **row,
    }  # fmt: skip


def record(folder, key, presence, share):
    recorder = folder.recorder(key, {"kind": "Pressing"})
    for step, there in zip(LOOKS, presence, strict=True):
        lost = there is None
        recorder.add("pressure", step, {
            "presence": there, "accuracy": None if lost else 0.95, "asr": there, "r_acc": None if lost else 1 - there,
            "gradient_norm": share, "gradient_share": share, "gradient_zero": share, "weight_share": share,
            "update_share": share if step else None, "distance": 0.1, "implant_distance": share,
        })  # fmt: skip
    recorder.end()


def unpressed(name, verdict, label=None):
    unknown = [0.0, 1.0]
    return {
        "arm": name, "implant": "handcrafted", "measure": "presence", "pressure": "unlearning", "setting": None,
        "host": "MLP 64-64-10",
        "task": "digits", "budget": BUDGET, "looks": list(LOOKS), "attack_budget": "One setting.", "grid": [],
        "cells": {}, "verdict": verdict, "label": label or verdict, "reason": "Nothing was pressed.", "seeds": 0,
        "built": 20, "held": 0, "removed": 0,
        "wrecked": 0, "diverged": 0, "returned": 0, "interval": unknown, "held_interval": unknown,
        "removed_interval": unknown, "level": 0.975, "look": 1, "suppressed": None, "curve": None, "outcomes": {},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return begun(tmp_path / "run")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """(folder, page) of a run that has every kind of verdict."""
    folder = begun(tmp_path_factory.mktemp("rendered") / "run")
    shorter = {"reference": "held arm", "other": "mixed arm", "setting": "s", "verdict": "SHORTER", "reason": "Sooner."}
    return folder, judged(folder, every_kind(folder), [shorter])


def begun(path):
    folder = RunFolder(path)
    study = {
        "schema": SCHEMA, "hash": "0123456789abcdef", "holdfast": "0.1.0", "code": "abc", "arms": [],
        "study": {"kind": "Study", "arms": [{"implant": {"kind": "BadNets"}, "optimiser": {"kind": "Adam"}}]},
        "data": {"digits": {"train": {"examples": 1077, "sha256": "f" * 64}}},
    }  # fmt: skip
    environment = {
        "started": "2026-01-01T00:00:00+00:00", "python": "3.11", "platform": "Linux", "processor": "a & <b>",
        "cores": 2,
        "versions": {"holdfast": "0.1.0"}, "command": ["holdfast", "demo"], "git": {"commit": "abc", "changed": True},
    }  # fmt: skip
    folder.begin(study, environment)
    return folder


def judged(folder, arms, comparisons=()):
    folder.write_verdict(
        {
            "schema": SCHEMA,
            "study": "test",
            "question": f"Does it go? {HOSTILE}",
            "arms": arms,
            "comparisons": list(comparisons),
        }
    )
    return write_report(folder).read_text()


def every_kind(folder):
    return [
        arm(folder, "held arm", ["held"] * 20),
        arm(folder, "removed arm", ["removed"] * 20, pressure="unlearning"),
        arm(folder, "mixed arm", ["held"] * 16 + ["removed"] * 16, implant="handcrafted"),
        arm(
            folder, "open arm", ["removed"] * 5 + ["diverged"], implant="handcrafted", pressure="decay", controls=False
        ),
        arm(folder, HOSTILE, ["removed"] * 3, implant=HOSTILE, pressure=HOSTILE),
        unpressed("invalid arm", "INVALID"),
    ]


class Page(HTMLParser):
    """What a page holds, read by the standard library's parser."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.text.append(data)


def test_every_verdict_is_on_the_page(rendered):
    words = " ".join(Page(rendered[1]).text)
    for verdict in ("SURVIVES", "REMOVED", "MIXED", "UNDECIDED", "INVALID", "SHORTER"):
        assert verdict in words
    assert "removed the implant in 1 arm (removed arm)" in words
    assert "No clean control" in words


def test_the_page_loads_nothing_and_its_ids_are_unique(rendered):
    page = Page(rendered[1])
    for tag, attrs in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "image", "img"), tag
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert (attrs.get(name) or "#").startswith("#"), (tag, attrs)
        assert not any(name.startswith("on") for name in attrs)
    assert "@import" not in "".join(page.text)
    assert len(page.ids) == len(set(page.ids))
    for _, attrs in page.tags:
        if (attrs.get("href") or "").startswith("#"):
            assert attrs["href"][1:] in page.ids
        assert attrs.get("aria-labelledby") is None or attrs["aria-labelledby"] in page.ids


def test_hostile_text_stays_text(rendered):
    page = rendered[1]
    assert "<script>" not in page
    assert html.escape(HOSTILE) in page or html.escape(HOSTILE, quote=False) in page


def test_figures_have_names_and_files(rendered):
    folder, page = rendered[0], Page(rendered[1])
    drawn = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert drawn
    assert all(attrs["role"] == "img" and attrs["aria-labelledby"] in page.ids for attrs in drawn)
    names = {file.name for file in (folder.path / "figures").iterdir()}
    assert {Path(n).suffix for n in names} == {".svg", ".pdf"}
    assert len(names) == 2 * len(drawn)
    assert all(file.stat().st_size > 1000 for file in (folder.path / "figures").iterdir())


def test_headings_are_in_order_and_tables_are_labelled(rendered):
    page = Page(rendered[1])
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")


def test_the_same_run_gives_the_same_bytes(rendered):
    folder, first = rendered
    figures = {f.name: f.read_bytes() for f in (folder.path / "figures").iterdir()}
    assert write_report(folder).read_text() == first
    assert {f.name: f.read_bytes() for f in (folder.path / "figures").iterdir()} == figures


def test_a_run_without_anything_to_draw(folder):
    page = judged(folder, [unpressed("a", "INVALID"), unpressed("b", "UNDECIDED")])
    assert "<svg" not in page
    assert "1 arm is undecided (b); 1 arm is invalid (a)." in page or "undecided (b)" in page


def test_an_incomplete_run_and_missing_measures(folder):
    with pytest.raises(HoldfastError, match="is not complete, so there is nothing to report"):
        write_report(folder)
    arms = [arm(folder, "held arm", ["held"] * 4)]
    folder.measures_path(arms[0]["cells"]["planted"]["3"]).unlink()
    with pytest.raises(HoldfastError, match="is missing, but the verdict rests on it"):
        judged(folder, arms)


def test_it_imports_no_torch():
    code = "import sys; from holdfast.report import write_report; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "labels", [c for n in (1, 2, 3) for c in itertools.combinations_with_replacement((*SAYS, *OPEN), n)]
)
def test_the_answer_says_what_the_verdicts_say_and_no_more(labels):
    arms = [{"arm": f"arm{i}", "label": label} for i, label in enumerate(labels)]
    said = answer(arms)
    assert said.endswith(".")
    assert said[0].isupper() or said[0].isdigit()
    assert ("removed the implant" in said) == ("REMOVED" in labels)
    assert ("left it in place" in said) == ("SURVIVES" in labels)
    assert ("hid it" in said) == ("REMOVED (suppressed)" in labels)
    assert ("undecided" in said) == ("UNDECIDED" in labels)
    assert ("invalid" in said) == ("INVALID" in labels)
    assert ("some seeds and not in others" in said) == ("MIXED" in labels)
    assert all(said.count(arm["arm"]) == 1 for arm in arms)
    if set(labels) <= set(OPEN):
        assert "raining" not in said, "nothing is claimed where nothing was decided"
    json.dumps(said)


def test_hosts_that_were_lost_are_not_called_removals():
    arm = {"arm": "pruned", "label": "MIXED", "held": 1, "removed": 0, "wrecked": 4, "diverged": 1}
    assert answer([arm]) == "Training lost the host before anything could be said in 1 arm (pruned)."
    assert "some seeds" in answer([arm | {"removed": 1}])
    assert "some seeds" in answer([arm | {"held": 6}])
