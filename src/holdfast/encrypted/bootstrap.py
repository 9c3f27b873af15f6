"""Programmable bootstrapping as a network: a residual stack whose weights are the evaluation keys.

Shapes: B ciphertexts, n the small key's length, N the ring's degree, H = N / 2 frequencies, R = 2 x digits rows.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor, nn

from holdfast.encrypted.parameters import Gadget, ParameterSet
from holdfast.encrypted.ring import Ring
from holdfast.errors import HoldfastError

AT_ONCE = 16
"""Ciphertexts that torch works on together: what lies between two blocks then fits a core's cache."""


class Bootstrap(nn.Module):
    """Evaluate a table on ciphertexts, without the secret key: (B, n+1) -> (B, n+1), in ticks of q.

    Block i of the blind rotation is acc + (X^e - 1) D(acc) K_i+ + (X^-e - 1) D(acc) K_i-, e = -a_i 2N / q: D cuts the
    accumulator into digits (the activation), K are this block's weights, and products are those of polynomials
    modulo X^N + 1. Then the constant coefficient is taken out as a ciphertext under the ring's key, and switched to the
    small one. All sums are whole numbers of ticks, and exact; to the coefficient what OpenFHE 1.6.1 computes with the
    same keys (GINX). Where nothing asks for a gradient and all is on the CPU, `kernel.py` computes it if numba is
    installed, and else torch; to the same bits.

    `rotation`: for each gadget of the set the keys of its blocks, (count, signs, digits, 2, 2, N): the key of a sign,
    for a digit of an accumulator's component, two components. `switch`: (N, rows, n+1), a row for each digit, or for
    each value of the first digit, then of the second, and so on, where the set has a table. Whole numbers, in ticks of
    Q and of the switch's modulus.

    Chillotti et al. 2020, "TFHE: fast fully homomorphic encryption over the torus" (eprint 2018/421); ternary secrets:
    Micciancio & Polyakov 2021 (eprint 2020/086).
    """

    def __init__(self, parameter_set: ParameterSet, rotation: Sequence[Tensor], switch: Tensor) -> None:
        """
        Raises:
            HoldfastError: keys of another parameter set.
        """
        super().__init__()
        self.parameter_set = parameter_set
        self.ring = Ring(parameter_set.degree)
        for part, gadget in zip(rotation, parameter_set.gadgets, strict=True):
            expect(
                part, (gadget.count, parameter_set.signs, gadget.digits, 2, 2, parameter_set.degree), "rotation keys"
            )
        expect(switch, (parameter_set.degree, parameter_set.switch.rows, parameter_set.n + 1), "switching keys")
        self.rotation = nn.ParameterList([nn.Parameter(part, requires_grad=False) for part in rotation])
        self.switch = nn.Parameter(switch, requires_grad=False)
        self._kept: tuple[object, list[Tensor]] | None = None

    def forward(self, ciphertexts: Tensor, table: Tensor, offset: int) -> Tensor:
        """
        Args:
            ciphertexts: (B, n+1), whole float64 in [0, q): a, then b.
            table: (2, N) or (B, 2, N), a polynomial under the ring's key, in ticks of Q; its coefficient -b' stands for
                phase b', as the accumulator begins with X^b table.
            offset: ticks of Q that are added to what comes out.
        """
        kernel = self._kernel(ciphertexts, table)
        at_once = kernel.AT_ONCE if kernel else AT_ONCE
        parts = zip(
            torch.split(ciphertexts, at_once), torch.split(table.expand(len(ciphertexts), 2, -1), at_once), strict=True
        )
        return torch.cat([self.switched(self.extracted(self.rotated(some, its), offset)) for some, its in parts])

    def rotated(self, ciphertexts: Tensor, table: Tensor) -> Tensor:
        """The blind rotation: accumulators (B, 2, N)."""
        p = self.parameter_set
        phases = _rescaled(ciphertexts, p.ciphertext_modulus, 2 * p.degree).long()
        a_Bn, b_B1 = phases[:, : p.n], phases[:, p.n :]
        acc = self.ring.rotated(table, b_B1.expand(-1, 2)) % p.modulus
        if kernel := self._kernel(acc):
            found: Tensor = kernel.rotated(acc, -a_Bn, self.rotation, p)
            return found
        keys = self._values()
        first = 0
        for gadget, each in zip(p.gadgets, keys, strict=True):
            for at in range(gadget.count):
                acc = self._block(acc, gadget, each[at], -a_Bn[:, first + at])
            first += gadget.count
        return acc

    def _block(self, acc_B2N: Tensor, gadget: Gadget, key_HRS: Tensor, exponents_B: Tensor) -> Tensor:
        p, ring = self.parameter_set, self.ring
        cut = signed(acc_B2N, gadget.unit, gadget.base, gadget.digits, p.modulus)
        digits_RBN = torch.stack(cut).permute(0, 2, 1, 3).flatten(0, 1).contiguous()
        products_HBS = torch.bmm(ring.forward(digits_RBN).permute(2, 1, 0), key_HRS)
        turn_HB1 = (ring.monomial(exponents_B).T - 1)[..., None]
        moved_HB2 = products_HBS[..., :2] * turn_HB1
        if p.signs == 2:
            moved_HB2 = moved_HB2 + products_HBS[..., 2:] * turn_HB1.conj()
        moved = ring.backward(moved_HB2.permute(1, 2, 0).contiguous()).round()
        return within(acc_B2N + moved, p.modulus)

    def _kernel(self, *given: Tensor) -> ModuleType | None:
        """Compiled code for this; None where torch computes it."""
        held = [*given, *self.parameters()]
        asks = torch.is_grad_enabled() and any(each.requires_grad for each in held)
        return None if asks or any(each.device.type != "cpu" for each in held) else compiled()

    def _values(self) -> list[Tensor]:
        """Keys at the roots, (count, H, R, 2 x signs); kept until they change, as they cost as much as some gates."""
        state = [(id(part), part.data_ptr(), part._version) for part in self.rotation]
        if self._kept is None or self._kept[0] != state:
            self._kept = None  # so that its memory is free
            self._kept = state, [self._at_roots(part) for part in self.rotation]
        return self._kept[1]

    def _at_roots(self, part: Tensor) -> Tensor:
        values = (self.ring.forward(key.double()).permute(4, 1, 2, 0, 3) for key in part)  # H, digits, 2, signs, 2
        return torch.stack([each.flatten(3).flatten(1, 2) for each in values])

    def extracted(self, acc: Tensor, offset: int) -> Tensor:
        """The constant coefficient as a ciphertext under the ring's key: (B, 2, N) -> (B, N+1), in ticks of Q."""
        a_BN = torch.cat([acc[:, 0, :1], -acc[:, 0, 1:].flip(-1)], 1)
        return within(torch.cat([a_BN, acc[:, 1, :1] + offset], 1), self.parameter_set.modulus)

    def switched(self, extracted: Tensor) -> Tensor:
        """The same under the small key, in ticks of q."""
        p, switch = self.parameter_set, self.parameter_set.switch
        v = _rescaled(extracted, p.modulus, switch.modulus)
        a_BN, b_B1 = v[:, :-1], v[:, -1:]
        summed = self._looked_up(a_BN) if switch.table else self._multiplied(a_BN)
        found = torch.cat([-summed[:, :-1], b_B1 - summed[:, -1:]], 1)
        return _rescaled(within(found, switch.modulus), switch.modulus, p.ciphertext_modulus)

    def _looked_up(self, a_BN: Tensor) -> Tensor:
        switch = self.parameter_set.switch
        if kernel := self._kernel(a_BN):
            sums = kernel.looked_up(a_BN.long().numpy(), self.switch.detach().numpy(), switch.base, switch.digits)
            return torch.from_numpy(sums).double()
        digits = torch.arange(switch.digits, device=a_BN.device)
        values = (a_BN.long()[..., None] // switch.base**digits) % switch.base + switch.base * digits
        first = torch.arange(len(self.switch), device=a_BN.device)[:, None] * switch.rows
        rows = self.switch.flatten(0, 1)
        return torch.stack(
            [rows.index_select(0, at.flatten()).sum(0, dtype=torch.int64) for at in values + first]
        ).double()

    def _multiplied(self, a_BN: Tensor) -> Tensor:
        switch = self.parameter_set.switch
        cut = signed(a_BN, switch.unit, switch.base, switch.digits, switch.modulus)
        return torch.stack(cut, -1).flatten(1) @ self.switch.flatten(0, 1).double()


@lru_cache
def compiled() -> ModuleType | None:
    """`kernel.py`; None where numba is not installed, which is an extra."""
    try:
        return import_module("holdfast.encrypted.kernel")
    except ModuleNotFoundError as error:
        if error.name not in ("numba", "llvmlite"):
            raise
        return None


def signed(x: Tensor, unit: int, base: int, count: int, modulus: int) -> list[Tensor]:
    """Digits of ticks in [0, modulus), the lowest first: x = sum_k d_k unit base^k and half a unit at most (modulo the
    modulus), d_k in [-base/2, base/2) but for the last, which is what is left: not reduced, and so base/2 now and
    then."""
    left = torch.where(x >= modulus // 2, x - modulus, x).add_(unit / 2).div_(unit).floor_()
    found = []
    for _ in range(count - 1):
        above = (left + base / 2).div_(base).floor_()
        found.append(torch.add(left, above, alpha=-base))
        left = above
    return [*found, left]


def within(x: Tensor, modulus: int) -> Tensor:
    """x in [0, modulus)."""
    return x - modulus * torch.floor(x / modulus)


def _rescaled(x: Tensor, modulus: int, other: int) -> Tensor:
    """Ticks of one modulus in those of another, the nearest, half up."""
    return x if modulus == other else torch.floor(x * other / modulus + 0.5) % other


def expect(got: Tensor, shape: tuple[int, ...], what: str) -> None:
    """
    Raises:
        HoldfastError: another shape.
    """
    if tuple(got.shape) != shape:
        raise HoldfastError(f"These {what} are of another parameter set: expected {shape}, got {tuple(got.shape)}.")
