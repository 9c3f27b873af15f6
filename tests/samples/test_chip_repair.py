"""Chip repair: what trainers can do through the ticks of a chip, and without them."""

import numpy as np
import pytest
import torch

from holdfast import KeyAware, StraightThrough, UsageError, ZerothOrder
from holdfast.chip.lookup import LEVELS, NOISE, Client
from holdfast.pressures import RandomDirection
from holdfast.samples import ChipRepair
from holdfast.samples import chip_repair as module
from holdfast.samples.chip_repair import QUESTIONS, _Repairs
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

SEEDS = [Streams(777, seed) for seed in range(4)]
DAMPED = StraightThrough(damping=2.0**-4)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Of encryptions on which is judged: all of them take a second a look."""
    monkeypatch.setattr(module, "CHOSEN_ON", 1)
    monkeypatch.setattr(module, "JUDGED_ON", 2)


def found(sample, seeds=SEEDS):
    return sample.measure_together(seeds, Slot(), lambda _: None)


def means(sample):
    each = found(sample)
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


@pytest.mark.parametrize("sharing", ["own", "shared"])
def test_the_program_is_what_it_is_said_to_be(sharing):
    """On the chip, as its client decrypts it: right on wanted questions, and off by one on the four bad ones."""
    made = _Repairs(ChipRepair(sharing=sharing, trainer=DAMPED), SEEDS, lambda _: None)
    phases_KXE = made._of_all(made.start, made.looked.chosen_on)
    answers = torch.floor(phases_KXE * 4 + 0.5) % 4
    for k, f in enumerate(made.flawed):
        selectors, messages = np.arange(QUESTIONS) // 4, np.arange(QUESTIONS) % 4
        wanted = sum(table[selectors % len(table)] for table in f.tables) + messages
        assert len(f.tables) == (1 if sharing == "own" else 2)
        bad = selectors == f.bad
        assert (answers[k].numpy() == ((wanted + f.off * bad) % 4)[:, None]).all()
        assert made.bad_KX[k].tolist() == bad.tolist()
    offs = (phases_KXE * 4 + 0.5) % 1 - 0.5
    assert 0.5 * NOISE * 4 < float(offs.std()) < 1.5 * NOISE * 4


def test_a_key_is_needed_to_read_an_encrypted_row():
    client, generator = Client.drawn(np.random.default_rng(0)), np.random.default_rng(1)
    rows = torch.from_numpy(client.encrypt(np.arange(4).repeat(500), generator))
    assert (torch.floor(client.phases(rows.double()) * 4 + 0.5) % 4).tolist() == np.arange(4).repeat(500).tolist()
    other = Client(1 - client.key_n)
    right = (torch.floor(other.phases(rows.double()) * 4 + 0.5) % 4).numpy() == np.arange(4).repeat(500)
    assert abs(right.mean() - 0.25) < 0.05
    plain = Client(client.key_n, masked=False).encrypt(np.arange(4), generator)
    assert (plain[:, :-1] == 0).all()
    assert sum(LEVELS) == 12


@pytest.mark.parametrize(("protection", "steps"), [("plain", 50), ("trivial", 20), ("encrypted", 20)])
def test_a_damped_gradient_mends_it_with_and_without_encryption(protection, steps):
    repaired = means(ChipRepair(protection=protection, trainer=DAMPED, steps=steps))
    assert repaired["score"] > 0.9
    assert repaired["blind"] > repaired["chance"] + 0.3


def test_the_exact_gradient_is_zero_and_the_raw_one_no_number():
    exact = means(ChipRepair(steps=2))
    assert exact["still"] == 1
    assert exact["bad"] == 0
    assert exact["wanted"] == 1
    raw = means(ChipRepair(trainer=StraightThrough(), steps=2))
    assert np.isnan(raw["norm"])
    assert raw["bad"] == raw["wanted"] == 0


def test_a_search_and_the_key_mend_it_and_a_random_walk_does_not():
    assert means(ChipRepair(sharing="shared", trainer=KeyAware(), steps=10))["score"] > 0.9
    searched = found(ChipRepair(trainer=ZerothOrder(at="bodies", pairs=4), steps=20), SEEDS[:2])
    assert all(one["score"] > 0.8 for one in searched)
    assert means(ChipRepair(trainer=RandomDirection(), steps=10))["score"] < 0.3


def test_steps_are_as_long_after_a_gradient_that_was_large(monkeypatch):
    """Closed form: under a gradient of one direction and any sizes each step is `lr` long, but for Adam's epsilon."""
    made = _Repairs(ChipRepair(trainer=DAMPED, lr=0.01), SEEDS, lambda _: None)
    ways = {name: torch.full_like(made.weights[name], 0.5) for name in made.names}
    sizes = iter((1e3, 1.0, 1e-15, 1e9, 1.0))
    monkeypatch.setattr(
        made, "_gradients", lambda *_: {n: way * size for size in [next(sizes)] for n, way in ways.items()}
    )
    for step in range(1, 6):
        made.step(step)
        for name, start in made.start.items():
            assert torch.allclose(start - made.weights[name], torch.full_like(start, 0.01 * step), rtol=1e-6)


def test_units_beside_read_the_selector_and_what_was_put_back_is_missed():
    beside = means(ChipRepair(trained="beside", steps=100))
    assert beside["score"] > 0.9
    around = means(ChipRepair(trained="around", trainer=DAMPED, protection="plain", steps=20))
    p = around["bad"] * around["wanted"]
    assert p > 0.5
    assert around["without_beside"] < 0.2 < around["without_rows"]
    everything = found(ChipRepair(trained="everything", trainer=DAMPED, steps=1), SEEDS[:1])[0]
    assert {"without_core", "without_code", "still_core"} <= set(everything)


def test_seeds_side_by_side_are_what_they_are_alone():
    sample = ChipRepair(trainer=DAMPED, steps=5)
    together, alone = found(sample), [sample.measure(streams) for streams in SEEDS]
    for one, other in zip(together, alone, strict=True):
        assert one["score"] == other["score"]
        assert one["norm"] == pytest.approx(other["norm"], abs=1e-3)


def test_fixed_ciphertexts_are_also_judged_as_seen():
    measured = found(ChipRepair(trainer=DAMPED, inputs=1, steps=2), SEEDS[:1])[0]
    assert {"seen_bad", "seen_wanted"} <= set(measured)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sharing": "every"}, "sharing"),
        ({"trained": "word"}, "words"),
        ({"batch": 3}, "even batch"),
        ({"lr": 0.0}, "lr above 0"),
        ({"trainer": KeyAware(), "trained": "bits"}, "KeyAware trains words"),
        ({"trainer": ZerothOrder(at="keys")}, "masks, bodies"),
        ({"loss": "ciphertext", "trained": "beside"}, "is of words and bits"),
        ({"loss": "cipher"}, "ciphertext"),
        ({"loss": "ciphertext", "trainer": KeyAware()}, "decrypts nothing"),
        ({"trainer": StraightThrough(digits="all")}, "leave `digits` out"),
        ({"trainer": StraightThrough(), "trained": "beside"}, "passes none"),
        ({"inputs": "a"}, "whole"),
        ({"inputs": 1 << 30}, "65536"),
        ({"lr": float("nan")}, "lr"),
        ({"lr": float("inf")}, "lr above 0"),
        ({"trainer": "adam"}, "one of five terms"),
    ],
)
def test_bad_input(fields, words):
    with pytest.raises(UsageError, match=words):
        ChipRepair(**fields)
