"""Gates on encrypted bits, against the bits; and what the network may be given."""

import itertools

import numpy as np
import pytest
import torch

from holdfast import HoldfastError, UsageError
from holdfast.encrypted import SETS, SecretKey, gate, inverted

TRUTH = {
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "nand": lambda a, b: 1 - (a & b),
    "nor": lambda a, b: 1 - (a | b),
    "xnor": lambda a, b: 1 - (a ^ b),
}
NAMES = ("tiny", "small", "toy", "medium", "large")
PAIRS = torch.tensor(list(itertools.product((0, 1), repeat=2)) * 4)


@pytest.fixture(scope="module")
def keys():
    made = {name: SecretKey(SETS[name], np.random.default_rng(7)) for name in NAMES}
    return {name: (key, key.evaluation_key()) for name, key in made.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", TRUTH)
def test_a_gate_is_what_it_is_on_bits(keys, name, which):
    key, network = keys[name]
    x, y = key.encrypt(PAIRS[:, 0]), key.encrypt(PAIRS[:, 1])
    out = gate(network, which, x, y)
    assert torch.equal(key.decrypt(out), TRUTH[which](PAIRS[:, 0], PAIRS[:, 1]))
    again = gate(network, "nand", out, x)  # of what a gate gave, too
    assert torch.equal(key.decrypt(again), 1 - TRUTH[which](PAIRS[:, 0], PAIRS[:, 1]) * PAIRS[:, 0])


def test_without_bootstrapping(keys):
    key, network = keys["tiny"]
    assert torch.equal(key.decrypt(inverted(network, key.encrypt(PAIRS[:, 0]))), 1 - PAIRS[:, 0])


def test_a_ciphertext_comes_out_the_same_whatever_is_beside_it(keys):
    key, network = keys["small"]
    x, y = key.encrypt(PAIRS[:, 0].repeat(3)), key.encrypt(PAIRS[:, 1].repeat(3))
    together = gate(network, "xor", x, y)
    assert torch.equal(gate(network, "xor", x[5:6], y[5:6]), together[5:6])


def test_ciphertexts_are_whole_and_in_range_and_fresh_ones_differ(keys):
    key, network = keys["toy"]
    one, two = key.encrypt(torch.ones(50, dtype=torch.long)), key.encrypt(torch.ones(50, dtype=torch.long))
    for found in (one, two, gate(network, "and", one, two)):
        assert torch.equal(found, found.round())
        assert float(found.min()) >= 0
        assert float(found.max()) < SETS["toy"].ciphertext_modulus
    assert (one != two).any(1).all()


def test_another_key_reads_no_bits(keys):
    key, _ = keys["small"]
    other = SecretKey(SETS["small"], np.random.default_rng(8))
    with pytest.raises(HoldfastError, match=r"decrypt to no bit"):
        other.decrypt(key.encrypt(torch.ones(200, dtype=torch.long)))


def test_a_ciphertext_of_another_set(keys):
    with pytest.raises(HoldfastError, match=r"of tiny has 9 numbers; got 33"):
        keys["tiny"][0].phase(keys["small"][0].encrypt(PAIRS[:, 0]))


def test_a_gate_that_there_is_not(keys):
    key, network = keys["tiny"]
    x = key.encrypt(PAIRS[:, 0])
    with pytest.raises(UsageError, match="nand"):
        gate(network, "nandd", x, x)


def test_the_network_does_not_hold_the_secret(keys):
    for key, network in keys.values():
        held = [*network.parameters(), *network.buffers()]
        assert held
        assert not any(isinstance(value, SecretKey) for value in vars(network).values())
        for secret in (key.small_n, key.ring_N):
            assert not any(tuple(value.shape) == secret.shape for value in held)
