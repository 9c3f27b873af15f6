"""Protections: the same function, encoded against change. Each takes a circuit and gives one; so they compose.

    redundant(masked(circuit), copies=3)        then encoding="restoring" in the compiler

Copies are kept apart: what the compiler shares, it shares within one copy only.
"""

from collections.abc import Sequence

from holdfast.circuits.builder import Builder
from holdfast.circuits.netlist import AND, FALSE, Netlist, divided
from holdfast.circuits.sources import Source, netlist_of
from holdfast.errors import UsageError

MASKS = "masks"
"""Name of the port through which a masked circuit gets its randomness."""
KEY = "key"
"""Name of the port through which a locked circuit gets its key."""


def embed(builder: Builder, netlist: Netlist, inputs: Sequence[int]) -> list[int]:
    """A circuit's gates on these literals; the literals of its outputs, port after port."""
    value = dict(zip((bit >> 1 for bit in netlist.input_bits), inputs, strict=True)) | {0: FALSE}

    def of(bit: int) -> int:
        return value[bit >> 1] ^ bit & 1

    def gate(_: int, kind: int, left: int, right: int) -> int:
        return (builder.both if kind == AND else builder.differ)(of(left), of(right))

    def summed(number: int) -> list[int]:
        adder = netlist.adders[number]
        return builder.add([of(b) for b in adder.a], [of(b) for b in adder.b], of(adder.carry))

    netlist.walk(value, gate, summed)
    return [of(bit) for bit in netlist.output_bits]


def locked(circuit: Source, lock: Source, digest: Sequence[bool]) -> Netlist:
    """A circuit that answers only when a hash of its key is this digest, and 0 in every output otherwise.

    Args:
        circuit: what is locked, as `build` takes it.
        lock: a circuit of one input port, which becomes the port `key`; its outputs are the hash (`hashes.sha256(8)`).
        digest: the outputs that open it, least significant bit of each port first.

    Raises:
        UsageError: a digest of another length, or a circuit that has a port `key` already.
    """
    netlist, lock = netlist_of(circuit), netlist_of(lock)
    if not hasattr(digest, "__len__"):
        raise UsageError(f"A digest is a sequence of bits, {len(lock.output_bits)} of {lock.name}; got {digest!r}.")
    if len(digest) != len(lock.output_bits):
        raise UsageError(f"{lock.name} has {len(lock.output_bits)} bits out; got a digest of {len(digest)}.")
    if any(port.name == KEY for port in netlist.inputs):
        raise UsageError(f"{netlist.name} has an input called {KEY!r} already. Rename it.")
    builder = Builder()
    inputs = [builder.input(port.name, len(port.bits)) for port in netlist.inputs]
    key = builder.input(KEY, len(lock.input_bits))
    hashed = embed(builder, lock, key)
    opens = builder.every(bit ^ (not wanted) for bit, wanted in zip(hashed, digest, strict=True))
    outputs = [builder.both(bit, opens) for bit in embed(builder, netlist, [bit for port in inputs for bit in port])]
    return builder.netlist(f"locked {netlist.name}", divided(netlist.outputs, outputs))


def masked(circuit: Source) -> Netlist:
    """Every bit as two shares whose XOR it is; no gate sees a bit itself.

    A new port `masks` takes random bits: one for each input bit and each AND. XOR is share by share; AND of a and b is
    z0 = a0 b0 + r, z1 = a1 b1 + ((r + a0 b1) + a1 b0) (Ishai, Sahai & Wagner 2003, Private Circuits, CRYPTO; + is XOR).
    Adders are taken apart into gates. What the outputs are does not depend on the masks; given fresh ones at each
    input, each share alone is uniform.
    """
    netlist = netlist_of(circuit)
    builder = Builder()
    ports = [builder.input(port.name, len(port.bits)) for port in netlist.inputs]
    gates = sum(kind == AND for kind, _, _ in netlist.rows()) + sum(2 * adder.width for adder in netlist.adders)
    fresh = iter(builder.input(MASKS, len(netlist.input_bits) + gates))
    share = {0: (FALSE, FALSE)}
    for bit, literal in zip(netlist.input_bits, (bit for port in ports for bit in port), strict=True):
        mask = next(fresh)
        share[bit >> 1] = builder.differ(literal, mask), mask

    def of(bit: int) -> tuple[int, int]:
        first, second = share[bit >> 1]
        return first ^ bit & 1, second

    def differ(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        return builder.differ(a[0], b[0]), builder.differ(a[1], b[1])

    def both(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        mask = next(fresh)
        cross = builder.differ(builder.differ(mask, builder.both(a[0], b[1])), builder.both(a[1], b[0]))
        return builder.differ(builder.both(a[0], b[0]), mask), builder.differ(builder.both(a[1], b[1]), cross)

    def gate(_: int, kind: int, left: int, right: int) -> tuple[int, int]:
        return (both if kind == AND else differ)(of(left), of(right))

    def summed(number: int) -> list[tuple[int, int]]:
        adder = netlist.adders[number]
        carry, found = of(adder.carry), []
        for x, y in zip(map(of, adder.a), map(of, adder.b), strict=True):
            half = differ(x, y)
            found.append(differ(half, carry))
            carry = differ(both(x, y), both(half, carry))
        return [*found, carry]

    netlist.walk(share, gate, summed)
    outputs = [builder.differ(*of(bit)) for bit in netlist.output_bits]
    return builder.netlist(f"masked {netlist.name}", divided(netlist.outputs, outputs))
