"""Programs in files, for a machine of 32 bits: executables in ELF, or the bare bytes of a memory.

ELF is the format of the System V ABI (the gABI's chapters 4 and 5) with RISC-V's numbers from its ELF psABI. What is
read: the file header, and of the program headers those that are loaded.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from holdfast.errors import HoldfastError, UsageError

MAGIC = b"\x7fELF"
HEADER, SEGMENT = struct.Struct("<16sHHIIIIIHHHHHH"), struct.Struct("<8I")
RELOCATABLE, EXECUTABLE, RISCV = 1, 2, 243
COMPRESSED = 0x1
LOADED, DYNAMIC, INTERPRETER = 1, 2, 3
RUNS, WRITABLE = 0x1, 0x2
ADDRESSES = 1 << 32
LARGEST = 1 << 26
"""Bytes of a program, at most: what is only to be zero takes no place in a file, but in memory."""
LINK = "Link it for such a machine: riscv64-unknown-elf-gcc -march=rv32i -mabi=ilp32 -static -nostdlib."


@dataclass(frozen=True)
class Segment:
    """Bytes that stand in memory from an address on."""

    address: int
    data: bytes
    writable: bool

    @property
    def end(self) -> int:
        return self.address + len(self.data)


@dataclass(frozen=True)
class Program:
    """Segments by ascending address, none of which overlap, and where the first instruction stands."""

    segments: tuple[Segment, ...]
    entry: int


def read_program(path: Path, at: int = 0) -> Program:
    """A program from a file: an executable if it begins as ELF does, else the bytes themselves.

    Of bare bytes nothing says which are instructions: they are one writable segment.

    Args:
        path: the file.
        at: where bare bytes are to stand; their first is the first instruction. An executable has its own addresses.

    Raises:
        UsageError: no such file; `at` is no address of an instruction.
        HoldfastError: an executable for another machine; something other than an executable; damaged; empty; too large.
    """
    if not path.is_file():
        raise UsageError(f"Expected a program, an ELF executable or the bytes of a memory; {path} is no file.")
    data = path.read_bytes()
    if not data:
        raise HoldfastError(f"{path} is empty. Expected an ELF executable, or the bytes of a memory.")
    if data.startswith(MAGIC):
        return _executable(path, data)
    if not 0 <= at < ADDRESSES or at % 4:
        raise UsageError(f"at: expected an address of an instruction, a multiple of 4 below 2^32; got {at}.")
    _refuse_large(path, [(at, len(data))])
    return Program((Segment(at, data, writable=True),), at)


def _executable(path: Path, data: bytes) -> Program:
    _refuse_others(path, data)
    if len(data) < HEADER.size:
        raise _damaged(path, f"its header takes {HEADER.size} bytes, and it has {len(data)}")
    _, kind, machine, _, entry, table, _, flags, _, size, count, *_ = HEADER.unpack_from(data)
    if machine != RISCV:
        raise HoldfastError(f"{path} is for machine {machine}; expected RISC-V, which is {RISCV}. {LINK}")
    if kind != EXECUTABLE:
        got = "an object file" if kind == RELOCATABLE else f"of type {kind} (position-independent, or a library)"
        raise HoldfastError(f"{path} is {got}; expected an executable at fixed addresses. {LINK}")
    if flags & COMPRESSED:
        raise HoldfastError(f"{path} has compressed instructions (extension C); expected RV32I alone. {LINK}")
    if size != SEGMENT.size or table + count * size > len(data):
        raise _damaged(path, f"{count} program headers of {size} bytes at {table} don't fit its {len(data)} bytes")
    headers = [SEGMENT.unpack_from(data, table + at * size) for at in range(count)]
    if any(header[0] in (DYNAMIC, INTERPRETER) for header in headers):
        raise HoldfastError(f"{path} is linked dynamically; expected all of it in one file. {LINK}")
    loaded = sorted((header for header in headers if header[0] == LOADED and header[5]), key=lambda header: header[2])
    if not loaded:
        raise HoldfastError(f"{path} loads nothing into memory: it is empty. {LINK}")
    _refuse_large(path, [(header[2], header[5]) for header in loaded])
    segments = []
    for _, offset, address, _, stored, length, rights, _ in loaded:
        if offset + stored > len(data):
            raise _damaged(path, f"the segment at {address:#x} ends at byte {offset + stored}, and it has {len(data)}")
        if stored > length:
            raise _damaged(path, f"the segment at {address:#x} has {stored} bytes for {length} in memory")
        held = data[offset : offset + stored].ljust(length, b"\0")
        segments.append(Segment(address, held, writable=bool(rights & WRITABLE)))
    for low, high in pairwise(segments):
        if low.end > high.address:
            raise _damaged(path, f"its segments at {low.address:#x} and {high.address:#x} overlap")
    if entry % 4 or not any(h[6] & RUNS and h[2] <= entry < h[2] + h[5] for h in loaded):
        raise _damaged(path, f"it starts at {entry:#x}, where no instruction stands")
    return Program(tuple(segments), entry)


def _refuse_others(path: Path, data: bytes) -> None:
    """Another width or byte order, by which the rest of the header is to be read."""
    width, order = (*data[4:6], 0, 0)[:2]
    if width != 1:
        raise HoldfastError(f"{path} is ELF of {'64 bits' if width == 2 else 'no known width'}; expected 32. {LINK}")
    if order != 1:
        raise HoldfastError(
            f"{path} is {'big-endian' if order == 2 else 'of no known byte order'}; expected little-endian. {LINK}"
        )


def _refuse_large(path: Path, placed: list[tuple[int, int]]) -> None:
    """Addresses and lengths that memory does not have."""
    for address, length in placed:
        if address + length > ADDRESSES:
            raise HoldfastError(f"{path}: {length} bytes from {address:#x} on go beyond 2^32. Place it lower.")
    if (total := sum(length for _, length in placed)) > LARGEST:
        raise HoldfastError(f"{path} takes {total:,} bytes of memory; expected {LARGEST:,} at most. Make it smaller.")


def _damaged(path: Path, what: str) -> HoldfastError:
    return HoldfastError(f"{path} is damaged or cut off: {what}. Link or copy it again.")
