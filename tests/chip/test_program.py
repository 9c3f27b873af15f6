"""Programs in files: executables made here byte by byte, one by a toolchain, and all that is no such thing."""

import shutil
import struct
import subprocess
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.chip.program import Program, Segment, read_program
from holdfast.errors import HoldfastError, UsageError

GCC = shutil.which("riscv64-unknown-elf-gcc")
CODE, DATA = bytes(range(12)), b"data"
LOAD, RX, RW = 1, 5, 6


def elf(segments=None, *, width=1, order=1, kind=2, machine=243, flags=0, entry=0x1000, size=32):
    """An executable: (type, address, bytes, length in memory, rights) each."""
    if segments is None:
        segments = [(LOAD, 0x8000_0000, DATA, 10, RW), (LOAD, 0x1000, CODE, 12, RX)]
    ident = bytes([0x7F, *b"ELF", width, order, 1]).ljust(16, b"\0")
    rest_of_header = (kind, machine, 1, entry, 52, 0, flags, 52, size, len(segments), 0, 0, 0)
    header = struct.pack("<16sHHIIIIIHHHHHH", ident, *rest_of_header)
    at, table, rest = 52 + 32 * len(segments), b"", b""
    for type_, address, data, length, rights in segments:
        table += struct.pack("<8I", type_, at + len(rest), address, address, len(data), length, rights, 4)
        rest += data
    return header + table + rest


@pytest.fixture
def read(tmp_path):
    def reading(data, **more):
        (tmp_path / "a.out").write_bytes(data)
        return read_program(tmp_path / "a.out", **more)

    return reading


def test_an_executable(read):
    code, data = Segment(0x1000, CODE, writable=False), Segment(0x8000_0000, DATA + bytes(6), writable=True)
    assert read(elf()) == Program((code, data), entry=0x1000)


def test_bare_bytes(read):
    assert read(b"\x13\0\0\0x", at=0x400) == Program((Segment(0x400, b"\x13\0\0\0x", writable=True),), entry=0x400)


def test_what_is_not_loaded_or_takes_no_place_is_left_out(read):
    notes, nothing, code = (4, 0, b"note", 4, 4), (LOAD, 0, b"", 0, RW), (LOAD, 0x1000, CODE, 12, RX)
    assert read(elf([notes, nothing, code])).segments == (Segment(0x1000, CODE, writable=False),)


CODE_AT = (LOAD, 0x1000, CODE, 12, RX)
REFUSED = {
    "64 bits; expected 32": elf(width=2),
    "unknown bits": elf(width=0),
    "big-endian; expected little": elf(order=2),
    "of unknown byte order": elf(order=7),
    "for machine 62; expected RISC-V, which is 243": elf(machine=62),
    "an object file; expected an executable": elf(kind=1),
    r"of type 3 \(position-independent": elf(kind=3),
    "compressed instructions": elf(flags=1),
    "linked dynamically": elf([CODE_AT, (3, 0x2000, b"ld.so", 5, 4)]),
    "header takes 52 bytes, and it has 20": elf()[:20],
    "header takes 52 bytes, and it has 6": elf()[:6],
    "2 headers of 32 bytes at 52 are not within its 100": elf()[:100],
    "headers of 56 bytes": elf(size=56),
    "segment at 0x1000 ends at byte 132, and it has 131": elf()[:-1],
    "has 12 bytes for 8 in memory": elf([(LOAD, 0x1000, CODE, 8, RX)]),
    "0x1000 and 0x1008 overlap": elf([(LOAD, 0x1008, DATA, 4, RW), CODE_AT]),
    "loads nothing": elf([]),
    "loads nothing into memory: it is empty": elf([(LOAD, 0x1000, b"", 0, RX)]),
    "go beyond 2": elf([(LOAD, 0xFFFF_FFFC, CODE, 12, RX)]),
    "67,108,865 bytes; expected": elf([(LOAD, 0x1000, CODE, (1 << 26) + 1, RX)]),
    "starts at 0x2000, where no instruction": elf(entry=0x2000),
    "starts at 0x1002, where no instruction": elf(entry=0x1002),
    "starts at 0x80000000, where no instruction": elf(entry=0x8000_0000),
    "is empty. Expected a program": b"",
    r"no ELF executable: it begins with b'MZ..'": b"MZ..PE",
    "ELF of unknown bits": b"\x7fELF",
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_is_refused(sentence, read):
    with pytest.raises(HoldfastError, match=sentence):
        read(REFUSED[sentence])


@pytest.mark.parametrize("at", [-4, 2, 1 << 32])
def test_wrong_use(at, read, tmp_path):
    with pytest.raises(UsageError, match="at: expected an address"):
        read(b"1234", at=at)
    with pytest.raises(HoldfastError, match="go beyond"):
        read(b"12345", at=0xFFFF_FFFC)
    with pytest.raises(UsageError, match="Leave `at` out"):
        read(elf(), at=0)
    with pytest.raises(UsageError, match="is no file"):
        read_program(tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.data())
def test_a_damaged_file_is_read_or_refused_with_a_sentence(drawn, read):
    whole = bytearray(elf())
    for at in drawn.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
        whole[at] = drawn.draw(st.integers(0, 255))
    with suppress(HoldfastError):
        read(bytes(whole[: drawn.draw(st.integers(0, len(whole)))]))


@pytest.mark.skipif(not GCC, reason="needs riscv64-unknown-elf-gcc")
def test_an_executable_that_a_toolchain_made(tmp_path):
    (tmp_path / "a.S").write_text(
        ".globl _start\n_start: lui a0, 0x12345\necall\n.data\n.word 0x89abcdef\n.bss\n.zero 6\n"
    )
    layout = ["-Ttext=0x100", "-Tdata=0x80000000", "-march=rv32i", "-mabi=ilp32", "-static", "-nostdlib"]
    subprocess.run([GCC, *layout, "a.S", "-o", "a.out"], cwd=tmp_path, check=True)
    program = read_program(tmp_path / "a.out")
    code, data = program.segments[-2:]
    assert program.entry == 0x100
    assert (code.data[0x100 - code.address :], code.writable) == (struct.pack("<2I", 0x1234_5537, 0x73), False)
    assert (data.address, data.data[:4], data.writable) == (0x8000_0000, struct.pack("<I", 0x89AB_CDEF), True)
    assert data.data[4:] == bytes(len(data.data) - 4)
    assert len(data.data) >= 10
