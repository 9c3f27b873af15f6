"""`check` proves what it says, and finds what is wrong."""

from pathlib import Path

import pytest

from holdfast.checks import check, what_seeds_tell
from holdfast.recipes import load_recipe

RECIPE = Path(__file__).parent / "recipes" / "small.py"


@pytest.fixture
def small():
    return load_recipe(str(RECIPE))[0]


def test_a_sound_study_keeps_every_promise(small):
    promises = list(check(small, workers=1))
    assert all(p.kept is not False for p in promises), [p.said for p in promises]
    said = " ".join(p.said for p in promises)
    for words in ("presence", "control limit", "within 0.5 points", "plain module", "reloaded", "resumed", "net-steps"):
        assert words in said


def test_a_weak_implant_is_found_out(small):
    import dataclasses

    from holdfast import BadNets

    weak = dataclasses.replace(small.arms[0], implant=BadNets(poison_ratio=0.001), name="weak")
    promises = list(check(dataclasses.replace(small, arms=(weak,), compare=()), workers=1))
    assert [p.kept for p in promises if "presence" in p.said] == [False]


def test_a_pressure_that_cannot_resume_is_found_out(small, monkeypatch):
    """Sabotage: momentum is forgotten when a state is loaded."""
    from holdfast.pressures import fit

    honest = fit._Training.resume

    def forgetful(training):
        step = honest(training)
        for _, _, states in training.parts:
            for tensors in states[0].values():
                for tensor in tensors:
                    tensor.zero_()
        return step

    monkeypatch.setattr(fit._Training, "resume", forgetful)
    assert any("bits differ" in p.said and p.kept is False for p in check(small, workers=1))


def test_a_batched_forward_that_is_not_the_module_is_found_out(small, monkeypatch):
    from holdfast import MLP

    honest = MLP.forward
    monkeypatch.setattr(MLP, "forward", lambda self, params, x: honest(self, params, x) * 1.001)
    assert any("plain module" in p.said and p.kept is False for p in check(small, workers=1))


def test_what_seeds_can_tell():
    assert what_seeds_tell(32).startswith("32 seeds: SURVIVES or REMOVED needs 31 of them")
    assert "8 seeds cannot reach SURVIVES or REMOVED; 20 are the least" in what_seeds_tell(8)
    assert "gone in all below 0.42" in what_seeds_tell(8)
