"""Products of negacyclic polynomials and signed digits, against exact integers."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.encrypted.bootstrap import signed
from holdfast.encrypted.ring import Ring

DEGREES = (4, 8, 64, 512)


def schoolbook(a, b):
    """a b modulo X^N + 1, in Python's integers."""
    n = len(a)
    found = [0] * n
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            at, sign = (i + j, 1) if i + j < n else (i + j - n, -1)
            found[at] += sign * int(x) * int(y)
    return found


@settings(max_examples=40, deadline=None)
@given(st.sampled_from((4, 8, 16, 64)), st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 32))
def test_products_are_those_of_integers(degree, seed, small, large):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-(2**small), 2**small, degree), rng.integers(0, 2**large, degree)
    ring = Ring(degree)
    values = ring.forward(torch.from_numpy(a).double()) * ring.forward(torch.from_numpy(b).double())
    assert ring.backward(values).round().long().tolist() == schoolbook(a, b)


def test_as_large_as_std128_has_them():
    """Six rows of digits below 2^8 and keys below 2^27, summed: the largest there are."""
    rng = np.random.default_rng(0)
    ring = Ring(1024)
    a, b = rng.integers(-256, 257, (6, 1024)), rng.integers(0, 134_215_681, (6, 1024))
    values = (ring.forward(torch.from_numpy(a).double()) * ring.forward(torch.from_numpy(b).double())).sum(0)
    got = ring.backward(values)
    exact = np.zeros(2048, dtype=object)
    for x, y in zip(a, b, strict=True):
        low, high = (np.convolve(x, part).astype(object) for part in (y & 0x3FFF, y >> 14))
        exact[:2047] += low + (high * 2**14)
    folded = exact[:1024] - exact[1024:]
    assert got.round().long().tolist() == folded.tolist()
    assert float((got - got.round()).abs().max()) < 0.2


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(DEGREES), st.integers(-5000, 5000), st.integers(0, 2**32))
def test_monomials_rotate_with_a_sign(degree, exponent, seed):
    a = np.random.default_rng(seed).integers(-100, 100, degree)
    ring, e = Ring(degree), torch.tensor(exponent)
    expected = [(-1) ** ((k - exponent) // degree) * int(a[(k - exponent) % degree]) for k in range(degree)]
    rotated = ring.rotated(torch.from_numpy(a).double(), e)
    assert rotated.long().tolist() == expected
    by_values = ring.backward(ring.forward(torch.from_numpy(a).double()) * ring.monomial(e))
    assert by_values.round().long().tolist() == expected


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [(2**32, 2**14, 2**6, 3), (134_215_681, 2**7, 2**7, 3), (134_215_681, 2**9, 2**9, 2), (2**32, 2**17, 2**5, 3)]
    ),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=20),
)
def test_digits_add_up_to_within_half_a_unit(gadget, numbers):
    modulus, unit, base, count = gadget
    x = torch.tensor([n % modulus for n in [*numbers, 0, modulus // 2, modulus // 2 - 1, modulus - 1]]).double()
    cut = signed(x, unit, base, count, modulus)
    total = sum(d * unit * base**k for k, d in enumerate(cut))
    apart = (total - x + modulus / 2) % modulus - modulus / 2
    assert float(apart.abs().max()) <= unit / 2
    for d in cut[:-1]:
        assert float(d.min()) >= -base / 2
        assert float(d.max()) < base / 2
    assert float(cut[-1].abs().max()) <= base / 2
