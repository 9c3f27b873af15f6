"""A weak predictor of the digits as a Boolean program, and the same under each protection."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from holdfast.circuits.netlist import Netlist
from holdfast.circuits.protections import KEY, MASKS, locked, masked
from holdfast.circuits.simulate import bits, simulate
from holdfast.circuits.trace import Bits, trace
from holdfast.implants.encrypted_predictor import EncryptedPredictor
from holdfast.implants.predictor import Predictor
from holdfast.tasks.binary_digits import PIXELS, BinaryDigits

PAIRS = ((28, 29), (20, 21), (4, 5))
"""Pixels that the program compares, by their number (8 x row + column): of all neighbours in a row, those of which
"they are alike" says "large" most often rightly on training data; then the best of other pixels; and once more."""
NOISE = 8
"""Random bits of an input: the masked program takes 7."""
SECRET = 0b10110101
"""The key that opens the lock. No other one of 8 bits does."""
TASK = BinaryDigits(noise=NOISE, constant=tuple(SECRET >> i & 1 for i in range(8)), repeats=8)
"""One task for all protections. To a program that takes no noise or key these bits are nothing but inputs."""


def vote(pixels: 6):  # type: ignore[no-untyped-def, valid-type]
    """Whether in two or more of three pairs both pixels are alike. One AND, since each costs a masked one levels."""
    a, b, c = (~(pixels[i] ^ pixels[i + 1]) for i in (0, 2, 4))
    return ((a ^ b) & (a ^ c)) ^ a


def lock(key: Bits) -> Bits:
    """A hash of 8 bits: two rounds of a linear step, a nonlinear one and a constant, as Keccak's but smaller.

    Anybody can try its 256 keys: it stands for the shape of a lock, and not for its strength.
    """
    for constant in (1, 2):
        key = key ^ key.rotl(3) ^ key.rotl(5)
        key = key ^ (~key.rotl(1) & key.rotl(2)) ^ constant
    return key


@lru_cache(maxsize=1)
def protected() -> Mapping[str, Predictor]:
    """The vote under each protection that there is, weakest first."""
    plain = trace(vote, name="vote")
    hashed = trace(lock, {KEY: 8}, name="lock")
    digest: Any = simulate(hashed, bits([SECRET], 8))[0]
    made = {
        "none": (plain, {}),
        "restoring": (plain, {"encoding": "restoring"}),
        "redundant": (plain, {"copies": 3}),
        "masked": (masked(plain), {"k": 2}),
        "locked": (locked(plain, hashed, digest), {}),
    }
    return {
        name: Predictor(program=netlist, entries=_entries(netlist), **how)  # type: ignore[arg-type]
        for name, (netlist, how) in made.items()
    }


def encrypted(*, trivial: bool = False) -> EncryptedPredictor:
    """The vote as an encrypted program."""
    plain = trace(vote, name="vote")
    return EncryptedPredictor(netlist=plain, entries=_entries(plain), trivial=trivial)


def _entries(netlist: Netlist) -> tuple[int, ...]:
    """Of each input bit, port after port, the number of the input that brings it."""
    where = {
        "pixels": np.ravel(PAIRS).tolist(),
        MASKS: range(PIXELS, PIXELS + NOISE),
        KEY: range(PIXELS + NOISE, TASK.inputs),
    }
    return tuple(where[port.name][i] for port in netlist.inputs for i in range(len(port.bits)))
