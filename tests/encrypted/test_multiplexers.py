"""Encrypted tables that are read by trees of multiplexers, against the table."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast import HoldfastError, UsageError
from holdfast.encrypted import SETS, EncryptedTable, SecretKey, gate
from holdfast.encrypted.noise import Noise


@pytest.mark.parametrize(("name", "k"), [("tiny", 1), ("tiny", 5), ("small", 3), ("toy", 3)])
def test_the_entry_at_the_index(name, k):
    key = SecretKey(SETS[name], np.random.default_rng(4))
    bits = np.random.default_rng(k).random(1 << k) < 0.5
    index = torch.arange(1 << k)[:, None] >> torch.arange(k) & 1
    table = key.table(bits)
    out = table(key.selectors(index))
    assert (key.decrypt(out).numpy() == bits).all()
    assert (key.decrypt(gate(table.keys, "nand", out, out)).numpy() == ~bits).all()


def test_its_noise_is_what_the_formula_says():
    p, k = SETS["tiny"], 4
    key = SecretKey(p, np.random.default_rng(1))
    table = key.table([True] * 16)
    index = torch.randint(0, 2, (400, k), generator=torch.Generator().manual_seed(0))
    error = key.phase(table(key.selectors(index))) - 0.25
    assert float(error.std()) == pytest.approx(Noise(p).tree(k) ** 0.5, rel=0.2)


def test_what_is_refused():
    key = SecretKey(SETS["tiny"], np.random.default_rng(1))
    table = key.table([False, True])
    with pytest.raises(UsageError, match="2, 4, 8, ... entries; got 3"):
        key.table([True] * 3)
    with pytest.raises(HoldfastError, match="selectors are of another parameter set"):
        table(key.selectors(torch.zeros(1, 2)))
    with pytest.raises(HoldfastError, match="does not go into the network"):
        table.key = key
    noisy = replace(SETS["tiny"], name="noisy", ring_noise=2.0**20)
    with pytest.raises(HoldfastError, match=r"tree of 4 levels is too deep for noisy.*fewer\s+bits"):
        EncryptedTable(SecretKey(noisy, np.random.default_rng(0)).evaluation_key(), torch.zeros(16, 2, 64))
