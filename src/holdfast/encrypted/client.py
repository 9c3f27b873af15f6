"""What stays with the client: the secret keys, encryption and decryption, and the making of evaluation keys.

Shapes: n the small key's length, N the ring's degree.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.encrypted.bootstrap import Bootstrap
from holdfast.encrypted.parameters import ParameterSet
from holdfast.encrypted.ring import Ring
from holdfast.errors import HoldfastError

AT_ONCE = 4096
"""Encryptions that are made together."""


class SecretKey:
    """A client's keys. Not a module, and not a tensor: it does not go where weights go."""

    def __init__(self, parameter_set: ParameterSet, generator: np.random.Generator) -> None:
        """
        Args:
            parameter_set: the set.
            generator: all that is random here comes from it, keys and encryptions in the order in which they are made.
        """
        self.parameter_set, self.generator = parameter_set, generator
        low, high = (0, 2) if parameter_set.secret == "binary" else (-1, 2)
        self.small_n = generator.integers(low, high, parameter_set.n)
        self.ring_N = generator.integers(low, high, parameter_set.degree)

    def encrypt(self, bits: Tensor) -> Tensor:
        """Ciphertexts of bits: (...) of 0 and 1 -> (..., n+1), in ticks of q: a, then b = <a, s> + bit q/4 + error."""
        p = self.parameter_set
        message = bits.numpy().astype(np.int64) * (p.ciphertext_modulus // 4)
        noise = p.fresh_noise * p.ciphertext_modulus
        return torch.from_numpy(self._hidden(message, p.ciphertext_modulus, noise)).double()

    def phase(self, ciphertexts: Tensor) -> Tensor:
        """b - <a, s> in turns, in [0, 1)."""
        p = self.parameter_set
        if ciphertexts.shape[-1] != p.n + 1:
            raise HoldfastError(
                f"A ciphertext of {p.name} has {p.n + 1} numbers; got {ciphertexts.shape[-1]}, so it is of another set."
            )
        key = torch.from_numpy(self.small_n).double()
        ticks = (ciphertexts[..., -1] - ciphertexts[..., :-1].double() @ key) % p.ciphertext_modulus
        return ticks / p.ciphertext_modulus

    def decrypt(self, ciphertexts: Tensor) -> Tensor:
        """The bits.

        Raises:
            HoldfastError: ciphertexts that are of no bit under this key.
        """
        quarters = torch.floor((self.phase(ciphertexts) + 0.125) * 4) % 4
        if bool((quarters > 1).any()):
            wrong = int((quarters > 1).sum())
            raise HoldfastError(
                f"{wrong} of {quarters.numel()} ciphertexts decrypt to no bit: they are under another key, or their "
                f"noise has outgrown {self.parameter_set.name}."
            )
        return quarters.long()

    def evaluation_key(self) -> Bootstrap:
        """The network that computes with ciphertexts of this key, and does not hold it."""
        p = self.parameter_set
        holds = [self.small_n == sign for sign in (1, -1)[: p.signs]]
        rotation, first = [], 0
        for gadget in p.gadgets:
            units = gadget.unit * gadget.base ** np.arange(gadget.digits)
            part = torch.empty(gadget.count, p.signs, gadget.digits, 2, 2, p.degree, dtype=_smallest(p.modulus))
            for i in range(gadget.count):
                part[i] = torch.from_numpy(self._refresh([h[first + i] for h in holds], units))
            rotation.append(part)
            first += gadget.count
        return Bootstrap(p, rotation, torch.from_numpy(self._switch()))

    def _refresh(self, bits: list[np.bool_], units: NDArray[np.int64]) -> NDArray[np.int64]:
        """(signs, digits, 2, 2, N): each row an encryption of zero in the ring, with bit x unit on one component."""
        p = self.parameter_set
        shape = (len(bits), len(units), 2, p.degree)
        a = self.generator.integers(0, p.modulus, shape)
        error = np.rint(self.generator.normal(0, p.ring_noise, shape)).astype(np.int64)
        b = (_product(a, self.ring_N, p.modulus) + error) % p.modulus
        rows = np.stack([a, b], 3)
        for sign, bit in enumerate(bits):
            for component in (0, 1):
                rows[sign, :, component, component, 0] += int(bit) * units
        return rows % p.modulus

    def _switch(self) -> NDArray[np.signedinteger]:
        """(N, rows, n+1), as `Bootstrap` takes them."""
        switch = self.parameter_set.switch
        row = np.arange(switch.rows)
        digit, value = np.divmod(row, switch.base) if switch.table else (row, switch.unit)
        factor = value * switch.base**digit
        rows = self._hidden(self.ring_N[:, None] * factor, switch.modulus, switch.noise)
        rows[:, factor == 0] = 0  # a digit of 0 adds nothing, and no noise
        return rows

    def _hidden(self, message: NDArray[np.int64], modulus: int, noise: float) -> NDArray[np.signedinteger]:
        """Encryptions under the small key, (...) -> (..., n+1), of the smallest type that holds them. Made some at a
        time: switching keys in int64 would be four times as large as they are."""
        n = self.parameter_set.n
        found = torch.empty(message.size, n + 1, dtype=_smallest(modulus)).numpy()
        b = message.flatten()
        for first in range(0, len(b), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            a = self.generator.integers(0, modulus, (len(b[some]), n))
            b[some] += a @ self.small_n
            found[some, :-1] = a
        error = np.rint(self.generator.normal(0, noise, len(b))).astype(np.int64)
        found[:, -1] = (b + error) % modulus
        return found.reshape(*message.shape, n + 1)


def _product(a: NDArray[np.int64], key_N: NDArray[np.int64], modulus: int) -> NDArray[np.int64]:
    """Products in the ring with a key of small numbers, exact: in pieces of 2^16, so that float64 holds all sums."""
    ring = Ring(len(key_N))
    key = ring.forward(torch.from_numpy(key_N).double())
    total = np.zeros_like(a)
    for shift in range(0, modulus.bit_length(), 16):
        piece = torch.from_numpy((a >> shift) & 0xFFFF).double()
        found = ring.backward(ring.forward(piece) * key).round().long().numpy()
        total = (total + (found << shift)) % modulus
    return total


def _smallest(modulus: int) -> torch.dtype:
    """Of whole numbers below the modulus."""
    return torch.int16 if modulus <= 2**15 else torch.int32 if modulus <= 2**31 else torch.int64
