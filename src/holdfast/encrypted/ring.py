"""Polynomials modulo X^N + 1 as their values at N/2 of its roots: products become pointwise.

Shapes: H = N/2 frequencies.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor


class Ring:
    """Negacyclic polynomials with N real coefficients.

    a(X) is folded into (a_j + i a_{j+H}) w^j, w = exp(i pi / N), and a complex FFT of size H gives its values at the
    roots w^(1 - 4k), k = 0 .. H-1; at the others they are the conjugates of these (Bernstein 2001, "Multidigit
    multiplication for mathematicians", section 2). Coefficients of a product are whole as long as they stay below
    about 2^50; the error of float64 grows with their size and with log N.
    """

    def __init__(self, degree: int) -> None:
        self.degree, self.half = degree, degree // 2
        self._twist = _roots(degree)[: self.half]
        """w^j."""
        self._powers = 1 - 4 * torch.arange(self.half)
        """Of w, at each frequency."""

    def forward(self, a: Tensor) -> Tensor:
        """Values at the roots, (..., N) real -> (..., H) complex."""
        folded = torch.complex(a[..., : self.half], a[..., self.half :])
        values: Tensor = torch.fft.fft(folded * self._twist.to(a.device))
        return values

    def backward(self, values: Tensor) -> Tensor:
        """Coefficients, (..., H) complex -> (..., N) real."""
        folded = torch.fft.ifft(values) * self._twist.conj().to(values.device)
        return torch.cat([folded.real, folded.imag], -1)

    def monomial(self, exponents: Tensor) -> Tensor:
        """X^e at the roots: whole exponents (...) -> (..., H)."""
        at = (exponents[..., None] * self._powers.to(exponents.device)) % (2 * self.degree)
        return _roots(self.degree).to(exponents.device)[at]

    def rotated(self, a: Tensor, exponents: Tensor) -> Tensor:
        """X^e a, coefficient by coefficient and exact: (..., N), exponents (...)."""
        at = (torch.arange(self.degree, device=a.device) - exponents[..., None]) % (2 * self.degree)
        twice = torch.cat([a, -a], -1)
        return twice.expand(*at.shape[:-1], -1).gather(-1, at)


@lru_cache
def _roots(degree: int) -> Tensor:
    """w^j, j = 0 .. 2N - 1."""
    angle = torch.arange(2 * degree, dtype=torch.float64) * (math.pi / degree)
    return torch.polar(torch.ones_like(angle), angle)
