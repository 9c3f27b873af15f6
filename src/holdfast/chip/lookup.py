"""The program that is trained through: a row of ROM, which is encrypted, is chosen by the input and added to it.

The scheme is LWE modulo 2^32 with a small binary key: a ciphertext is n words a and a word b = <a, s> + m 2^30 + e, of
a message m from 0 to 3. Two of them, added word by word, are one of the sum. So nothing has to be decrypted, rounded or
switched, and a look-up fits into 64 ticks and 64 bytes.

Shapes: K nets, B lanes, X messages of any shape, W words of RAM.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from holdfast.chip.assembler import assemble
from holdfast.chip.memory import Ram
from holdfast.chip.program import Program, Segment
from holdfast.chip.system import System, bits_of, values_of
from holdfast.circuits.passing import rule
from holdfast.errors import UsageError

N = 4
"""n, the key's length."""
MESSAGES = 4
TURN = 1 << 32
SELECTORS = 8
LEVELS = (SELECTORS, SELECTORS // 2)
"""Rows of the first table, which is read by the selector, and of the second, by its two lowest bits."""
TABLES = 0x100
"""Where the tables stand in ROM, one behind the other; word k of row r of one with R rows is its word R k + r."""
RAM = Ram(0x400, 4 * (2 + N))
"""The selector, and the ciphertext, which becomes the answer."""
NOISE = 2.0**-10
"""Standard deviation of e, in turns of 2^32; of rows a quarter of it."""


@dataclass(frozen=True)
class Lookup:
    """answer = input + first[selector] (+ second[selector mod 4]), of messages modulo 4, on ciphertexts word by word.

    One table: 23 instructions, the ecall among them, 34 ticks; two: 34 instructions, 50 ticks.
    """

    levels: int
    """Tables, 1 or 2."""

    def __post_init__(self) -> None:
        if self.levels not in (1, 2):
            raise UsageError(f"A look-up has 1 or 2 tables; got {self.levels}.")

    @property
    def source(self) -> str:
        """In assembly."""
        lines = [f"lw t0, {RAM.address}(zero)", "slli t0, t0, 2"]
        lines += [f"andi t1, t0, {4 * (LEVELS[1] - 1)}"] if self.levels > 1 else []
        for word in range(N + 1):
            at = RAM.address + 4 * (1 + word)
            lines.append(f"lw a0, {at}(zero)")
            for level, index in zip(range(self.levels), ("t0", "t1"), strict=False):
                lines += [f"lw a1, {self.at(level) + 4 * LEVELS[level] * word}({index})", "add a0, a0, a1"]
            lines.append(f"sw a0, {at}(zero)")
        return "\n".join([*lines, "ecall"])

    @property
    def ticks(self) -> int:
        """Until it has ended: one an instruction, two a load."""
        loads = 1 + (N + 1) * (1 + self.levels)
        return 2 * loads + 1 + (self.levels > 1) + (N + 1) * (1 + self.levels) + 1

    def at(self, level: int) -> int:
        """The address of a table."""
        return TABLES + sum(4 * rows * (N + 1) for rows in LEVELS[:level])

    def program(self) -> Program:
        """With zeros in its tables."""
        blank = bytes(self.at(self.levels) - TABLES)
        return Program((*assemble(self.source).segments, Segment(TABLES, blank, writable=False)), 0)

    def system(self) -> System:
        """The same with its core, as a network."""
        return System(self.program(), RAM)

    def rows(self, system: System, level: int) -> range:
        """Where a table's words are among the system's; (N + 1, rows) of them."""
        return system.rows(self.at(level), (N + 1) * LEVELS[level])


class Client:
    """Who has the key: encrypts, and decrypts what comes back.

    Args:
        key_n: 0 and 1.
        masked: whether ciphertexts have masks; without, b is the message and its noise.
    """

    def __init__(self, key_n: NDArray[np.int64], *, masked: bool = True) -> None:
        self.key_n, self.masked = key_n, masked

    @classmethod
    def drawn(cls, generator: np.random.Generator, *, masked: bool = True) -> "Client":
        """With a key of as many ones as zeros."""
        return cls(generator.permutation(np.arange(N) % 2), masked=masked)

    def encrypt(
        self, messages_X: NDArray[np.int64], generator: np.random.Generator, noise: float = NOISE
    ) -> NDArray[np.int64]:
        """(X) -> (X, N + 1), words from 0 to 2^32; `noise` in turns."""
        shape = messages_X.shape
        a = generator.integers(0, TURN, (*shape, N)) * self.masked
        errors = generator.normal(0, noise * TURN, shape).round().astype(np.int64)
        b = a @ self.key_n + messages_X * (TURN // MESSAGES) + errors
        return np.concatenate([a, b[..., None]], -1) % TURN

    def phases(self, ciphertexts: Tensor) -> Tensor:
        """(X, N + 1), in words -> (X), in turns: b - <a, s>."""
        key = torch.from_numpy(self.key_n).to(ciphertexts)
        return (ciphertexts[..., -1] - ciphertexts[..., :-1] @ key) / TURN


def asked(selectors_X: Tensor, ciphertexts: Tensor, like: Tensor) -> Tensor:
    """RAM with a selector and a ciphertext (X, N + 1) in it, as bits (X, W, 32)."""
    return bits_of(torch.cat([selectors_X[..., None], ciphertexts], -1), like)


def answered(ram: Tensor) -> Tensor:
    """The ciphertext in RAM (X, W, 32), in words (X, N + 1)."""
    return values_of(ram[..., 1:, :])


def stored(turns_X: Tensor, like: Tensor) -> Tensor:
    """Numbers of whole turns as the bits of words (X, 32).

    Gradients end here, or where they pass units straight through (`circuits.passing`), the top bit counts as twice the
    number and others as none of it. What is no number has no bits: they are none either.
    """
    found: Tensor = _Stored.apply(turns_X, rule().exact).to(like.dtype)  # type: ignore[no-untyped-call]
    return found


class _Stored(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, turns: Tensor, exact: bool) -> Tensor:
        ctx.exact = exact
        words = torch.floor(turns * TURN + 0.5)
        bits = bits_of(words.nan_to_num(0, 0, 0).remainder(TURN).long(), turns)
        return bits.masked_fill_(~words.isfinite()[..., None], torch.nan)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return torch.zeros_like(grad[..., -1]) if ctx.exact else 2 * grad[..., -1], None


@lru_cache(maxsize=2)
def lookup_system(levels: int) -> System:
    """A system whose weights nobody trains, with zeros in its tables: bring `words` of your own."""
    return Lookup(levels).system().requires_grad_(False)
