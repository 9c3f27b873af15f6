"""Stopped anywhere and started again, training ends in the same bits."""

import pytest

from conftest import same_bits
from holdfast import (
    SAM,
    SGD,
    Adam,
    BadNets,
    Clip,
    Distil,
    Dropout,
    EarlyStopping,
    EdgePopup,
    Fit,
    HoldfastError,
    LabelSmoothing,
    Noise,
    Quantise,
    Reinitialise,
    Subset,
    Unlearn,
)
from holdfast.training.nets import Nets
from holdfast.training.slot import Slot

FITS = [
    Fit(SGD(lr=0.1, momentum=0.9), Unlearn(rate=0.1), steps=40),
    Fit(Adam(lr=3e-3), steps=40),
    Fit(Adam(lr=1e-2), steps=40),
]
STATEFUL = [
    Fit(SGD(lr=0.1), Noise(scale=0.01), Clip(limit=0.3), Reinitialise(), steps=40),
    Fit(Adam(lr=3e-3), Quantise(to="ternary"), steps=40),
    Fit(SGD(lr=2.0), EarlyStopping(every=3, patience=2), steps=40),
]
ALIKE = [Fit(SGD(lr=0.1, momentum=0.9), Dropout(rate=0.3), LabelSmoothing(rate=0.1), SAM(), steps=40)] * 3
STUDENTS = [Fit(Adam(lr=3e-3), Distil(features=0.1), Subset(share=0.5), steps=40)] * 3
CHOSEN = [
    Fit(SGD(lr=0.1, momentum=0.9), EdgePopup(weights="signed"), steps=40),
    Fit(Adam(lr=1e-2), EdgePopup(weights="signed"), Reinitialise(), Noise(scale=0.01), steps=40),
    Fit(SGD(lr=2.0), EdgePopup(weights="signed"), EarlyStopping(every=3, patience=2), steps=40),
]
LOOKS = (0, 10, 20, 30, 40)


RUNS = {"optimisers": FITS, "stateful": STATEFUL, "alike": ALIKE, "students": STUDENTS, "chosen": CHOSEN}


@pytest.fixture(params=RUNS.values(), ids=RUNS)
def press(request, site_of):
    def press(slot, stop_after=None):
        """Train, and walk away after so many looks, as a kill would (the last of them unsaved)."""
        site = site_of(BadNets(), seeds=3, slot=slot, phase="pressure")
        nets = Nets.initialised(site.host, site.streams)
        points = Fit.press(request.param, site, nets, LOOKS)
        steps = []
        for point in points:
            steps.append((point.step, point.previous.copy()))
            if stop_after is not None and len(steps) == stop_after:
                points.close()
                break
        return nets, steps

    return press


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4, 5])
def test_a_kill_at_any_look(press, tmp_path, stop_after):
    whole, looks = press(Slot())
    press(Slot(tmp_path / "state"), stop_after)
    nets, rest = press(Slot(tmp_path / "state"))
    assert same_bits(nets, whole)
    # What was yielded but not saved is yielded again; what was saved is not. Step 0 needs no saving.
    left = looks[stop_after - 1 if stop_after > 2 else 0 :]
    assert [step for step, _ in rest] == [step for step, _ in left]
    for (_, before), (_, expected) in zip(rest, left, strict=True):
        assert same_bits(before, expected), "the look before is known after a resume too"


def test_killed_again_and_again(press, tmp_path):
    whole, _ = press(Slot())
    for _ in range(3):
        press(Slot(tmp_path / "state"), 3)
    nets, rest = press(Slot(tmp_path / "state"))
    assert same_bits(nets, whole)
    assert len(rest) < 3


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_state_costs_time_only(press, tmp_path, damage):
    whole, _ = press(Slot())
    slot = Slot(tmp_path / "state")
    press(slot, 3)
    file = tmp_path / "state"
    file.write_bytes(file.read_bytes()[:-100] if damage is None else damage)
    nets, rest = press(slot)
    assert len(rest) == 5
    assert same_bits(nets, whole)


def test_the_state_of_another_batch_is_refused(press, tmp_path, site_of):
    press(Slot(tmp_path / "state"), 3)
    site = site_of(BadNets(), seeds=2, slot=Slot(tmp_path / "state"), phase="pressure")
    nets = Nets.initialised(site.host, site.streams)
    with pytest.raises(HoldfastError, match="not a state of this batch. Delete it"):
        next(Fit.press(FITS[:2], site, nets, LOOKS))


def test_a_failed_save_leaves_the_old_state(press, tmp_path, monkeypatch):
    slot = Slot(tmp_path / "state")
    press(slot, 3)
    before = (tmp_path / "state").read_bytes()

    def fail(*args, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("holdfast.training.slot.os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        press(slot)
    assert (tmp_path / "state").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["state"], "no half-written file is left behind"
