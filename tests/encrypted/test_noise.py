"""Noise that is seen, against the standard formulas; and how rarely they lose a bit."""

import numpy as np
import pytest
import torch

from holdfast.encrypted import SETS, SecretKey, gate
from holdfast.encrypted.noise import Noise


@pytest.mark.parametrize(("name", "count"), [("tiny", 3000), ("small", 1500), ("toy", 500)])
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
    for name in ("tiny", "toy"):
        key = SecretKey(SETS[name], np.random.default_rng(0))
        phase = (key.phase(key.encrypt(torch.zeros(4000, dtype=torch.long))) + 0.5) % 1 - 0.5
        assert float(phase.std()) == pytest.approx(Noise(SETS[name]).fresh, rel=0.06)


def test_no_set_of_the_ladder_loses_a_bit_in_practice():
    for each in SETS.values():
        found = Noise(each)
        assert 0 <= found.failure < 2**-60
        assert each.name in str(found)
