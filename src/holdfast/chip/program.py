"""Programs in files, for a machine of 32 bits: executables in ELF, or bare bytes.

ELF is the format of the System V ABI (gABI, chapters 4 and 5), with RISC-V's numbers from the RISC-V ELF psABI.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from holdfast.errors import HoldfastError, UsageError

MAGIC = b"\x7fELF"
FILE, HEADER = struct.Struct("<16sHHIIIIIHHHHHH"), struct.Struct("<8I")
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


class Header(NamedTuple):
    """A program header, as it stands in the file."""

    kind: int
    offset: int
    address: int
    physical: int
    stored: int
    length: int
    rights: int
    alignment: int


def read_program(path: Path, at: int | None = None) -> Program:
    """A program from a file: an ELF executable, or bare bytes, if it is said where they are to stand.

    Nothing says which of bare bytes are instructions: they are one writable segment, and begin with the first one.

    Args:
        path: the file.
        at: address of bare bytes. An executable has addresses of its own.

    Raises:
        UsageError: no such file; an address that no instruction can have, or one for an executable.
        HoldfastError: no executable, or one for another machine; damaged; empty; too large.
    """
    if not path.is_file():
        raise UsageError(f"Expected a program: an ELF executable, or bare bytes. {path} is no file.")
    data = path.read_bytes()
    if not data:
        raise HoldfastError(f"{path} is empty. Expected a program: an ELF executable, or bare bytes.")
    if at is None:
        return _executable(path, data)
    if data.startswith(MAGIC):
        raise UsageError(f"{path} is in ELF, which says where it is to stand. Leave `at` out; got {at:#x}.")
    if not 0 <= at < ADDRESSES or at % 4:
        raise UsageError(f"at: expected an address of an instruction, a multiple of 4 below 2^32; got {at}.")
    _refuse_large(path, [(at, len(data))])
    return Program((Segment(at, data, writable=True),), at)


def _executable(path: Path, data: bytes) -> Program:
    entry, headers = _headers(path, data)
    if any(header.kind in (DYNAMIC, INTERPRETER) for header in headers):
        raise HoldfastError(f"{path} is linked dynamically; expected all of it in one file. {LINK}")
    loaded = sorted((h for h in headers if h.kind == LOADED and h.length), key=lambda h: h.address)
    if not loaded:
        raise HoldfastError(f"{path} loads nothing into memory: it is empty. {LINK}")
    _refuse_large(path, [(header.address, header.length) for header in loaded])
    segments = tuple(_segment(path, data, header) for header in loaded)
    for low, high in pairwise(segments):
        if low.end > high.address:
            raise _damaged(path, f"its segments at {low.address:#x} and {high.address:#x} overlap")
    if entry % 4 or not any(h.rights & RUNS and h.address <= entry < h.address + h.length for h in loaded):
        raise _damaged(path, f"it starts at {entry:#x}, where no instruction stands")
    return Program(segments, entry)


def _headers(path: Path, data: bytes) -> tuple[int, list[Header]]:
    """Where an executable for this machine starts, and its program headers."""
    if not data.startswith(MAGIC):
        raise HoldfastError(
            f"{path} is no ELF executable: it begins with {data[:4]!r}. {LINK} Of bare bytes say where they stand."
        )
    # Width and byte order come first, as the rest is read by them.
    if data[4:5] != b"\1":
        width = "64" if data[4:5] == b"\2" else "unknown"
        raise HoldfastError(f"{path} is ELF of {width} bits; expected 32. {LINK}")
    if data[5:6] != b"\1":
        order = "big-endian" if data[5:6] == b"\2" else "of unknown byte order"
        raise HoldfastError(f"{path} is {order}; expected little-endian. {LINK}")
    if len(data) < FILE.size:
        raise _damaged(path, f"its header takes {FILE.size} bytes, and it has {len(data)}")
    _, kind, machine, _, entry, table, _, flags, _, size, count, *_ = FILE.unpack_from(data)
    if machine != RISCV:
        raise HoldfastError(f"{path} is for machine {machine}; expected RISC-V, which is {RISCV}. {LINK}")
    if kind != EXECUTABLE:
        got = "an object file" if kind == RELOCATABLE else f"of type {kind} (position-independent, or a library)"
        raise HoldfastError(f"{path} is {got}; expected an executable at fixed addresses. {LINK}")
    if flags & COMPRESSED:
        raise HoldfastError(f"{path} has compressed instructions (extension C); expected none. {LINK}")
    if size != HEADER.size or table + count * size > len(data):
        raise _damaged(path, f"{count} headers of {size} bytes at {table} are not within its {len(data)} bytes")
    return entry, [Header(*HEADER.unpack_from(data, table + at * size)) for at in range(count)]


def _segment(path: Path, data: bytes, header: Header) -> Segment:
    end, where = header.offset + header.stored, f"the segment at {header.address:#x}"
    if end > len(data):
        raise _damaged(path, f"{where} ends at byte {end}, and it has {len(data)}")
    if header.stored > header.length:
        raise _damaged(path, f"{where} has {header.stored} bytes for {header.length} in memory")
    held = data[header.offset : end].ljust(header.length, b"\0")
    return Segment(header.address, held, writable=bool(header.rights & WRITABLE))


def _refuse_large(path: Path, placed: list[tuple[int, int]]) -> None:
    """Addresses and lengths that memory does not have."""
    for address, length in placed:
        if address + length > ADDRESSES:
            raise HoldfastError(f"{path}: {length} bytes from {address:#x} on go beyond 2^32. Place them lower.")
    if (total := sum(length for _, length in placed)) > LARGEST:
        raise HoldfastError(f"{path} takes {total:,} bytes; expected {LARGEST:,} at most. Make it smaller.")


def _damaged(path: Path, what: str) -> HoldfastError:
    return HoldfastError(f"{path} is damaged or cut off: {what}. Link or copy it again.")
