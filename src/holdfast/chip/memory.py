"""Memory around cores that run side by side: what stands where, and all of it as one tensor of words.

Shapes: B lanes (cores), N addresses asked of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.chip.program import ADDRESSES, Program
from holdfast.errors import HoldfastError, UsageError, whole

OUTPUT = 0x1000_0000
"""Where many machines have their serial port (the `virt` machine of QEMU, for one)."""
MOST_BYTES = 1 << 30
"""Of all lanes' memory together. The tensor of it takes twice as many, since sums of addresses are of 64 bits."""
WORDS = ADDRESSES // 4
NOWHERE = -(1 << 62)


class Kind(IntEnum):
    """What stands at an address."""

    OUTSIDE = 0
    ROM = 1
    RAM = 2
    OUTPUT = 3


NOTABLE = {Kind.OUTSIDE: 0b11111, Kind.ROM: 0b01111, Kind.RAM: 0, Kind.OUTPUT: 0b01111}
"""Accesses that are not merely done, as 16 x whether it is a load + the bytes that it stores."""


@dataclass(frozen=True)
class Ram:
    """Memory that a program finds beside what it brings: `size` bytes from `address` on, 0 at first."""

    address: int
    size: int

    def __post_init__(self) -> None:
        whole("The address of RAM", self.address)
        whole("The size of RAM", self.size)
        if self.address < 0 or self.size < 0 or self.address % 4 or self.size % 4 or self.end > ADDRESSES:
            raise UsageError(
                f"RAM lies at an address that is a multiple of 4, takes a multiple of 4 bytes and ends at 2^32 at "
                f"most; got {self.size} bytes at {self.address:#x}."
            )

    @property
    def end(self) -> int:
        return self.address + self.size


class Region(NamedTuple):
    """Words of one kind, from `first` up to `last`, which is not of them."""

    first: int
    last: int
    kind: Kind


def regions(program: Program, ram: Ram | None = None, output: int = OUTPUT) -> list[Region]:
    """What stands where for a program, by ascending address. An address that is in none of them is outside.

    Memory is of words: what is writable of a word makes all of it so, and bytes of it that no segment has are 0.

    Args:
        program: its segments are ROM, or RAM if they are writable.
        ram: RAM beside them. Segments may lie in it.
        output: address of the output word.

    Raises:
        UsageError: no address of a word.
        HoldfastError: the program has more than fits into the RAM that it lies in, lies where the output word is,
            or begins outside of memory.
    """
    whole("The address of the output word", output)
    if not 0 <= output < ADDRESSES or output % 4:
        raise UsageError(f"The output word has an address that is a multiple of 4, below 2^32; got {output:#x}.")
    ram = ram if ram and ram.size else None
    for segment in program.segments:
        if segment.data and ram and segment.address < ram.end < segment.end:
            raise HoldfastError(
                f"The program has {len(segment.data):,} bytes at {segment.address:#x}, which end beyond the "
                f"{ram.size:,} bytes of RAM at {ram.address:#x}. Give it {segment.end - ram.address:,} or more."
            )
    held = [(s.address, s.end, Kind.RAM if s.writable else Kind.ROM) for s in program.segments if s.data]
    layers = [(ram.address, ram.end, Kind.RAM)] if ram else []
    layers += sorted(held, key=lambda each: each[2])  # what is writable lies over what is not
    for low, high, _ in layers:
        if low < output + 4 and output < high:
            raise HoldfastError(
                f"The output word at {output:#x} lies in the {high - low:,} bytes of memory at {low:#x}. Give it "
                f"another address, or link the program to another."
            )
    layers.append((output, output + 4, Kind.OUTPUT))
    words = [Region(low // 4, -(-high // 4), kind) for low, high, kind in layers]
    edges = sorted({edge for region in words for edge in region[:2]})
    found: list[Region] = []
    for first, last in pairwise(edges):
        over = [region.kind for region in words if region.first <= first < region.last]
        if over and found and found[-1].last == first and found[-1].kind == over[-1]:
            found[-1] = found[-1]._replace(last=last)
        elif over:
            found.append(Region(first, last, over[-1]))
    if not any(r.first <= program.entry // 4 < r.last for r in found if r.kind != Kind.OUTPUT):
        raise HoldfastError(
            f"The program begins at {program.entry:#x}, where no memory is. Link it so that its first instruction "
            f"stands in one of its segments."
        )
    return found


@dataclass
class Found:
    """Where addresses are: `at` in the tensor of words, 0 if it is outside; `piece` of memory."""

    at: Tensor
    piece: Tensor


class Memory:
    """What B lanes hold, each with a memory of its own; ROM of a program that several lanes run is there once.

    An address and its lane are one number, by which the stretch of memory that it is in is found among all lanes'.

    Args:
        programs: one for each lane. The same object for several lanes is one program.
        ram, output: as in `regions`, for all lanes.

    Raises:
        UsageError, HoldfastError: as `regions`; more memory in all than `MOST_BYTES`.
    """

    words: Tensor
    """All memory, as whole numbers from 0 to 2^32. Word 0 is what is read outside of it, and no instruction."""
    edges: Tensor
    """Numbers of words, lane x `WORDS` + word of the address, at which pieces begin: piece i + 1 at edge i."""
    moves: Tensor
    """Of each piece, what added to such a number is its place in `words`; far below 0 outside of memory."""
    notables: Tensor
    """Of each piece its kind's `NOTABLE`."""
    masks: Tensor
    """Of a store's four bits, which bits of the word it changes."""

    def __init__(self, programs: Sequence[Program], ram: Ram | None = None, output: int = OUTPUT) -> None:
        maps = {id(program): regions(program, ram, output) for program in programs}
        self.regions = [maps[id(program)] for program in programs]
        shared: dict[tuple[int, Region], int] = {}
        edges, moves, kinds, copies, size = [], [NOWHERE], [Kind.OUTSIDE], [], 1
        for lane, program in enumerate(programs):
            for region in self.regions[lane]:
                key = id(program), region
                if region.kind != Kind.ROM or key not in shared:
                    shared[key] = size
                    copies.append((program, region, size))
                    size += region.last - region.first
                edges += [lane * WORDS + region.first, lane * WORDS + region.last]
                moves += [shared[key] - edges[-2], NOWHERE]
                kinds += [region.kind, Kind.OUTSIDE]
        if 4 * size > MOST_BYTES:
            raise HoldfastError(
                f"{len(programs)} lanes would have {4 * size:,} bytes of memory; expected {MOST_BYTES:,} at most. "
                f"Run fewer, or with less RAM."
            )
        words = np.zeros(size, np.int64)
        for program, region, at in copies:
            words[at : at + region.last - region.first] = _brought(program, region)
        self.words = torch.from_numpy(words)
        self.kinds = kinds
        self.edges, self.moves = torch.tensor(edges), torch.tensor(moves)
        self.notables = torch.tensor([NOTABLE[kind] for kind in kinds])
        self._lanes = torch.arange(len(programs)) * WORDS
        self.masks = torch.tensor([sum(0xFF << 8 * at for at in range(4) if few >> at & 1) for few in range(16)])

    def to(self, device: torch.device) -> "Memory":
        """The same object, its tensors on this device."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self

    def find(self, address_NB: Tensor) -> Found:
        """Where these addresses (in bytes) of each lane are."""
        number = (address_NB >> 2) + self._lanes
        piece = torch.bucketize(number, self.edges, right=True)
        return Found((number + self.moves[piece]).clamp_(min=0), piece)

    def notable(self, access_B: Tensor, piece_B: Tensor) -> Tensor:
        """Of accesses, numbers as in `NOTABLE`, those that are not merely done, else 0."""
        return access_B & self.notables[piece_B]

    def store(self, at_B: Tensor, bytes_B: Tensor, held_B: Tensor, data_B: Tensor) -> None:
        """Write some bytes of a word in each lane.

        Args:
            at_B: where, as `find` says; twice the same place only where nothing is written.
            bytes_B: which, as four bits, the lowest address first.
            held_B: what the words are.
            data_B: words, of which these bytes are written.
        """
        self.words[at_B] = held_B ^ ((held_B ^ data_B) & self.masks[bytes_B])

    def kind(self, lane: int, address: int) -> Kind:
        """What stands at this address of a lane."""
        word = address // 4
        return next((r.kind for r in self.regions[lane] if r.first <= word < r.last), Kind.OUTSIDE)

    def read(self, lane: int, address: int, size: int) -> bytes:
        """What stands there.

        Raises:
            UsageError: no such lane, or not all of it is memory.
        """
        at = self._words_of(lane, address, size)
        held: bytes = self.words[at].cpu().numpy().astype("<u4").tobytes()
        return held[address % 4 :][:size]

    def write(self, lane: int, address: int, data: bytes) -> None:
        """Put bytes there, also into ROM; into one that lanes share, for all of them.

        Raises:
            UsageError: no such lane, or not all of it is memory.
        """
        at = self._words_of(lane, address, len(data))
        held = bytearray(self.words[at].cpu().numpy().astype("<u4").tobytes())
        held[address % 4 : address % 4 + len(data)] = data
        self.words[at] = torch.from_numpy(np.frombuffer(held, "<u4").astype(np.int64)).to(self.words.device)

    def _words_of(self, lane: int, address: int, size: int) -> Tensor:
        if not 0 <= lane < len(self.regions):
            raise UsageError(f"Lanes are 0 to {len(self.regions) - 1}; got {lane}.")
        if not 0 <= address <= address + size <= ADDRESSES:
            raise UsageError(f"Addresses are 0 to 2^32 - 1; got {size} bytes at {address:#x}.")
        numbers = lane * WORDS + torch.arange(address // 4, -(-(address + size) // 4), device=self.words.device)
        piece = torch.bucketize(numbers, self.edges, right=True)
        at: Tensor = numbers + self.moves[piece]
        if (at < 0).any():
            where = int(numbers[at < 0][0]) % WORDS * 4
            raise UsageError(
                f"{size} bytes at {address:#x} of lane {lane}: there is no memory at {where:#x}. It has "
                f"{said(self.regions[lane])}."
            )
        return at


def said(map_: Sequence[Region]) -> str:
    """The regions, as a person reads them."""
    return ", ".join(f"{kind.name} {4 * first:#x} to {4 * last:#x}" for first, last, kind in map_)


def _brought(program: Program, region: Region) -> NDArray[np.uint32]:
    """The words that a program has in a region."""
    start, end = 4 * region.first, 4 * region.last
    held = bytearray(end - start)
    for segment in program.segments:
        low, high = max(segment.address, start), min(segment.end, end)
        if low < high:
            held[low - start : high - start] = segment.data[low - segment.address : high - segment.address]
    return np.frombuffer(held, "<u4")
