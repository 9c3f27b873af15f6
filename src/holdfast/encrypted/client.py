"""What stays with the client: the secret keys, encryption and decryption, and the making of evaluation keys.

Shapes: n the small key's length, N the ring's degree.
"""

import json
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.encrypted.bootstrap import Bootstrap
from holdfast.encrypted.multiplexers import EncryptedTable
from holdfast.encrypted.network import EncryptedNetwork, Secret, height, public_tables
from holdfast.encrypted.noise import refuse_noise
from holdfast.encrypted.parameters import SETS, ParameterSet
from holdfast.encrypted.program import QUARTER, Program
from holdfast.encrypted.randomness import Draws, Entropy
from holdfast.encrypted.ring import Ring
from holdfast.errors import HoldfastError, UsageError

AT_ONCE = 4096
"""Encryptions that are made together."""

Trivial = Literal["nothing", "keys", "all"]


class SecretKey(Secret):
    """A client's keys. Not a module, and not a tensor: it does not go where weights go."""

    def __init__(
        self, parameter_set: ParameterSet, generator: Draws | None = None, *, trivial: Trivial = "nothing"
    ) -> None:
        """
        Args:
            parameter_set: the set.
            generator: all that is random here comes from it, keys and encryptions in the order in which they are made.
                None: `Entropy`, of the system. One of NumPy's makes experiments repeatable, and hides nothing from who
                knows its seed: that is the secret key, and the same seed gives two programs the same masks, whose
                difference then shows in clear.
            trivial: what is made without mask and noise, so that it shows what it holds: nothing, the `keys`, tables
                and bits that a network holds, or `all`, inputs too. A control: shapes, depth and arithmetic stay.
        """
        generator = Entropy() if generator is None else generator
        self.parameter_set, self.generator, self.trivial = parameter_set, generator, trivial
        low, high = (0, 2) if parameter_set.secret == "binary" else (-1, 2)
        self.small_n = generator.integers(low, high, parameter_set.n)
        self.ring_N = generator.integers(low, high, parameter_set.degree)

    def encrypt(self, bits: Tensor, step: Fraction = QUARTER) -> Tensor:
        """Ciphertexts of bits: (...) of 0 and 1 -> (..., n+1), in ticks of q: a, then b = <a, s> + bit x step + error.

        `step` is the program's, in turns.

        Raises:
            UsageError: something else than bits.
        """
        found = bits.cpu().numpy()
        if not ((found == 0) | (found == 1)).all():
            raise UsageError(f"Bits are 0 and 1; got numbers from {found.min()} to {found.max()}.")
        return self._bits(found, step, masked=self.trivial != "all")

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

    def decrypt(self, ciphertexts: Tensor, steps: Fraction | Sequence[Fraction] = QUARTER) -> Tensor:
        """The bits, 0 or `steps` turns: a program's `steps` are those of its output bits, one by one.

        Raises:
            UsageError: other steps than one, or one for each bit.
            HoldfastError: ciphertexts that are of no bit under this key.
        """
        each = list(steps) if isinstance(steps, Sequence) else [steps]
        bits = ciphertexts.shape[-2] if ciphertexts.dim() > 1 else 1
        if not all(isinstance(step, Fraction) and step > 0 for step in each) or len(each) not in (1, bits):
            raise UsageError(f"steps are fractions of a turn, one or one for each of {bits} bits; got {steps!r}.")
        parts = torch.tensor([float(1 / step) for step in each])
        found = torch.floor(self.phase(ciphertexts) * parts + 0.5) % parts
        if bool((found > 1).any()):
            wrong = int((found > 1).sum())
            raise HoldfastError(
                f"{wrong} of {found.numel()} ciphertexts decrypt to no bit: they are under another key, of another "
                f"program's step, or their noise has outgrown {self.parameter_set.name}."
            )
        return found.long()

    def network(self, program: Program) -> EncryptedNetwork:
        """The program as a network: evaluation keys, the encrypted bits that it holds, and its tables, encrypted if it
        hides them.

        Raises:
            HoldfastError: the set's noise leaves no room for the program.
        """
        p = self.parameter_set
        refuse_noise(p, program)
        bits = self._bits(np.array(program.fixed, np.int64), program.step, masked=self.trivial == "nothing")
        tables = None
        if program.hidden:
            plain = public_tables(program, p, range(len(program.cells)))[:, 1]
            tables = torch.from_numpy(self._in_ring(plain.long().numpy())).to(_smallest(p.modulus))
        held = bits.to(_smallest(p.ciphertext_modulus))
        return EncryptedNetwork(program.public, self.evaluation_key(), held, tables, trivial=self.trivial != "nothing")

    def table(self, bits: Sequence[bool]) -> EncryptedTable:
        """Encrypted bits that `selectors` choose among.

        Raises:
            UsageError: their number is no power of two.
            HoldfastError: more than the set's noise allows.
        """
        p = self.parameter_set
        entries = np.zeros((len(bits), p.degree), np.int64)
        entries[:, 0] = np.where(np.asarray(bits, bool), 1, -1) * height(p, QUARTER)
        return EncryptedTable(self.evaluation_key(), torch.from_numpy(self._in_ring(entries)))

    def selectors(self, index: Tensor) -> Tensor:
        """Encryptions of an index's bits, lowest first: (B, k) of 0 and 1 -> (B, k, digits, 2, 2, N), in ticks of Q."""
        gadget = self.parameter_set.gadgets[0]
        units = gadget.unit * gadget.base ** np.arange(gadget.digits)
        each = [self._refresh(list(row), units) for row in index.numpy() != 0]
        return torch.from_numpy(np.stack(each))

    def __setstate__(self, state: object) -> None:
        raise HoldfastError("A secret key is not unpickled: read it with SecretKey.load.")

    def __getstate__(self) -> object:
        raise HoldfastError(
            "A secret key is not saved with a network. It stays with the client: key.save(path) writes its own file."
        )

    def save(self, path: Path) -> None:
        """The keys as JSON in a file of their own, that only its owner may read. The generator is not kept: who loads
        it brings a new one, so that no mask is used twice."""
        text = json.dumps(
            {
                "holdfast": "secret key",
                "set": self.parameter_set.name,
                "small": self.small_n.tolist(),
                "ring": self.ring_N.tolist(),
            }
        )
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(path)

    @classmethod
    def load(cls, path: Path, generator: Draws | None = None) -> "SecretKey":
        """What `save` wrote; `generator` as for a new key.

        Raises:
            HoldfastError: no such file, or not one of these.
        """
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            p = SETS[said["set"]]
            values = (0, 1) if p.secret == "binary" else (-1, 0, 1)
            if said["holdfast"] != "secret key" or [len(said[name]) for name in ("small", "ring")] != [p.n, p.degree]:
                raise ValueError("other sizes")
            if not all(type(value) is int and value in values for name in ("small", "ring") for value in said[name]):
                raise ValueError(f"numbers other than {values}")
            small, ring = (np.array(said[name], np.int64) for name in ("small", "ring"))
        except OSError as error:
            raise HoldfastError(f"{path}: {error.strerror}. Expected a secret key that SecretKey.save wrote.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise HoldfastError(f"{path} is no secret key that SecretKey.save wrote ({error}).") from None
        key = cls(p, generator)
        key.small_n, key.ring_N = small, ring
        return key

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
        rows = self._in_ring(np.zeros((len(bits), len(units), 2, p.degree), np.int64))
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
        rows = self._hidden(
            self.ring_N[:, None] * factor, switch.modulus, switch.noise, masked=self.trivial == "nothing"
        )
        rows[:, factor == 0] = 0  # a digit of 0 adds nothing, and no noise
        return rows

    def _bits(self, bits: NDArray[np.int64], step: Fraction, *, masked: bool) -> Tensor:
        p = self.parameter_set
        message = bits.astype(np.int64) * round(step * p.ciphertext_modulus)
        noise = p.fresh_noise * p.ciphertext_modulus
        return torch.from_numpy(self._hidden(message, p.ciphertext_modulus, noise, masked=masked)).double()

    def _hidden(
        self, message: NDArray[np.int64], modulus: int, noise: float, *, masked: bool
    ) -> NDArray[np.signedinteger]:
        """Encryptions under the small key, (...) -> (..., n+1), of the smallest type that holds them. Made some at a
        time: switching keys in int64 would be four times as large as they are."""
        n = self.parameter_set.n
        found = torch.empty(message.size, n + 1, dtype=_smallest(modulus)).numpy()
        b = message.flatten()
        if not masked:
            found[:, :-1], found[:, -1] = 0, b % modulus
            return found.reshape(*message.shape, n + 1)
        for first in range(0, len(b), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            a = self.generator.integers(0, modulus, (len(b[some]), n))
            b[some] += a @ self.small_n
            found[some, :-1] = a
        error = np.rint(self.generator.normal(0, noise, len(b))).astype(np.int64)
        found[:, -1] = (b + error) % modulus
        return found.reshape(*message.shape, n + 1)

    def _in_ring(self, message: NDArray[np.int64]) -> NDArray[np.int64]:
        """Encryptions of polynomials under the ring's key, (..., N) -> (..., 2, N)."""
        p = self.parameter_set
        if self.trivial != "nothing" or not message.size:
            return np.stack([np.zeros_like(message), message % p.modulus], -2)
        a = self.generator.integers(0, p.modulus, message.shape)
        error = np.rint(self.generator.normal(0, p.ring_noise, message.shape)).astype(np.int64)
        b = (_product(a, self.ring_N, p.modulus) + message + error) % p.modulus
        return np.stack([a, b], -2)


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
