"""SHA-256 and Keccak over words of bits, as FIPS 180-4 and FIPS 202 state them; rounds may be fewer.

Bytes are laid into words so that a message's bytes, read least significant bit first, are the input port's bits in
order: `bits(int.from_bytes(message, "little"))`. (FIPS 180-4 counts bits of a byte from the top; that is undone here.)
"""

from collections.abc import Callable
from math import isqrt

from holdfast.circuits.netlist import Netlist
from holdfast.circuits.trace import Bits, concat, mux, trace
from holdfast.errors import UsageError


def sha256(rounds: int = 64) -> Netlist:
    """SHA-256's compression of one block of 512 bits from the standard's initial value, 256 bits out.

    The block holds the message with its padding (`padded`), so the digest of a message of up to 55 bytes is one block.
    With fewer rounds, that many steps are taken before the initial value is added.
    """
    if not 1 <= rounds <= 64:
        raise UsageError(f"SHA-256 has 1 to 64 rounds; got {rounds}.")
    constants = [_fraction(prime, 3) for prime in _primes(64)]
    initial = [_fraction(prime, 2) for prime in _primes(8)]

    def compress(block: Bits) -> Bits:
        w = [_swapped(block[32 * i : 32 * i + 32]) for i in range(16)]
        for t in range(16, rounds):
            s0 = w[t - 15].rotr(7) ^ w[t - 15].rotr(18) ^ (w[t - 15] >> 3)
            s1 = w[t - 2].rotr(17) ^ w[t - 2].rotr(19) ^ (w[t - 2] >> 10)
            w.append(w[t - 16] + s0 + w[t - 7] + s1)
        known = block[:32] & 0  # a word of constants, of this trace
        start = [known | value for value in initial]
        a, b, c, d, e, f, g, h = start
        for t in range(rounds):
            # Constants first: where h is still one, the sum of the two costs nothing.
            t1 = (h + constants[t]) + w[t] + (e.rotr(6) ^ e.rotr(11) ^ e.rotr(25)) + _choose(e, f, g)
            t2 = (a.rotr(2) ^ a.rotr(13) ^ a.rotr(22)) + _most(a, b, c)
            a, b, c, d, e, f, g, h = t1 + t2, a, b, c, d + t1, e, f, g
        return concat(*(_swapped(x + y) for x, y in zip(start, (a, b, c, d, e, f, g, h), strict=True)))

    return trace(compress, {"block": 512}, name=f"sha256-{rounds}" if rounds < 64 else "sha256")


def padded(message: bytes) -> bytes:
    """The one block of a message of up to 55 bytes, with SHA-256's padding.

    Raises:
        UsageError: a longer message.
    """
    if len(message) > 55:
        raise UsageError(f"One block holds a message of up to 55 bytes; got {len(message)}.")
    return message + b"\x80" + bytes(55 - len(message)) + (8 * len(message)).to_bytes(8, "big")


def keccak(lane: int = 64, rounds: int | None = None) -> Netlist:
    """Keccak-f on 25 lanes of `lane` bits (1, 2, 4, ..., 64), all its rounds (12 + 2 log2 lane) or the last
    `rounds`."""
    if lane not in (1, 2, 4, 8, 16, 32, 64):
        raise UsageError(f"Keccak's lanes have 1, 2, 4, ..., 64 bits; got {lane}.")
    every = 12 + 2 * (lane.bit_length() - 1)
    rounds = every if rounds is None else rounds
    if not 1 <= rounds <= every:
        raise UsageError(f"Keccak with lanes of {lane} bits has 1 to {every} rounds; got {rounds}.")

    def permute(state: Bits) -> Bits:
        a = {(x, y): state[lane * (x + 5 * y) : lane * (x + 5 * y + 1)] for x in range(5) for y in range(5)}
        for number in range(every - rounds, every):
            column = [a[x, 0] ^ a[x, 1] ^ a[x, 2] ^ a[x, 3] ^ a[x, 4] for x in range(5)]
            mixed = [column[x - 1] ^ column[(x + 1) % 5].rotl(1) for x in range(5)]
            a = {(x, y): value ^ mixed[x] for (x, y), value in a.items()}
            b = {(y, (2 * x + 3 * y) % 5): value.rotl(_OFFSETS[x, y]) for (x, y), value in a.items()}
            a = {(x, y): b[x, y] ^ (~b[(x + 1) % 5, y] & b[(x + 2) % 5, y]) for x in range(5) for y in range(5)}
            a[0, 0] = a[0, 0] ^ (_round_constant(number) & ((1 << lane) - 1))
        return concat(*(a[x, y] for y in range(5) for x in range(5)))

    fewer = f"-{rounds}" if rounds < every else ""
    return trace(permute, {"state": 25 * lane}, name=f"keccak-f{25 * lane}{fewer}")


def _choose(x: Bits, y: Bits, z: Bits) -> Bits:
    return concat(*(mux(bit, yes, no) for bit, yes, no in zip(x, y, z, strict=True)))


def _most(x: Bits, y: Bits, z: Bits) -> Bits:
    return (x & y) | (z & (x | y))


def _swapped(word: Bits) -> Bits:
    """The word's bytes in the other order."""
    return concat(*(word[i : i + 8] for i in range(len(word) - 8, -1, -8)))


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _fraction(number: int, power: int) -> int:
    """First 32 bits of the fractional part of a number's square (2) or cube (3) root, in whole numbers."""
    if power == 2:
        return isqrt(number << 64) & 0xFFFFFFFF
    low, high = 0, 1 << 36
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number << 96 else (low, middle - 1)
    return low & 0xFFFFFFFF


def _offsets() -> dict[tuple[int, int], int]:
    x, y, found = 1, 0, {(0, 0): 0}
    for t in range(24):
        found[x, y] = (t + 1) * (t + 2) // 2
        x, y = y, (2 * x + 3 * y) % 5
    return found


def _round_constant(number: int) -> int:
    """Bits 2^j - 1 of the constant are the outputs of a shift register (x^8 + x^6 + x^5 + x^4 + 1)."""
    register, constant = 1, 0
    for t in range(7 * number + 7):
        if t >= 7 * number:
            constant |= (register & 1) << (1 << t - 7 * number) - 1
        register = (register << 1) ^ (0x171 if register & 0x80 else 0)
    return constant


_OFFSETS = _offsets()

BUILT_IN: dict[str, Callable[[int | None], Netlist]] = {
    "sha256": lambda rounds: sha256(64 if rounds is None else rounds),
    "keccak": lambda rounds: keccak(rounds=rounds),
}
"""Circuits that have a name, by their number of rounds; None: all."""
