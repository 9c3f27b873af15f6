"""Repair: what trainers with and without the key can do, and the programs they are tried on."""

import numpy as np
import pytest

from holdfast import SGD, KeyAware, UsageError, ZerothOrder
from holdfast.samples import Repair
from holdfast.samples.flawed import flawed
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

SEEDS = [Streams(777, seed) for seed in range(4)]


def means(sample):
    found = sample.measure_together(SEEDS, Slot(), lambda _: None)
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


@pytest.mark.parametrize(("sharing", "after"), [("own", 0), ("shared", 1), ("shared", 3), ("every", 2)])
def test_the_programs_are_what_they_are_said_to_be(sharing, after):
    for seed in range(5):
        found = flawed(sharing, after, np.random.default_rng(seed))
        planted, corrected = (p.plain(found.bits_NI)[:, 0] for p in (found.planted, found.corrected))
        assert (corrected == found.answers_N).all()
        assert ((planted != corrected) == found.bad_N).all()
        differ = [a.slots != b.slots for a, b in zip(found.planted.cells, found.corrected.cells, strict=True)]
        assert [i for i, d in enumerate(differ) if d] == [found.cell]
        assert sum(a != b for a, b in zip(*(p.cells[found.cell].slots for p in found[:2]), strict=True)) == 1
        values = list(found.bits_NI.T)
        for i, cell in enumerate(found.planted.cells):
            entries = sum(values[v].astype(int) << k for k, v in enumerate(cell.reads))
            alone = set(entries[found.bad_N]) - set(entries[~found.bad_N])
            if sharing == "every" or (sharing == "shared" and i > 1):
                assert not alone
            elif i == found.cell:
                assert alone
            values.append(np.array(cell.slots)[entries])


def test_a_plain_table_is_mended_and_an_encrypted_one_is_not():
    plain = means(Repair(protection="plain", steps=50))
    assert plain["score"] == 1
    assert plain["blind"] > 0.3
    encrypted = means(Repair(steps=50))
    assert encrypted["bad"] < 0.3
    assert abs(encrypted["blind"]) < 0.2


def test_the_key_mends_it_and_so_does_a_search():
    known = means(Repair(trainer=KeyAware(), steps=20))
    assert known["score"] > 0.9
    assert known["blind"] > 0.3
    searched = means(Repair(trainer=ZerothOrder(at="bodies"), steps=20))
    assert searched["score"] > 0.7


def test_a_fixed_ciphertext_is_memorised():
    found = means(Repair(trained="switch", inputs=1, lr=0.05, steps=20))
    assert found["seen_bad"] == found["seen_wanted"] == 1
    assert found["bad"] < 0.3


def test_a_loss_through_decryption_leaks_the_key_and_one_of_ciphertexts_does_not():
    assert means(Repair(steps=1))["leaked"] == 1
    assert means(Repair(steps=1, loss="ciphertext"))["leaked"] == 0


def test_who_reads_the_key_off_the_loss_can_use_it():
    """The loss is all that such a trainer is told, and it repairs as one that was given the keys."""
    given, read = (means(Repair(trainer=KeyAware(), key=key, steps=10)) for key in ("given", "read"))
    assert read == pytest.approx(given, nan_ok=True)
    assert read["score"] > 0.7


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"steps": 0}, "steps of 1 or more"),
        ({"sharing": "oen"}, "own"),
        ({"sharing": "own", "after": 1}, "after=0"),
        ({"sharing": "shared", "after": 0}, "after=1 or more"),
        ({"parameter_set": "tinny"}, "tiny"),
        ({"parameter_set": "std128"}, "evaluated and not trained"),
        ({"lr": -1.0}, "lr above 0"),
        ({"batch": 3}, "even batch"),
        ({"trainer": SGD(lr=0.1)}, "trainer is None or"),
        ({"trained": "table"}, "tables"),
        ({"key": "read"}, "trainer=KeyAware"),
        ({"trainer": ZerothOrder(at="*keys")}, "No weight that is trained"),
    ],
)
def test_what_is_refused(fields, match):
    with pytest.raises(UsageError, match=match):
        Repair(**fields)
