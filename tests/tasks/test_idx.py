"""IDX files written by hand, right and wrong."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import HoldfastError
from holdfast.tasks.idx import content, parsed


def idx(values, kind=8, axes=None, shape=None):
    """The bytes of an IDX file, or of one that lies about its kind, axes or shape."""
    shape = values.shape if shape is None else shape
    axes = len(shape) if axes is None else axes
    return struct.pack(">HBB", 0, kind, axes) + struct.pack(f">{len(shape)}I", *shape) + values.tobytes()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_what_was_written_is_read(shape, random):
    values = np.array([random.randrange(256) for _ in range(int(np.prod(shape)))], np.uint8).reshape(shape)
    got = parsed(idx(values), "file", axes=len(shape))
    assert got.shape == values.shape
    assert got.dtype == np.uint8
    assert (got == values).all()


def test_packed_or_plain(tmp_path):
    (tmp_path / "plain").write_bytes(b"four")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"four"))
    assert content(tmp_path / "plain") == content(tmp_path / "packed.gz") == b"four"


IMAGES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("held", "match"),
    [
        (b"", "^here is empty; .* begins with 00 00 08 03"),
        (b"\x00\x00", "^here begins with 00 00; .* in 3 axes begins with 00 00 08 03. It is another kind of file"),
        (b"<html>moved</html>", "begins with 3c 68 74 6d"),
        (idx(IMAGES, kind=13), "begins with 00 00 0d 03"),
        (idx(IMAGES[0, 0]), "begins with 00 00 08 01"),
        (idx(IMAGES)[:9], "ends in its header: 9 bytes, expected 16"),
        (idx(IMAGES)[:-1], "here has 23 values; its header says 2 x 3 x 4 = 24"),
        (idx(IMAGES) + b"!", "here has 25 values"),
        (idx(IMAGES, shape=(3, 3, 4)), r"has 24 values; its header says 3 x 3 x 4 = 36"),
        (idx(IMAGES, shape=(2**32 - 1,) * 3), "has 24 values; its header says 4294967295 x"),
    ],
)
def test_what_is_no_such_file(held, match):
    with pytest.raises(HoldfastError, match=match):
        parsed(held, "here", axes=3)


@pytest.mark.parametrize(
    "raw",
    [b"no gzip", gzip.compress(b"x" * 999)[:-9], gzip.compress(b"x" * 999)[:20], b"\x1f\x8b\x08" + b"\xff" * 40],
    ids=["other", "no end", "cut short", "rubbish"],
)
def test_a_damaged_gzip_file(tmp_path, raw):
    (tmp_path / "a.gz").write_bytes(raw)
    with pytest.raises(HoldfastError, match=rf"a.gz is damaged, cut short, or no gzip file \(.*; {len(raw)} bytes\)"):
        content(tmp_path / "a.gz")


def test_a_flipped_bit_in_a_gzip_file(tmp_path):
    raw = bytearray(gzip.compress(bytes(range(256)) * 9))
    raw[-6] ^= 1  # of its own checksum
    (tmp_path / "a.gz").write_bytes(raw)
    with pytest.raises(HoldfastError, match="CRC check failed"):
        content(tmp_path / "a.gz")


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(HoldfastError, match="could not be read: Is a directory"):
        content(tmp_path)
    with pytest.raises(HoldfastError, match="gone could not be read: No such file"):
        content(tmp_path / "gone")
