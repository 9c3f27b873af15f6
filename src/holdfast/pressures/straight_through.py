"""Gradients that pass what an encrypted program cuts off, and a chip's gates."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from holdfast.circuits.passing import EXACT, Passing, passing
from holdfast.encrypted.descent import Backward
from holdfast.encrypted.trained import backward
from holdfast.errors import UsageError, nearest, number, whole
from holdfast.pressures.terms import Compute, Gradients, Term
from holdfast.training.nets import Nets

HALF_WIDTH = 16
"""Exponents on either side of one, between which a slope is taken: two slots of a table of three bits in the
smallest ring."""


@dataclass(frozen=True, kw_only=True)
class _Through(Term):
    alike: ClassVar[bool] = True

    half_width: int = HALF_WIDTH
    """h of the symmetric difference (f(e + h) - f(e - h)) / 2h by which a gradient passes the rounded exponent of a
    rotation; what does not move within a slot has no slope in a smaller one."""

    def __post_init__(self) -> None:
        whole(f"{type(self).__name__}'s half_width", self.half_width)
        if self.half_width < 1:
            raise UsageError(f"{type(self).__name__} needs a half_width of 1 or more; got {self.half_width}.")

    @property
    def rule(self) -> Backward:
        raise NotImplementedError

    @property
    def passing(self) -> Passing:
        """By which gradients pass the units of compiled circuits."""
        return EXACT

    def around(self, nets: Nets, compute: Compute) -> Gradients:
        with backward(self.rule), passing(self.passing):
            return compute()


@dataclass(frozen=True, kw_only=True)
class StraightThrough(_Through):
    """In encrypted programs, gradients pass digits and rounding as if these were not there, without the secret key.

    A digit d_k of x = sum_k d_k u_k counts as x / u_k: the most significant alone (`digits="first"`) or each (`"all"`).
    `damping` multiplies what passes digits. `normalised`: block by block, each example's gradient gets back the norm
    that it had behind the block. After Bengio, Leonard & Courville 2013, arXiv 1308.3432.

    In compiled circuits, and so in a chip's ticks, a unit passes where one bit's flip would turn it on or off
    (`circuits.passing`): what it passes if it is off is multiplied by `damping`; `normalised`: divided by the sum of its
    weights' sizes. Elsewhere in a network nothing changes.

    When it misleads: keys are masked, so products of digits with them wrap modulo one turn, and the gradient that
    passes is one of a function without wraps. Raw, its norm grows by some powers of ten with each entry of the key
    (`normalised` and `damping` are against that), and overflows at last: the nets then count as diverged. Through a chip
    it is not a number after some 30 ticks; damped by 2^-10 its signs are right.
    """

    digits: Literal["first", "all"] = "first"
    damping: float = 1.0
    normalised: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.digits not in ("first", "all"):
            raise nearest(str(self.digits), ("first", "all"), what="StraightThrough's digits")
        number("StraightThrough's damping", self.damping)
        if not 0 < self.damping < math.inf or not isinstance(self.normalised, bool):
            raise UsageError(
                f"StraightThrough has damping above 0, and is normalised or not; got damping={self.damping}, "
                f"normalised={self.normalised!r}."
            )

    @property
    def label(self) -> str:
        damped = f", damped {self.damping:.2g}" if self.damping != 1 else ""
        return f"straight through {self.digits}{damped}{', normalised' if self.normalised else ''}"

    @property
    def rule(self) -> Backward:
        return Backward(self.digits, self.damping, self.normalised, self.half_width)

    @property
    def passing(self) -> Passing:
        return Passing(False, self.damping, self.normalised)


@dataclass(frozen=True, kw_only=True)
class KeyAware(_Through):
    """In encrypted programs, gradients pass by the secret key: a product with an encryption of s counts as one with s.

    It needs a network that decrypts inside, and so has the key. A reference and a control that the program can be
    changed at all; no attacker without the key.

    When it misleads: it is one such rule and no upper bound on all; behind several levels it fails, too.
    """

    @property
    def label(self) -> str:
        return "with the secret key"

    @property
    def rule(self) -> Backward:
        return Backward("key", half_width=self.half_width)
