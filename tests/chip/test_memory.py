"""What stands where, and what cannot."""

import pytest
import torch

from holdfast.chip.memory import OUTPUT, Kind, Memory, Ram, regions
from holdfast.chip.program import Program, Segment
from holdfast.errors import HoldfastError, UsageError

PLACE = 0x8000_0000
CODE = Segment(0, bytes(range(1, 13)), writable=False)
DATA = Segment(PLACE + 8, b"data", writable=True)


def program(*segments, entry=0):
    return Program(segments or (CODE, DATA), entry)


def bytes_of(found):
    return [(4 * first, 4 * last, kind.name) for first, last, kind in found if kind != Kind.OUTPUT]


def test_segments_are_rom_and_ram_and_lie_in_ram_that_is_there():
    alone = [(0, 12, "ROM"), (PLACE + 8, PLACE + 12, "RAM")]
    assert bytes_of(regions(program())) == alone
    beside = regions(program(), Ram(PLACE, 64))
    assert bytes_of(beside) == [(0, 12, "ROM"), (PLACE, PLACE + 64, "RAM")]
    assert bytes_of(regions(program(), Ram(0, 12))) == alone
    assert bytes_of(regions(program(), Ram(4, 0))) == alone
    around = regions(program(entry=8), Ram(0, 64))
    assert bytes_of(around)[:2] == [(0, 12, "ROM"), (12, 64, "RAM")]
    assert (regions(program())[1]) == (OUTPUT // 4, OUTPUT // 4 + 1, Kind.OUTPUT)


def test_a_word_of_two_segments_is_writable():
    two = program(Segment(0, bytes([1] * 6), writable=False), Segment(6, bytes([2] * 3), writable=True))
    assert bytes_of(regions(two)) == [(0, 4, "ROM"), (4, 12, "RAM")]
    assert Memory([two]).read(0, 0, 12) == bytes([1] * 6 + [2] * 3 + [0] * 3)


def test_what_is_written_can_be_read_and_is_of_one_lane():
    one = program()
    memory = Memory([one, one], Ram(PLACE, 64))
    memory.write(1, PLACE + 5, b"holdfast")
    assert memory.read(1, PLACE, 16) == bytes(5) + b"holdfast" + bytes(3)
    assert memory.read(0, PLACE, 16) == bytes(8) + b"data" + bytes(4)
    assert memory.read(0, 3, 2) == bytes([4, 5])
    assert memory.read(0, 3, 0) == b""
    assert len(memory.words) == 1 + 3 + 2 * (16 + 1)
    memory.write(0, 0, b"\xff")
    assert memory.read(1, 0, 2) == b"\xff\2"  # one ROM


def test_addresses_are_found_each_in_its_lane():
    memory = Memory([program(), program(Segment(4, b"code", writable=False), entry=4)], Ram(PLACE, 8))
    found = memory.find(
        torch.tensor([[0, 0], [6, 6], [PLACE + 4, PLACE + 4], [PLACE + 8, PLACE + 8], [-1 % 2**32] * 2])
    )
    assert [[memory.kinds[piece].name for piece in row] for row in found.piece.tolist()] == [
        ["ROM", "OUTSIDE"],
        ["ROM", "ROM"],
        ["RAM", "RAM"],
        ["RAM", "OUTSIDE"],
        ["OUTSIDE", "OUTSIDE"],
    ]
    code = int.from_bytes(b"code", "little")
    assert memory.words[found.at].tolist()[:2] == [[0x04030201, 0], [0x08070605, code]]
    assert (found.at == 0).tolist() == [[False, True], [False] * 2, [False] * 2, [False, True], [True] * 2]
    assert [memory.kind(lane, PLACE + 8) for lane in (0, 1)] == [Kind.RAM, Kind.OUTSIDE]


def test_bytes_are_stored_alone():
    memory = Memory([program()], Ram(PLACE, 8))
    at = memory.find(torch.tensor([PLACE])).at
    for few in range(16):
        memory.words[at] = 0x1122_3344
        memory.store(at, torch.tensor([few]), memory.words[at], torch.tensor([0xAABB_CCDD]))
        each = ((0x44, 0xDD), (0x33, 0xCC), (0x22, 0xBB), (0x11, 0xAA))
        expected = bytes(pair[few >> i & 1] for i, pair in enumerate(each))
        assert memory.read(0, PLACE, 4) == expected


@pytest.mark.parametrize(
    ("segments", "entry", "more", "said"),
    [
        ((CODE,), 0, {"ram": Ram(0, 8)}, r"12 bytes at 0x0, which end beyond the 8 bytes of RAM at 0x0"),
        ((CODE, Segment(PLACE + 4, bytes(6), True)), 0, {"ram": Ram(PLACE, 8)}, r"6 bytes at 0x8.* 10 or more"),
        ((CODE,), 0, {"output": 8}, r"output word at 0x8 lies in the 12 bytes of memory at 0x0"),
        ((CODE,), 0, {"ram": Ram(OUTPUT, 8)}, r"The output word at 0x10000000 lies in the 8 bytes of memory at"),
        ((CODE,), 12, {}, r"The program begins at 0xc, where no memory is"),
        ((CODE,), OUTPUT, {}, r"The program begins at 0x10000000, where no memory is"),
        ((), 0, {}, r"The program begins at 0x0, where no memory is"),
    ],
)
def test_programs_that_do_not_fit(segments, entry, more, said):
    with pytest.raises(HoldfastError, match=said):
        regions(Program(segments, entry), **more)


@pytest.mark.parametrize("place", [(2, 4), (0, 3), (-4, 4), (0, -4), (0xFFFF_FFFC, 8), ("0", 4), (0, 1.5)])
def test_ram_that_is_none(place):
    with pytest.raises(UsageError, match=r"RAM"):
        Ram(*place)


@pytest.mark.parametrize("output", [2, -4, 1 << 32])
def test_an_output_word_that_is_none(output):
    with pytest.raises(UsageError, match=r"output word has an address that is a multiple of 4, below 2\^32; got"):
        regions(program(), output=output)


@pytest.mark.parametrize(
    ("lane", "address", "size", "said"),
    [
        (
            0,
            PLACE + 60,
            8,
            r"8 bytes at 0x8000003c of lane 0: there is no memory at 0x80000040. It has ROM 0x0 to 0xc, ",
        ),
        (2, 0, 1, r"Lanes are 0 to 1; got 2"),
        (0, -1, 1, r"Addresses are 0 to 2\^32 - 1; got 1 bytes at -0x1"),
        (1, (1 << 32) - 1, 2, r"Addresses are 0 to 2\^32 - 1"),
    ],
)
def test_reading_and_writing_where_nothing_is(lane, address, size, said):
    memory = Memory([program()] * 2, Ram(PLACE, 64))
    with pytest.raises(UsageError, match=said):
        memory.read(lane, address, size)
    with pytest.raises(UsageError, match=said):
        memory.write(lane, address, bytes(size))
