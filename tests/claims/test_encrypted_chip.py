"""Claim 5: its rule on made-up measures, and its study sabotaged."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from holdfast.claims import EncryptedChip, judged
from holdfast.claims import encrypted_chip as module
from holdfast.notebook import Result
from holdfast.pressures import KeyAware, StraightThrough
from holdfast.report import write_report
from holdfast.samples import Repair
from holdfast.sessions import run_study
from holdfast.stats import judge_claim, part_level

CLAIM = EncryptedChip()


class Made:
    """Scores by the kind of trainer; one setting of each is best on the seeds that choose, and another on the rest."""

    def __init__(self, gradient=-0.3, search=-0.3, beside=-0.3, cosine=0.0, able=1.0):
        self.study, self.level = CLAIM.study("quick"), part_level(1, len(CLAIM.parts))
        self.of = {"gradient": gradient, "search": search, "round": beside}
        self.cosine, self.able = cosine, able

    def measured(self, census, name):
        seeds = self.study.census(census).seeds
        spread = 0.02 * np.random.default_rng(zlib.crc32(f"{census}{name}".encode())).uniform(-1, 1, seeds)
        if name == "score":
            found = np.full(seeds, self._score(census))
            judged_on = np.arange(seeds) >= module.CHOOSING
            if census in ("own, raw, tables 0.01", "beside, raw"):
                found = np.where(judged_on, found, found + 0.2)
            if census == "own, damped, tables 0.01":
                found = np.where(judged_on, found + 0.9, found - 0.2)
            return dict(enumerate((found + spread).tolist()))
        value = {"blind": self.cosine if "normalised" in census else -0.01}.get(name, 0.0)
        return dict(enumerate((value + spread).tolist()))

    def _score(self, census):
        if census in module._able(module.PLANS["quick"]):
            return self.able
        if "zeroth" in census:
            return self.of["search"]
        return self.of["round" if census.startswith("beside") else "gradient"]


def found(**more):
    return CLAIM.judge(Made(**more))


def parts(**more):
    return {each.part.name: each.verdict for each in found(**more).parts}


def test_parts_come_out_each_way():
    none = parts()
    assert [none[f"circuit: {name}"] for name in ("gradient", "search", "round", "blind")] == ["SUPPORTED"] * 4
    assert {verdict for name, verdict in none.items() if name.startswith("chip")} == {"UNDECIDED"}
    for argument, part in (("gradient", "gradient"), ("search", "search"), ("beside", "round")):
        assert parts(**{argument: 0.6})[f"circuit: {part}"] == "REFUTED"
        assert parts(**{argument: 0.1})[f"circuit: {part}"] == "UNDECIDED"
    assert parts(cosine=0.3)["circuit: blind"] == "REFUTED"
    assert parts(cosine=0.05)["circuit: blind"] == "UNDECIDED"


def test_the_claim_waits_for_the_chip_and_can_be_refuted_before():
    for made, whole in (({}, "UNDECIDED"), ({"search": 0.6}, "REFUTED"), ({"able": 0.5}, "INVALID")):
        findings = found(**made)
        assert judge_claim(findings.parts, findings.faults) == whole


def test_what_is_best_is_chosen_on_seeds_that_are_not_judged():
    findings = found()
    chosen = {c.name: c.got for c in findings.controls}
    assert chosen["chosen for gradient"].startswith("own, raw, tables 0.01:")
    assert chosen["chosen for round"].startswith("beside, raw:")
    assert findings.parts[0].units == 24
    assert findings.parts[0].effect == pytest.approx(-0.3, abs=0.03)


def test_units_beside_that_are_not_judged_need_not_mend_plain_programs():
    """Of those that are judged it is asked."""
    findings = found()
    needed = {c.name for c in findings.controls if "is needed" in c.got and c.name.startswith("beside")}
    assert needed == {"beside, raw, plain", "beside, periodic, n = 4"}
    assert {c.name for c in findings.controls} >= {"beside, cos/sin, plain", "beside, periodic, plain"}


def lenient(monkeypatch, needed=("own, plain", "own, with the key")):
    """Of what must be repaired only some, and those of one table: the others take minutes."""
    every = module._able
    monkeypatch.setattr(module, "_able", lambda plan: {n: s for n, s in every(plan).items() if n in needed})
    quick = {"plain": {"protection": "plain", "trainer": StraightThrough(), "lr": 0.01, "steps": 20}}
    quick["with the key"] = {"trainer": KeyAware(), "lr": 0.01, "steps": 20}
    monkeypatch.setattr(module, "_ABLE", quick)


def came_out(monkeypatch, tmp_path, programs, **more):
    plan = replace(
        module.PLANS["quick"],
        programs=programs,
        rates=({"trained": "tables", "lr": 0.01},),
        seeds=14,
        blind=8,
        bypass=50,
    )
    monkeypatch.setitem(module.PLANS, "quick", replace(plan, **more))
    study = replace(CLAIM.study("quick"), root=777)
    folder = run_study(study, out=tmp_path, workers=1)
    return judged(CLAIM, "quick", study, folder), folder


def test_as_it_stands(monkeypatch, tmp_path):
    lenient(monkeypatch)
    monkeypatch.setattr(module, "KEYLESS", {"exact": None, "raw": StraightThrough()})
    result, folder = came_out(monkeypatch, tmp_path, {"own": Repair(steps=20)})
    assert result["invalid"] == []
    folder.write_claim(result)
    page, text = write_report(folder).read_text(), repr(Result(folder))
    for words in ("circuit: gradient*", "chip: search*", "own, trivial keys", "the small key, read off one gradient"):
        assert words in text
        assert words in page


def test_programs_that_are_not_encrypted_refute_it(monkeypatch, tmp_path):
    """Sabotage: the exact gradient mends a plain table."""
    lenient(monkeypatch)
    monkeypatch.setattr(module, "KEYLESS", {"exact": None})
    result, _ = came_out(monkeypatch, tmp_path, {"own": Repair(steps=20, protection="plain")}, seeds=20)
    of = {part["name"]: part for part in result["parts"]}
    assert of["circuit: gradient"]["verdict"] == "REFUTED"
    assert of["circuit: gradient"]["effect"] > 0.9
    assert result["verdict"] == "REFUTED"


@pytest.mark.parametrize("broken", ["own, with the key", "own, plain, zeroth order", "beside, periodic, n = 4"])
def test_a_trainer_that_cannot_repair_turns_it_invalid(monkeypatch, tmp_path, broken):
    """Sabotage: it takes no step worth the name, and what it then fails to do says nothing."""
    monkeypatch.setattr(module, "KEYLESS", {"exact": None})
    slow = replace(module._able(module.PLANS["quick"])[broken], lr=1e-9, steps=2)
    monkeypatch.setattr(module, "_able", lambda _plan: {broken: slow})
    result, _ = came_out(monkeypatch, tmp_path, {"own": Repair(steps=2)})
    assert result["verdict"] == "INVALID"
    assert any(broken in reason for reason in result["invalid"])
