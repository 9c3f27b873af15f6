"""Compiled code against torch: the same bits; and when which of them computes."""

import dataclasses
import sys

import numpy as np
import pytest
import torch

from holdfast import HoldfastError
from holdfast.encrypted import SETS, Bootstrap, Gadget, SecretKey, Switch, bootstrap, gate, kernel

NAMES = ("tiny", "small", "toy", "medium", "large")


@pytest.fixture(scope="module")
def keys():
    made = {name: SecretKey(SETS[name], np.random.default_rng(3)) for name in NAMES}
    return {name: (key, key.evaluation_key()) for name, key in made.items()}


@pytest.fixture
def by_torch(monkeypatch):
    """What a call gives where numba is not installed."""

    def found(call, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(bootstrap, "compiled", lambda: None)
            return call(*arguments)

    return found


def some(p, count, seed=0):
    """Any ciphertexts, and any tables: a table for each."""
    generator = np.random.default_rng(seed)
    ciphertexts = generator.integers(0, p.ciphertext_modulus, (count, p.n + 1))
    tables = generator.integers(0, p.modulus, (count, 2, p.degree))
    return torch.from_numpy(ciphertexts).double(), torch.from_numpy(tables).double()


@pytest.fixture
def counted(monkeypatch):
    """Calls of the compiled rotation."""
    calls = []
    rotated = kernel.rotated
    monkeypatch.setattr(kernel, "rotated", lambda *given: calls.append(1) or rotated(*given))
    return calls


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [1, 3, 4, 21])
def test_the_same_bits_as_torchs(keys, by_torch, counted, name, count):
    _, network = keys[name]
    ciphertexts, tables = some(SETS[name], count)
    assert torch.equal(network.rotated(ciphertexts, tables), by_torch(network.rotated, ciphertexts, tables))
    assert torch.equal(network(ciphertexts, tables, 5), by_torch(network, ciphertexts, tables, 5))
    assert len(counted) == 2


def test_more_than_are_worked_on_together(keys, by_torch, counted):
    _, network = keys["tiny"]
    ciphertexts, tables = some(SETS["tiny"], kernel.AT_ONCE + 3)
    assert torch.equal(network(ciphertexts, tables, 5), by_torch(network, ciphertexts, tables, 5))
    assert len(counted) == 2


def test_no_ciphertexts(keys):
    _, network = keys["tiny"]
    ciphertexts, tables = some(SETS["tiny"], 1)
    assert network.rotated(ciphertexts[:0], tables[:0]).shape == (0, 2, SETS["tiny"].degree)


DEGREES = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


@pytest.mark.parametrize("degree", DEGREES)
def test_polynomials_at_the_roots_and_back(degree):
    half = degree // 2
    twiddles, powers, _ = kernel._splits(half)
    a_NL = np.random.default_rng(0).integers(-100, 100, (degree, kernel.LANES)).astype(float)
    x = np.zeros((2, half + kernel.GAP, kernel.LANES))
    x[:, :half] = a_NL.reshape(2, half, -1)
    flat = x.reshape(-1)
    kernel._forward(flat, 0, half, twiddles)
    roots = np.exp(1j * np.pi / degree * np.outer(powers, np.arange(degree)))
    assert sorted(powers % 4) == [1] * half
    assert len(set(powers)) == half
    np.testing.assert_allclose(x[0, :half] + 1j * x[1, :half], roots @ a_NL, rtol=0, atol=1e-8)
    kernel._backward(flat, 0, half, twiddles)
    np.testing.assert_allclose(x[:, :half].reshape(degree, -1) / half, a_NL, rtol=0, atol=1e-11)
    assert (x[:, half:] == 0).all()


@pytest.mark.parametrize(("unit", "base", "digits"), [(1, 3, 14), (5, 7, 8), (10, 1000, 2), (2**7, 2**7, 2)])
@pytest.mark.parametrize("modulus", [2_000_003, 2**20])
def test_digits_are_cut_as_torch_cuts_them(unit, base, digits, modulus):
    """Of bases that are no powers of two as well, and of every tie."""
    half = 64
    ties = np.arange(-400, 400) * unit * base // 2
    x = np.concatenate([ties + near for near in (-1, 0, 1)] + [np.arange(modulus // 2 - 100, modulus // 2 + 100)])
    x = np.resize(x % modulus, 12 * 4 * half * kernel.LANES)
    expected = bootstrap.signed(torch.from_numpy(x).double(), unit, base, digits, modulus)
    acc = np.where(x >= modulus // 2, x - modulus, x).astype(float)
    for group in range(12):
        rows = np.zeros((digits, 4, half + kernel.GAP, kernel.LANES))
        kernel._cut(acc, group, rows.reshape(-1), half, unit, base, digits)
        size = 4 * half * kernel.LANES
        for digit, whole in zip(rows, expected, strict=True):
            assert (digit[:, :half].reshape(-1) == whole.numpy()[group * size : (group + 1) * size]).all()


def test_a_gradient_is_torchs(keys, counted):
    _, network = keys["tiny"]
    ciphertexts, tables = some(SETS["tiny"], 2)
    tables.requires_grad_()
    assert network(ciphertexts, tables, 5).grad_fn is not None
    assert not counted
    with torch.no_grad():
        network(ciphertexts, tables, 5)
    assert len(counted) == 1
    key, fresh = keys["tiny"][0], keys["tiny"][0].evaluation_key()
    fresh.rotation[0] = torch.nn.Parameter(fresh.rotation[0].double())
    x = key.encrypt(torch.tensor([1]))
    gate(fresh, "nand", x, x)
    assert len(counted) == 1


def test_without_numba_torch_computes(keys, monkeypatch):
    _, network = keys["tiny"]
    ciphertexts, tables = some(SETS["tiny"], 2)
    expected = network(ciphertexts, tables, 5)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "holdfast.encrypted.kernel")
    bootstrap.compiled.cache_clear()
    try:
        assert bootstrap.compiled() is None
        assert torch.equal(network(ciphertexts, tables, 5), expected)
    finally:
        bootstrap.compiled.cache_clear()


def test_keys_that_change_are_not_remembered(keys, by_torch):
    _, network = keys["tiny"]
    other = SecretKey(SETS["tiny"], np.random.default_rng(4)).evaluation_key()
    ciphertexts, tables = some(SETS["tiny"], 2)
    expected = [each(ciphertexts, tables, 5) for each in (network, other)]
    assert not torch.equal(*expected)
    changing = Bootstrap(SETS["tiny"], [part.clone() for part in network.rotation], network.switch.clone())
    for each, right in zip((network, other), expected, strict=True):
        changing.load_state_dict(each.state_dict())
        assert torch.equal(by_torch(changing, ciphertexts, tables, 5), right)
        assert torch.equal(changing(ciphertexts, tables, 5), right)


@pytest.mark.parametrize("bits", [49, 60])
def test_sums_that_float64_does_not_hold(bits):
    p = dataclasses.replace(
        SETS["tiny"],
        name="large",
        modulus=2**bits,
        gadgets=(Gadget(unit=2 ** (bits - 20), base=2**10, digits=2, count=8),),
        switch=Switch(modulus=2**bits, base=2**5, digits=3, table=False, noise=1),
    )
    generator = np.random.default_rng(0)
    rotation = torch.from_numpy(generator.integers(0, p.modulus, (8, 1, 2, 2, 2, p.degree)))
    network = Bootstrap(p, [rotation], torch.zeros(p.degree, 3, p.n + 1, dtype=torch.int64))
    with pytest.raises(HoldfastError, match="Float64 does not hold the sums of large"):
        network.rotated(*some(p, 1))
