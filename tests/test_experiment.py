"""Arms, cells and settings."""

import dataclasses
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast import (
    MLP,
    SGD,
    Adam,
    BadNets,
    Digits,
    Experiment,
    Fit,
    Handcrafted,
    Study,
    UsageError,
    WeightDecay,
    attackers,
)
from holdfast.experiment import TUNING_SEED
from holdfast.settings import digest, settings

ARM = Experiment(
    host=MLP(), task=Digits(), implant=BadNets(), training=Fit(Adam(lr=0.01), steps=10), pressure=attackers(steps=1000)
)
STUDY = Study(name="s", arms=(ARM, dataclasses.replace(ARM, implant=Handcrafted())))


def test_looks_run_to_the_budget_and_one_beyond():
    assert ARM.looks == (*range(0, 1001, 50), 1050)
    uneven = dataclasses.replace(ARM, pressure=Fit(SGD(lr=1.0), steps=7), checkpoints=3)
    assert uneven.looks == (0, 2, 5, 7, 9)


def test_a_wreck_counts_at_any_look_unless_the_end_alone_is_asked_for():
    assert not ARM.at_end
    assert dataclasses.replace(ARM, wreck_at_end=True).at_end


def test_the_cells_of_a_study():
    planted = STUDY.plantings()
    assert len(planted) == len(set(planted)) == 2 * 2 * (32 + 9)
    tunings = STUDY.tunings(STUDY.arms)
    assert len(tunings) == 2 * 10 * 9
    assert {cell.planting.seed for cell in tunings} == set(range(TUNING_SEED, TUNING_SEED + 9))
    assert {cell.split for cell in tunings} == {"validation"}, "choices never see test data"
    judged = STUDY.judged({Study.arm_name(arm): arm.grid[3] for arm in STUDY.arms})
    assert len(judged) == 2 * 2 * 32
    assert {cell.split for cell in judged} == {"test"}
    assert {cell.planting.seed for cell in judged} == set(range(32)), "judged seeds are fresh"


def test_no_setting_no_judged_cells():
    names = [Study.arm_name(arm) for arm in STUDY.arms]
    assert STUDY.judged({names[0]: None}) == []


def test_a_comparison_adds_the_other_arm_under_the_references_setting():
    names = [Study.arm_name(arm) for arm in STUDY.arms]
    both = dataclasses.replace(STUDY, compare=((names[0], names[1]),))
    chosen = {names[0]: ARM.grid[0], names[1]: ARM.grid[1]}
    extra = set(both.judged(chosen)) - set(STUDY.judged(chosen))
    assert len(extra) == 64, "with its controls, which under this setting might come to show its implant by themselves"
    assert {cell.pressure for cell in extra} == {ARM.grid[0]}
    assert {cell.planting.implant for cell in extra} == {Handcrafted()}


def test_a_comparison_of_pressures_takes_the_setting_in_the_same_place():
    """The other arm's own, where its grid is another one; the reference's, where it has no such place."""
    decayed = tuple(Fit(fit.optimiser, WeightDecay(rate=0.1), steps=fit.steps) for fit in ARM.grid)
    for grid, expected in ((decayed, decayed[1]), (decayed[:1], ARM.grid[1])):
        arms = (ARM, dataclasses.replace(ARM, pressure=grid, name="decayed"))
        pair = (Study.arm_name(ARM), "decayed")
        study = Study(name="s", arms=arms, compare=(pair,))
        assert study.counterpart(pair, ARM.grid[1]) == expected
        cells = study.judged({pair[0]: ARM.grid[1], "decayed": grid[0]})
        assert {cell.pressure for cell in cells} == {ARM.grid[1], grid[0], expected}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"pressure": ()}, "at least one pressure"),
        ({"implant": BadNets}, r"got the class BadNets. Write BadNets\(...\)"),
        ({"implant": None}, "asks; got None"),
        ({"host": "MLP"}, "holdfast.parts.Host asks; got 'MLP'"),
        ({"pressure": "hello"}, "holdfast.parts.Pressure asks; got 'hello'"),
        ({"seeds": 1}, "at least 2 seeds"),
        ({"tuning_seeds": 7}, "8 tuning seeds; got 7"),
        ({"pressure": (Fit(SGD(lr=1.0), steps=5), Fit(SGD(lr=2.0), steps=6))}, "same number of steps"),
        (
            {"pressure": (Fit(SGD(lr=1.0), steps=50), Fit(SGD(lr=1.0), steps=50))},
            "Two settings of the grid are the same",
        ),
        ({"checkpoints": 0}, "must be 1 or more; got 0"),
        ({"seeds": 4.5}, "seeds must be a whole number; got 4.5"),
        ({"device": "cudaa"}, "Unknown device 'cudaa'. Perhaps you meant 'cuda'"),
    ],
)
def test_impossible_arms(change, match):
    with pytest.raises(UsageError, match=match):
        dataclasses.replace(ARM, **change)


def test_impossible_studies():
    with pytest.raises(UsageError, match="has no arms"):
        Study(name="s", arms=())
    with pytest.raises(UsageError, match="Two arms are called 'BadNets / fine-tuning'"):
        Study(name="s", arms=(ARM, ARM))
    with pytest.raises(
        UsageError, match="Unknown arm 'BadNets / fine-tunning'. Perhaps you meant 'BadNets / fine-tuning'"
    ):
        Study(name="s", arms=(ARM,), compare=(("BadNets / fine-tunning", "BadNets / fine-tuning"),))


def test_a_file_is_stored_by_its_content(tmp_path):
    file = tmp_path / "net.safetensors"
    file.write_bytes(b"abc")
    import hashlib

    assert settings(file) == {"file": "net.safetensors", "sha256": hashlib.sha256(b"abc").hexdigest()}


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(UsageError, match="cannot be stored as a setting"):
        settings(object())


def test_functions_that_do_other_things_are_stored_apart():
    def reader(value, by=1):
        return lambda x: x * value + by

    class Scale:
        def __init__(self, by):
            self.by = by

        def __call__(self, x):
            return x * self.by

    told = [
        *(lambda x: x + 1, lambda x: x + 2, lambda x: x in {1, 2}, lambda x: x in {1, 3}),
        *(reader(0.2), reader(0.8), reader(0.2, by=2), reader(torch.zeros(3)), reader(torch.ones(3))),
        *(partial(reader, 1), partial(reader, 2), Scale(1), Scale(2), Scale(1).__call__, len),
    ]
    stored = [digest(settings(function)) for function in told]
    assert len(set(stored)) == len(told)
    again = [lambda x: x + 1, reader(0.2), partial(reader, 1), Scale(1)]
    assert [digest(settings(function)) for function in again] == [stored[0], stored[4], stored[9], stored[11]]


def test_names_that_would_lead_out_of_the_folder_of_runs():
    for name in ("../../esc", "a/b", "", ".hidden", "x" * 81, "a\nb"):
        with pytest.raises(UsageError, match="name becomes that of its folder"):
            Study(name=name, arms=(ARM,))


def test_arms_that_are_looked_at_at_other_steps_are_not_compared():
    for other in ({"checkpoints": 2}, {"pressure": attackers(steps=500)}):
        arms = (ARM, dataclasses.replace(ARM, name="other", **other))
        with pytest.raises(UsageError, match="looked at at other steps"):
            Study(name="s", arms=arms, compare=((Study.arm_name(ARM), "other"),))


def test_short_arms_have_as_many_looks_as_steps_and_lists_will_do():
    assert dataclasses.replace(ARM, pressure=[Fit(SGD(lr=0.1), steps=4)]).looks == (0, 1, 2, 3, 4, 5)
    batches = [Fit(SGD(lr=0.1), steps=5, batch=size) for size in (16, 512)]
    assert [p.label for p in dataclasses.replace(ARM, pressure=batches).grid] == [
        "fine-tuning, SGD lr 0.1, batch 16",
        "fine-tuning, SGD lr 0.1, batch 512",
    ]


@given(st.integers(1, 30), st.integers(1, 5000))
def test_geometric_looks(checkpoints, steps):
    arm = Experiment(
        host=MLP(), task=Digits(), implant=BadNets(), training=Fit(SGD(lr=0.1), steps=1), checkpoints=checkpoints,
        pressure=Fit(SGD(lr=0.1), steps=steps), spacing="geometric",
    )  # fmt: skip
    looks = arm.looks
    assert looks[0] == 0
    assert looks[-2] == steps
    assert looks[-1] > steps
    assert list(looks) == sorted(set(looks))
    assert len(looks) <= checkpoints + 2
