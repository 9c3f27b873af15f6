"""Noise that is seen, against the standard formulas; and how rarely they lose a bit."""

from math import log2

import numpy as np
import pytest
import torch

from holdfast import HoldfastError
from holdfast.circuits.trace import trace
from holdfast.encrypted import SETS, SecretKey, gate, program_of
from holdfast.encrypted.noise import Noise, refuse_noise


@pytest.mark.parametrize(
    ("name", "count"), [("tiny", 3000), ("small", 1500), ("toy", 500), ("medium", 800), ("large", 500)]
)
def test_a_gates_noise_is_what_the_formulas_say(name, count):
    deviations = []
    for seed in range(2):
        key = SecretKey(SETS[name], np.random.default_rng(seed))
        bits = torch.randint(0, 2, (2, count), generator=torch.Generator().manual_seed(seed))
        out = gate(key.evaluation_key(), "nand", key.encrypt(bits[0]), key.encrypt(bits[1]))
        off = (key.phase(out) - (1 - bits[0] * bits[1]) / 4 + 0.5) % 1 - 0.5
        deviations.append(off)
    seen = float(torch.cat(deviations).std())
    assert seen == pytest.approx(Noise(SETS[name]).gate, rel=0.1)


def test_fresh_ciphertexts_have_the_noise_that_is_stated():
    for name in ("tiny", "toy", "large"):
        key = SecretKey(SETS[name], np.random.default_rng(0))
        phase = (key.phase(key.encrypt(torch.zeros(4000, dtype=torch.long))) + 0.5) % 1 - 0.5
        assert float(phase.std()) == pytest.approx(Noise(SETS[name]).fresh, rel=0.06)


def test_no_set_of_the_ladder_loses_a_bit_in_practice():
    for each in SETS.values():
        found = Noise(each)
        assert 0 <= found.failure < 2**-60
        assert each.name in str(found)


def test_no_set_is_called_stronger_than_trying_every_small_key():
    for each in SETS.values():
        assert 0 < each.bits <= each.n * log2(2 if each.secret == "binary" else 3)
    assert [each.name for each in SETS.values() if not each.insecure] == ["std128"]


@pytest.mark.parametrize(("name", "tables"), [("medium", 3), ("large", None)])
def test_what_the_noise_of_a_set_leaves_room_for(name, tables):
    netlist = trace(lambda x: (x[0] & x[1]) ^ x[2], {"x": 3}, name="three")
    refuse_noise(SETS[name], program_of(netlist, tables=tables))
    with pytest.raises(HoldfastError, match=f"noise of {name} is too large"):
        refuse_noise(SETS[name], program_of(netlist, tables=4 if tables else 2))
