"""How much noise a gate gives off, and how often a bit is lost to it, by the standard formulas.

Variances in squared turns. They take errors to be independent, as all of this literature does (Chillotti et al. 2020,
eprint 2018/421, section 4; Micciancio & Polyakov 2021, eprint 2020/086, section 5), and digits to be uniform.
"""

from dataclasses import dataclass
from functools import cached_property
from math import erfc, log2, sqrt

from holdfast.encrypted.parameters import ParameterSet
from holdfast.encrypted.program import Program
from holdfast.errors import HoldfastError

MARGIN = 1 / 8
"""Turns by which the sum of two ciphertexts may be off."""
ACCEPTED = 2.0**-20
"""Wrong bits that may be expected in one evaluation of a program."""


@dataclass(frozen=True)
class Noise:
    """Of a parameter set; N, n, Q, q as in `ParameterSet`, s the ring's secret, t the small one.

    - `rotation`: of the accumulator after the n blocks, signs x 2 x 2 l N E[d^2] sigma^2 each, and where t_i is not 0
      what digits round away, 2 (1 + N E[s^2]) unit^2 / 12.
    - `switching`: of the switching keys, N x digits x E[d^2] sigma^2 (with a table: 1 for each digit that is not 0),
      what its digits round away, N E[s^2] unit^2 / 12, and its rounding to the keys' modulus, (1 + N E[s^2]) / 12.
    - `rounding`: to q, (1 + n E[t^2]) / 12; and so to 2N where the next gate begins (`entering`).

    When it misleads: it is an average over keys. `entering` is in proportion to 1 + the key's weight: in `tiny`, of 8
    numbers, its standard deviation runs from .003 to .007 turns, and tables of four bits fail in none to 1 % of cases
    by the key (formula: .3 %). In larger sets keys differ by a few hundredths. In the smallest sets errors are few and
    not quite normal, so what is rare there is only roughly as rare as `failure` says.
    """

    of: ParameterSet

    @property
    def _size(self) -> float:
        """E[s^2] of a secret's numbers."""
        return 1 / 2 if self.of.secret == "binary" else 2 / 3

    @cached_property
    def rotation(self) -> float:
        p = self.of
        total = 0.0
        for gadget in p.gadgets:
            keys = p.signs * 2 * 2 * gadget.digits * p.degree * _digit(gadget.base) * p.ring_noise**2
            rounded = self._size * 2 * (1 + p.degree * self._size) * gadget.unit**2 / 12
            total += gadget.count * (keys + rounded)
        return total / p.modulus**2

    @cached_property
    def switching(self) -> float:
        p, switch = self.of, self.of.switch
        each = 1 - 1 / switch.base if switch.table else _digit(switch.base)
        keys = p.degree * switch.digits * each * switch.noise**2
        digits = 0.0 if switch.table else p.degree * self._size * switch.unit**2 / 12
        rounded = 0.0 if switch.modulus == p.modulus else (1 + p.degree * self._size) / 12
        return (keys + digits + rounded) / switch.modulus**2

    def _rounded(self, modulus: int, other: int) -> float:
        return 0.0 if modulus == other else (1 + self.of.n * self._size) / 12 / other**2

    @cached_property
    def rounding(self) -> float:
        return self._rounded(self.of.switch.modulus, self.of.ciphertext_modulus)

    @cached_property
    def entering(self) -> float:
        p = self.of
        exact = 2 * p.degree % p.ciphertext_modulus == 0
        return 0.0 if exact else self._rounded(p.ciphertext_modulus, 2 * p.degree)

    def tree(self, levels: int) -> float:
        """Of what `EncryptedTable` gives: a fresh entry's sigma^2, of each level 2 l N E[d^2] sigma^2 for the rows and
        (1 + N E[s^2]) unit^2 / 12 for what digits round away (where the bit is 1, so this is the most), then
        `switching` and `rounding`."""
        p, gadget = self.of, self.of.gadgets[0]
        keys = 2 * gadget.digits * p.degree * _digit(gadget.base) * p.ring_noise**2
        rounded = (1 + p.degree * self._size) * gadget.unit**2 / 12
        inside = (p.ring_noise**2 + levels * (keys + rounded)) / p.modulus**2
        return inside + self.switching + self.rounding

    @property
    def gate(self) -> float:
        """Standard deviation of what a gate gives, in turns."""
        return sqrt(self.rotation + self.switching + self.rounding)

    @property
    def fresh(self) -> float:
        """Of a fresh ciphertext."""
        return self.of.fresh_noise

    @property
    def failure(self) -> float:
        """Probability that a gate of two gates' outputs gives the wrong bit: erfc(1/8 / sqrt(2 V)), V its sum's
        variance."""
        return erfc(MARGIN / sqrt(2 * (2 * self.gate**2 + self.entering)))

    def wrong_bits(self, program: Program) -> float:
        """Expected wrong bits in one evaluation of a program, no more than 1: the sum over its cells of
        erfc(margin / sqrt(2 V)), V = sum_i w_i^2 (variance of what is read) + `entering`; and of its outputs the same
        with half a step. What is read is taken for a cell's output, or where it is larger, for a fresh bit."""
        each = max(self.gate**2, self.fresh**2)
        total = 0.0
        for cell in program.cells:
            variance = sum(w * w for w in cell.weights) * each + self.entering
            total += erfc(float(cell.margin(program.step)) / sqrt(2 * variance))
        total += sum(erfc(float(step) / 2 / sqrt(2 * each)) for step in program.steps)
        return min(1.0, total)

    def __str__(self) -> str:
        failure = f"2^{log2(self.failure):.0f}" if self.failure > 0 else "below 2^-1000"
        return f"{self.of.name}: a gate's noise {self.gate:.2g} turns, a wrong bit in {failure} of gates"


def refuse_noise(p: ParameterSet, program: Program) -> None:
    """
    Raises:
        HoldfastError: a program whose bits this set's noise would turn over.
    """
    expected = Noise(p).wrong_bits(program)
    if expected > ACCEPTED:
        narrowest = min(cell.margin(program.step) for cell in program.cells)
        raise HoldfastError(
            f"The noise of {p.name} is too large for {program.name}: {expected:.2g} wrong bits are to be expected in "
            f"an evaluation ({ACCEPTED:.2g} at most are accepted). Its narrowest table leaves {float(narrowest):.3g} "
            f"turns, and what comes out of one has a standard deviation of {Noise(p).gate:.2g}. Use tables of fewer "
            f"bits, gates (tables=None), or another set."
        )


def _digit(base: int) -> float:
    """E[d^2] of a whole d uniform in [-base/2, base/2)."""
    return (base**2 + 2) / 12
