"""The blind rotation and the switch to the small key, compiled for CPUs: to the bit what `Bootstrap` computes in torch.

Four ciphertexts lie side by side, one in each lane of a vector. All ciphertexts go through a block before any goes
through the next, so that its keys are read, and taken to the roots, once.

Polynomials modulo X^N + 1 are folded to (a_j + i a_{j+H}) X^j modulo X^H - i, and that is split: X^m - s^2 into
X^{m/2} - s and X^{m/2} + s, down to X - w^k, w = exp(i pi / N), where the remainder is the value at a root. Roots come
out in the order of the splits, for digits and keys alike, so that nothing is put back (Bernstein 2001, "Multidigit
multiplication for mathematicians", section 3). Two splits make a pass.

In memory a polynomial is H vectors of real parts, a gap, H vectors of imaginary parts, a gap.

Shapes: B ciphertexts in G groups of L lanes, k blocks, S signs, D digits, R = 2 D rows, N the ring's degree, H = N / 2
frequencies, K the switching keys of a coefficient.
"""

import operator
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core.cgutils import get_or_insert_function
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numpy.typing import NDArray
from torch import Tensor

from holdfast.encrypted.parameters import ParameterSet
from holdfast.errors import HoldfastError

LANES = 4
"""Numbers in a vector: float64 in a register of AVX2. LLVM cuts it in pieces where registers are smaller."""
AT_ONCE = 256
"""Ciphertexts that are worked on together: more would not stay in a processor's outer cache."""
GAP = 2
"""Vectors that are left out between parts: where these are a power of two apart they are all kept in a few places of a
cache."""
ROUNDED = 2.0**-52
"""By how much of itself a sum is off at least: one beyond 2^52 would always seem whole."""
TOLERANCE = 1 / 8
"""Ticks by which a sum may be off a whole number. From 1/2 it is taken for another one; in `std128` it is off by 1/100
at most."""


class Lanes(types.Type):
    """A vector of float64 in a compiled function. A product and a sum may be one instruction (fma)."""


LANE = Lanes("Lanes")
VECTOR = ir.VectorType(ir.DoubleType(), LANES)


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Lanes) -> None:
        super().__init__(manager, of, VECTOR)


def _place(context: Any, builder: Any, array_type: Any, array: Any, at: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(builder.bitcast(data, VECTOR.as_pointer()), [at])


@intrinsic
def load(_: Any, array: Any, at: Any) -> Any:
    """Vector number `at` of a contiguous array."""

    def build(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        return builder.load(_place(context, builder, of.args[0], *arguments), align=8)

    return LANE(array, types.intp), build


@intrinsic
def store(_: Any, array: Any, at: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        *where, what = arguments
        builder.store(what, _place(context, builder, of.args[0], *where), align=8)
        return context.get_dummy_value()

    return types.none(array, types.intp, LANE), build


def _function(name: str) -> Any:
    """LLVM's function of this name, lane by lane."""

    @intrinsic
    def function(_: Any, x: Any) -> Any:
        def build(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(VECTOR, [VECTOR])
            return builder.call(get_or_insert_function(builder.module, kind, f"{name}.v{LANES}f64"), arguments)

        return LANE(LANE), build

    return function


floor, rounded, absolute = _function("llvm.floor"), _function("llvm.rint"), _function("llvm.fabs")


def _operator(function: Any, instruction: str) -> None:
    """What the operator does between vectors, and between a vector and a number."""

    @infer_global(function)
    class Typed(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if any(isinstance(each, Lanes) for each in args):
                return signature(LANE, *(each if isinstance(each, Lanes) else types.float64 for each in args))
            return None

    def spread(builder: Any, value: Any) -> Any:
        if value.type == VECTOR:
            return value
        one = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES))

    def build(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        return getattr(builder, instruction)(*(spread(builder, each) for each in arguments), flags=("contract",))

    for pair in ((Lanes, Lanes), (Lanes, types.Float), (types.Float, Lanes)):
        lower_builtin(function, *pair)(build)


_operator(operator.add, "fadd")
_operator(operator.sub, "fsub")
_operator(operator.mul, "fmul")


@intrinsic
def larger(_: Any, x: Any, y: Any) -> Any:
    def build(context: Any, builder: Any, of: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return LANE(LANE, LANE), build


@njit(cache=True)
def _forward(x, first, half, twiddles):
    """Values at the roots of the polynomial at `first`; in place."""
    node, size, part = 0, half, half + GAP
    if half & 0x55555555 == 0:  # twice a power of four: one split first
        size //= 2
        sr, si = twiddles[0, 0], twiddles[0, 1]
        node = 1
        for j in range(first, first + size):
            ar, ai = load(x, j), load(x, j + part)
            br, bi = load(x, j + size), load(x, j + size + part)
            store(x, j, ar + sr * br - si * bi)
            store(x, j + part, ai + sr * bi + si * br)
            store(x, j + size, ar - sr * br + si * bi)
            store(x, j + size + part, ai - sr * bi - si * br)
    while size > 1:
        step = size // 4
        for start in range(first, first + half, size):
            sr, si, tr, ti = twiddles[node, 0], twiddles[node, 1], twiddles[node, 2], twiddles[node, 3]
            node += 1
            for j in range(start, start + step):
                ar, ai = load(x, j), load(x, j + part)
                br, bi = load(x, j + step), load(x, j + step + part)
                cr, ci = load(x, j + 2 * step), load(x, j + 2 * step + part)
                dr, di = load(x, j + 3 * step), load(x, j + 3 * step + part)
                er, ei = ar + sr * cr - si * ci, ai + sr * ci + si * cr
                gr, gi = 2.0 * ar - er, 2.0 * ai - ei
                fr, fi = br + sr * dr - si * di, bi + sr * di + si * dr
                hr, hi = 2.0 * br - fr, 2.0 * bi - fi
                pr, pi = er + tr * fr - ti * fi, ei + tr * fi + ti * fr
                qr, qi = gr - tr * hi - ti * hr, gi + tr * hr - ti * hi
                store(x, j, pr)
                store(x, j + part, pi)
                store(x, j + step, 2.0 * er - pr)
                store(x, j + step + part, 2.0 * ei - pi)
                store(x, j + 2 * step, qr)
                store(x, j + 2 * step + part, qi)
                store(x, j + 3 * step, 2.0 * gr - qr)
                store(x, j + 3 * step + part, 2.0 * gi - qi)
        size = step


@njit(cache=True)
def _backward(x, first, half, twiddles):
    """`half` times what `_forward` came from."""
    odd = half & 0x55555555 == 0
    node, size, part = len(twiddles), 1, half + GAP
    while size * (2 if odd else 1) < half:
        step, size = size, 4 * size
        node -= half // size
        for start in range(first, first + half, size):
            at = node + (start - first) // size
            sr, si, tr, ti, ur, ui = (
                twiddles[at, 0], twiddles[at, 1], twiddles[at, 2], twiddles[at, 3], twiddles[at, 4], twiddles[at, 5],
            )  # fmt: skip
            for j in range(start, start + step):
                pr, pi = load(x, j), load(x, j + part)
                qr, qi = load(x, j + step), load(x, j + step + part)
                vr, vi = load(x, j + 2 * step), load(x, j + 2 * step + part)
                wr, wi = load(x, j + 3 * step), load(x, j + 3 * step + part)
                er, ei, fr, fi = pr + qr, pi + qi, pr - qr, pi - qi
                gr, gi, hr, hi = vr + wr, vi + wi, vr - wr, vi - wi
                store(x, j, er + gr)
                store(x, j + part, ei + gi)
                br, bi = fr + hi, fi - hr
                store(x, j + step, tr * br + ti * bi)
                store(x, j + step + part, tr * bi - ti * br)
                cr, ci = er - gr, ei - gi
                store(x, j + 2 * step, sr * cr + si * ci)
                store(x, j + 2 * step + part, sr * ci - si * cr)
                dr, di = fr - hi, fi + hr
                store(x, j + 3 * step, ur * dr + ui * di)
                store(x, j + 3 * step + part, ur * di - ui * dr)
    if odd:
        sr, si = twiddles[0, 0], twiddles[0, 1]
        for j in range(first, first + size):
            ar, ai = load(x, j), load(x, j + part)
            br, bi = load(x, j + size), load(x, j + size + part)
            store(x, j, ar + br)
            store(x, j + part, ai + bi)
            cr, ci = ar - br, ai - bi
            store(x, j + size, sr * cr + si * ci)
            store(x, j + size + part, sr * ci - si * cr)


@njit(cache=True)
def _to_the_roots(key_SD22N, rows, twiddles):
    """A block's keys: of each row, the two components of the key of sign 1 and those of sign -1 in the lanes. Kept they
    would take twice the memory of the keys themselves."""
    signs, digits, _, _, degree = key_SD22N.shape
    half = degree // 2
    part = half + GAP
    for digit in range(digits):
        for component in range(2):
            first = 2 * part * (2 * digit + component)
            for sign in range(signs):
                key_2N, at = key_SD22N[sign, digit, component], LANES * first + 2 * sign
                for j in range(half):
                    for into in range(2):
                        rows[at + LANES * j + into] = key_2N[into, j]
                        rows[at + LANES * (part + j) + into] = key_2N[into, half + j]
            _forward(rows, first, half, twiddles)


@njit(cache=True)
def _cut(acc, group, rows, half, unit, base, digits):
    """Digits of a group's accumulators, as `bootstrap.signed` cuts them. A quarter is added to what is a multiple of a
    half, so that a product with the inverse falls on the right side of a whole number."""
    of_unit, of_base, part = 1 / unit, 1 / base, half + GAP
    half_unit, half_base = (unit / 2 + 0.25) / unit, (base / 2 + 0.25) / base
    for component in range(2):
        for side in range(2):
            source, into = half * (4 * group + 2 * component + side), part * (2 * component + side)
            for j in range(half):
                left = floor(load(acc, source + j) * of_unit + half_unit)
                for digit in range(digits - 1):
                    above = floor(left * of_base + half_base)
                    store(rows, 4 * part * digit + into + j, left - above * base)
                    left = above
                store(rows, 4 * part * (digits - 1) + into + j, left)


@njit(cache=True)
def _turn(turns, exponents_L, powers_H, roots):
    """X^e - 1 at the roots."""
    half = len(powers_H)
    for h in range(half):
        for lane in range(LANES):
            root = roots[(exponents_L[lane] * powers_H[h]) & (4 * half - 1)]
            turns[LANES * h + lane] = root.real - 1
            turns[LANES * (half + GAP + h) + lane] = root.imag


@njit(cache=True)
def _multiply(rows, keys, turns, moved, half, count):
    """(X^e - 1) D K_+ + (X^-e - 1) D K_-, at the roots."""
    part = half + GAP
    zero = load(turns, 0) * 0.0
    for h in range(half):
        ar = ai = br = bi = cr = ci = dr = di = zero
        for row in range(count):
            real = 2 * part * row + h
            xr, xi = load(rows, real), load(rows, real + part)
            kr, ki = LANES * real, LANES * (real + part)
            ar, ai = ar + keys[kr] * xr - keys[ki] * xi, ai + keys[kr] * xi + keys[ki] * xr
            br, bi = br + keys[kr + 1] * xr - keys[ki + 1] * xi, bi + keys[kr + 1] * xi + keys[ki + 1] * xr
            cr, ci = cr + keys[kr + 2] * xr - keys[ki + 2] * xi, ci + keys[kr + 2] * xi + keys[ki + 2] * xr
            dr, di = dr + keys[kr + 3] * xr - keys[ki + 3] * xi, di + keys[kr + 3] * xi + keys[ki + 3] * xr
        tr, ti = load(turns, h), load(turns, part + h)
        store(moved, h, tr * (ar + cr) - ti * (ai - ci))
        store(moved, part + h, tr * (ai + ci) + ti * (ar - cr))
        store(moved, 2 * part + h, tr * (br + dr) - ti * (bi - di))
        store(moved, 3 * part + h, tr * (bi + di) + ti * (br - dr))


@njit(cache=True)
def _add(acc, group, moved, half, modulus, worst):
    """Adds what was moved to the accumulators, which stay in [-modulus / 2, modulus / 2), where `signed` wants them."""
    of_modulus, above, scale = 1 / modulus, (modulus - modulus // 2 + 0.25) / modulus, 1 / half
    for side in range(4):
        source, into = (half + GAP) * side, half * (4 * group + side)
        for j in range(half):
            given = load(moved, source + j) * scale
            whole = rounded(given)
            worst = larger(larger(absolute(given - whole), absolute(given) * ROUNDED), worst)
            total = load(acc, into + j) + whole
            store(acc, into + j, total - floor(total * of_modulus + above) * modulus)
    return worst


@njit(cache=True)
def blocks(acc, exponents_kGL, keys_kSD22N, unit, base, modulus, twiddles, powers_H, roots):
    """k blocks of the blind rotation of every group, in place; gives by how much, at most, a sum was off the whole
    number that it stands for."""
    count, half = 2 * keys_kSD22N.shape[2], keys_kSD22N.shape[5] // 2
    size = LANES * 2 * (half + GAP)
    keys, rows = np.zeros(count * size), np.empty(count * size)
    turns, moved, farthest = np.empty(size), np.empty(2 * size), np.zeros(LANES)
    worst = load(farthest, 0)
    for block in range(len(keys_kSD22N)):
        _to_the_roots(keys_kSD22N[block], keys, twiddles)
        for group in range(exponents_kGL.shape[1]):
            _cut(acc, group, rows, half, unit, base, count // 2)
            for row in range(count):
                _forward(rows, 2 * (half + GAP) * row, half, twiddles)
            _turn(turns, exponents_kGL[block, group], powers_H, roots)
            _multiply(rows, keys, turns, moved, half, count)
            for component in range(2):
                _backward(moved, 2 * (half + GAP) * component, half, twiddles)
            worst = _add(acc, group, moved, half, modulus, worst)
    store(farthest, 0, worst)
    return farthest.max()


@njit(cache=True)
def looked_up(a_BN, rows_NKn, base, digits):
    """Sums of the switching keys of a's digits, (B, n+1)."""
    sums = np.zeros((len(a_BN), rows_NKn.shape[2]), np.int64)
    for i in range(len(a_BN)):
        for j in range(a_BN.shape[1]):
            left = a_BN[i, j]
            for digit in range(digits):
                row = rows_NKn[j, digit * base + left % base]
                for k in range(len(row)):
                    sums[i, k] += row[k]
                left //= base
    return sums


@lru_cache
def _splits(half: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.complex128]]:
    """Of each node s, t and s t, where X^m - s^2 is split, and then X^{m/2} - t^2 and X^{m/2} + t^2; the powers of w at
    the leaves; and w^j, j = 0 .. 2N - 1."""
    turn, angles, found = 4 * half, np.array([half]), []
    if half & 0x55555555 == 0:
        found.append(np.stack([angles // 2] * 3, -1))
        angles = (angles[:, None] // 2 + np.array([0, 2]) * half).flatten()
    while angles[0] > 1:
        found.append(np.stack([angles // 2, angles // 4, angles // 2 + angles // 4], -1))
        angles = (angles[:, None] // 4 + np.array([0, 2, 1, 3]) * half).flatten() % turn
    roots = np.exp(2j * np.pi / turn * np.arange(turn))
    return roots[np.concatenate(found)].view(np.float64), angles, roots


def rotated(acc_B2N: Tensor, exponents_Bn: Tensor, keys: Iterable[Tensor], p: ParameterSet) -> Tensor:
    """The blind rotation, from the accumulators (B, 2, N) that it begins with to those that it ends with.

    Raises:
        HoldfastError: sums that float64 does not hold.
    """
    count, _, degree = acc_B2N.shape
    groups = -(-count // LANES)
    padded = torch.zeros(groups * LANES, 2 * degree, dtype=torch.float64)
    padded[:count] = (acc_B2N - p.modulus * (acc_B2N >= p.modulus // 2)).flatten(1)
    acc = padded.view(groups, LANES, 2 * degree).transpose(1, 2).flatten().numpy()
    exponents = np.zeros((p.n, groups * LANES), np.int64)
    exponents[:, :count] = exponents_Bn.T.numpy()
    first, off = 0, 0.0
    for gadget, part in zip(p.gadgets, keys, strict=True):
        some = exponents[first : first + gadget.count].reshape(gadget.count, groups, LANES)
        key = part.detach().numpy()
        off = max(off, blocks(acc, some, key, gadget.unit, gadget.base, p.modulus, *_splits(degree // 2)))
        first += gadget.count
    if off > TOLERANCE:
        raise HoldfastError(
            f"Float64 does not hold the sums of {p.name}: one is off a whole number by {off:.2g} ticks."
        )
    found = torch.from_numpy(acc).view(groups, 2 * degree, LANES).transpose(1, 2).reshape(-1, 2, degree)[:count]
    return found + p.modulus * (found < 0)
