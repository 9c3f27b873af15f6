"""Parameter sets of the scheme: sizes, gadgets and noise, each with its source. Imports no torch.

A *turn* is the torus' whole circle; a *tick* is one Q-th of it, Q a modulus. Numbers are held in ticks, as whole
float64.
"""

from dataclasses import dataclass
from typing import Literal

from holdfast.errors import UsageError

SECURE = 100
"""Bits below which a set is called insecure."""


@dataclass(frozen=True, kw_only=True)
class Gadget:
    """How a number of ticks is cut into signed digits: x is nearly sum_k d_k unit base^k, k = 0 .. digits - 1.

    What is below half a unit is rounded away. Digits lie in [-base/2, base/2); the top one is what is left.
    """

    unit: int
    base: int
    digits: int
    count: int
    """How many of the rotation's keys, one after the other, are cut like this."""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """How a ciphertext under the ring's key becomes one under the small key."""

    modulus: int
    base: int
    digits: int
    table: bool
    """Whether digits are unsigned and each value has a key of its own (OpenFHE); else they are signed, and multiply one
    key (Chillotti et al. 2020)."""
    noise: float
    """Standard deviation of its keys' errors, in ticks of its modulus."""

    @property
    def unit(self) -> int:
        """Ticks of the lowest digit."""
        return 1 if self.table else self.modulus // self.base**self.digits

    @property
    def rows(self) -> int:
        """Keys of a coefficient: of each digit, or of each of its values; the last digit may not take all."""
        last = (self.modulus - 1) // self.base ** (self.digits - 1) + 1
        return (self.digits - 1) * self.base + last if self.table else self.digits


@dataclass(frozen=True, kw_only=True)
class ParameterSet:
    """Sizes and noise of everything that a client makes and a network computes with."""

    name: str
    n: int
    """Length of the small key, and steps of a blind rotation."""
    degree: int
    """N: polynomials have so many coefficients, modulo X^N + 1."""
    modulus: int
    """Q, of the ring."""
    ciphertext_modulus: int
    """q, of what goes in and comes out."""
    gadgets: tuple[Gadget, ...]
    switch: Switch
    secret: Literal["binary", "ternary"]
    ring_noise: float
    """Standard deviation of errors in the ring, in ticks of Q."""
    fresh_noise: float
    """Of fresh ciphertexts, in turns."""
    bits: float
    """log2 of what the cheapest attack costs of those that were estimated. An estimate, no proof, and one that new
    attacks lower; docs/encrypted.md says by what it is."""
    weakest: str
    """Which attack that is, and on which key."""
    source: str

    def __post_init__(self) -> None:
        if self.degree & (self.degree - 1) or self.degree < 4:
            raise UsageError(f"The degree is a power of two, 4 at the least; got {self.degree}.")
        if sum(gadget.count for gadget in self.gadgets) != self.n:
            raise UsageError(f"{self.name}: there are {self.n} keys to rotate by; its gadgets cut {self._counts}.")
        for gadget in self.gadgets:
            if gadget.unit * gadget.base**gadget.digits < self.modulus:
                raise UsageError(
                    f"{self.name}: {gadget.digits} digits of base {gadget.base} from a unit of {gadget.unit} do not "
                    f"reach the modulus {self.modulus}."
                )

    @property
    def _counts(self) -> int:
        return sum(gadget.count for gadget in self.gadgets)

    @property
    def insecure(self) -> bool:
        """Whether nothing should rest on its keys being secret: fewer than `SECURE` bits."""
        return self.bits < SECURE

    @property
    def signs(self) -> int:
        """Keys of each step: one where the secret is of 0 and 1, two where it is of -1, 0 and 1."""
        return 1 if self.secret == "binary" else 2

    @property
    def weights(self) -> int:
        """Numbers in the evaluation keys."""
        rotation = sum(g.count * self.signs * 2 * g.digits * 2 * self.degree for g in self.gadgets)
        return rotation + self.degree * self.switch.rows * (self.n + 1)


def _binary(
    name: str,
    n: int,
    degree: int,
    digits: int,
    base: int,
    *,
    switch: tuple[int, int] = (3, 2**5),
    ring_noise: float = 4.0,
    small_noise: float = 2**12,
    **more: object,
) -> ParameterSet:
    """A set of the project's own: secrets of 0 and 1, moduli 2^32, the same noise (in ticks) in all that is under the
    small key. `switch`: its digits and their base."""
    return ParameterSet(
        name=name,
        n=n,
        degree=degree,
        modulus=2**32,
        ciphertext_modulus=2**32,
        gadgets=(Gadget(unit=2**32 // base**digits, base=base, digits=digits, count=n),),
        switch=Switch(modulus=2**32, digits=switch[0], base=switch[1], table=False, noise=small_noise),
        secret="binary",
        ring_noise=ring_noise,
        fresh_noise=small_noise / 2**32,
        **more,  # type: ignore[arg-type]
    )


def _openfhe(
    name: str, n: int, degree: int, q: int, gadgets: tuple[Gadget, ...], switch: Switch, **more: object
) -> ParameterSet:
    """A set of OpenFHE 1.6.1 (GINX): ternary secrets, a ring modulo the prime 134215681, sigma 3.19."""
    return ParameterSet(
        name=name,
        n=n,
        degree=degree,
        modulus=134_215_681,
        ciphertext_modulus=q,
        gadgets=gadgets,
        switch=switch,
        secret="ternary",
        ring_noise=3.19,
        fresh_noise=3.19 / q,
        **more,  # type: ignore[arg-type]
    )


_LADDER = (
    _binary(
        "tiny", 8, 64, 3, 2**6,
        bits=8, weakest="all small keys, tried", source="the project's own",
    ),
    _binary(
        "small", 32, 128, 3, 2**6,
        bits=32, weakest="all small keys, tried", source="the project's own",
    ),
    _openfhe(
        "toy", 64, 512, 512, (Gadget(unit=2**9, base=2**9, digits=2, count=64),),
        Switch(modulus=134_215_681, base=25, digits=6, table=True, noise=3.19),
        bits=38.1, weakest="primal uSVP, small key", source="OpenFHE 1.6.1, TOY, read from its context",
    ),
    _binary(
        "medium", 128, 256, 3, 2**6, switch=(5, 2**3), ring_noise=2**7, small_noise=2**14,
        bits=40.0, weakest="primal uSVP, small key",
        source="the project's own: noise that leaves tables of three bits room",
    ),
    _binary(
        "large", 368, 512, 4, 2**4, switch=(7, 2**2), ring_noise=2**12, small_noise=2**18,
        bits=77.2, weakest="dual hybrid, both keys alike",
        source="the project's own: all the noise that gates leave room for, shared so that both keys are as strong",
    ),
    _openfhe(
        "std128", 554, 1024, 2048,
        (Gadget(unit=2**7, base=2**7, digits=3, count=303), Gadget(unit=2**9, base=2**9, digits=2, count=251)),
        Switch(modulus=2**15, base=2**8, digits=2, table=True, noise=3.19),
        bits=124.0, weakest="dual hybrid, small key", source="OpenFHE 1.6.1, STD128, read from its context",
    ),
)  # fmt: skip
SETS = {each.name: each for each in _LADDER}
"""By name, from the smallest to the largest."""
