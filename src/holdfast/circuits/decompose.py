"""A small Boolean function as few ReLU units: f(x) = e + d x + sum_j c_j h_j(x), exact on every Boolean x.

Shapes: X = 2^k inputs of a table of k variables, H candidate units, k variables.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from math import comb

import numpy as np
from numpy.typing import NDArray

LARGEST = 6
"""Variables of a table, at most: beyond, units grow as 2^k."""
TRIED = 250_000
"""Sets of units of one size that are tried at once, at most."""
Row = tuple[float, ...]


@dataclass(frozen=True)
class Units:
    """ReLU units of k variables, and how to read the function off them."""

    weights: tuple[Row, ...]
    """Of each unit on the variables."""
    biases: Row
    reads: Row
    """Coefficients of the units in f."""
    direct: Row
    """Coefficients of the variables in f."""
    constant: float

    @property
    def count(self) -> int:
        return len(self.biases)


@cache
def product_units(table: int, k: int) -> Units:
    """The fewest units relu(2 w x - 2 t), w in {-1, 0, 1}, t half an odd number, that give the function; bit m of
    `table` is its value where variable i is bit i of m.

    Kinks lie halfway between integers, where no Boolean input is: gradients are those of the function that is computed
    and not a convention about relu'(0). AND takes 1, XOR 1, a multiplexer 2, a majority 2, XOR of three 2. All sets of
    up to three units are tried; where none will do, one unit a product of the function's polynomial (its Moebius
    transform), at most 2^k - 1 - k.
    """
    f_X = _values(table, k)
    linear = np.column_stack([_points(k), np.ones(1 << k)])
    candidates = _hinges(k)
    for size in range(4):
        if comb(len(candidates), size) > TRIED:
            break
        found = _smallest(f_X, linear, candidates, size)
        if found is not None:
            chosen, c = found
            kept = [candidates[j] for j in chosen]
            return Units(
                weights=tuple(tuple(2.0 * w for w in weight) for weight, _ in kept),
                biases=tuple(-2.0 * at for _, at in kept),
                reads=tuple(c[: len(kept)]),
                direct=tuple(c[len(kept) : -1]),
                constant=c[-1],
            )
    return _moebius(f_X, k)


@cache
def restoring_units(table: int, k: int) -> Units:
    """The fewest *ramps* whose sum is the function: ramp(z) = relu(2 z + .5) - relu(2 z - .5), two units each, for
    z = w x - t, w in {-1, 0, 1}, t half an odd number.

    A ramp is 0 or 1, flat, wherever |z| > .25, so errors of inputs that sum to less than .25 are gone behind it, and so
    is every gradient. AND takes 1 ramp, XOR 2, a multiplexer 2, a majority 1, XOR of three 3.
    """
    f_X = _values(table, k)
    one = np.ones((1 << k, 1))
    candidates = _hinges(k, steps=True)
    for size in range(4):
        if comb(len(candidates), size) > TRIED:
            break
        found = _smallest(f_X, one, candidates, size, steps=True)
        if found is not None:
            return _ramps([candidates[j] for j in found[0]], found[1][:-1], found[1][-1], k)
    return _minterms(f_X, k)


def _ramps(kept: list[tuple[Row, float]], reads: Row, constant: float, k: int) -> Units:
    weights, biases, both = [], [], []
    for (weight, at), read in zip(kept, reads, strict=True):
        weights += [tuple(2.0 * w for w in weight)] * 2
        biases += [-2.0 * at + 0.5, -2.0 * at - 0.5]
        both += [read, -read]
    return Units(tuple(weights), tuple(biases), tuple(both), (0.0,) * k, constant)


def _minterms(f_X: NDArray[np.float64], k: int) -> Units:
    """One ramp a true input (or a false one, if they are fewer)."""
    off = bool(f_X.mean() > 0.5)
    kept = []
    for x in _points(k)[f_X != off]:
        kept.append((tuple(2 * x - 1), float(x.sum()) - 0.5))
    sign = -1.0 if off else 1.0
    return _ramps(kept, (sign,) * len(kept), float(off), k)


def _moebius(f_X: NDArray[np.float64], k: int) -> Units:
    c_X = f_X.copy()
    for i in range(k):
        halves = c_X.reshape(-1, 2, 1 << i)
        halves[:, 1] -= halves[:, 0]
    weights, biases, reads, direct = [], [], [], [0.0] * k
    for m in range(1, 1 << k):
        members = [i for i in range(k) if m >> i & 1]
        if c_X[m] and len(members) == 1:
            direct[members[0]] = float(c_X[m])
        elif c_X[m]:
            weights.append(tuple(2.0 * (i in members) for i in range(k)))
            biases.append(1.0 - 2 * len(members))
            reads.append(float(c_X[m]))
    return Units(tuple(weights), tuple(biases), tuple(reads), tuple(direct), float(c_X[0]))


def _smallest(
    f_X: NDArray[np.float64],
    known: NDArray[np.float64],
    candidates: list[tuple[Row, float]],
    size: int,
    *,
    steps: bool = False,
) -> tuple[tuple[int, ...], Row] | None:
    """The first set of so many candidates that gives f together with the known columns, and the coefficients."""
    k = known.shape[0].bit_length() - 1
    columns = _outputs(k, steps)
    basis, _ = np.linalg.qr(known)
    f_rest, c_rest = f_X - basis @ (basis.T @ f_X), columns - basis @ (basis.T @ columns)
    if size == 0:
        chosen: tuple[int, ...] = ()
        if np.abs(f_rest).max() > 1e-9:
            return None
    else:
        sets = _sets(len(candidates), size)
        gram = c_rest.T @ c_rest
        right = c_rest.T @ f_rest
        grams = gram[sets[:, :, None], sets[:, None, :]]
        sound = np.abs(np.linalg.det(grams)) > 1e-6
        sets, grams = sets[sound], grams[sound]
        if not len(sets):
            return None
        c = np.linalg.solve(grams, right[sets][..., None])[..., 0]
        left = f_rest @ f_rest - (c * right[sets]).sum(1)
        good = np.flatnonzero(left < 1e-9)
        if not len(good):
            return None
        # Of several the one with the smallest numbers, which train and round best.
        best = good[np.argmin(np.abs(c[good]).sum(1))]
        chosen = tuple(sets[best].tolist())
    whole = np.column_stack([columns[:, list(chosen)], known])
    found = np.linalg.lstsq(whole, f_X, rcond=None)[0]
    exact = np.round(found * 4) / 4
    return (chosen, tuple(exact.tolist())) if np.abs(whole @ exact - f_X).max() == 0 else None


@cache
def _sets(count: int, size: int) -> NDArray[np.int64]:
    return np.array(list(combinations(range(count), size)), np.int64).reshape(-1, size)


@cache
def _outputs(k: int, steps: bool) -> NDArray[np.float64]:
    """Of each candidate on every Boolean input, (X, H)."""
    z = [_points(k) @ np.array(weight) - at for weight, at in _hinges(k, steps=steps)]
    return np.column_stack([v > 0 if steps else 2 * v * (v > 0) for v in z]).astype(np.float64)


@cache
def _hinges(k: int, *, steps: bool = False) -> list[tuple[Row, float]]:
    """(w, t): directions up to sign, with a kink in every gap between the values of w x. As units of one variable are
    linear on {0, 1}, they are left out; as steps they are not."""
    return list(_directions(k, 1 if steps else 2))


def _directions(k: int, least: int) -> Iterator[tuple[Row, float]]:
    for weight in product((0.0, 1.0, -1.0), repeat=k):
        used = [w for w in weight if w]
        if len(used) >= least and used[0] > 0:
            low = sum(w for w in used if w < 0)
            for gap in range(len(used)):
                yield weight, low + gap + 0.5


def _points(k: int) -> NDArray[np.float64]:
    return (np.arange(1 << k)[:, None] >> np.arange(k) & 1).astype(np.float64)


def _values(table: int, k: int) -> NDArray[np.float64]:
    return (np.array([table >> m & 1 for m in range(1 << k)])).astype(np.float64)
