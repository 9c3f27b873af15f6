"""IDX files, as MNIST and its like are published: unsigned bytes in a box of any number of axes."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from holdfast.errors import HoldfastError

UNSIGNED_BYTES = 0x08


def content(path: Path) -> bytes:
    """What a file holds; a name that ends in .gz is unpacked.

    Raises:
        HoldfastError: it cannot be read, or is damaged.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise HoldfastError(f"{path} could not be read: {error.strerror or error}. Mend its permissions.") from None
    return unpacked(raw, str(path)) if path.suffix == ".gz" else raw


def unpacked(raw: bytes, name: str) -> bytes:
    """What a gzip file holds.

    Raises:
        HoldfastError: it is none, or was cut short, or is damaged.
    """
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise HoldfastError(
            f"{name} is damaged, cut short, or no gzip file ({error}; {len(raw):,} bytes). Get it again."
        ) from None


def parsed(held: bytes, name: str, axes: int) -> NDArray[np.uint8]:
    """The box that an IDX file of unsigned bytes holds, as a read-only view of `held`.

    The format: two zero bytes, the type (8: unsigned byte), the number of axes, the length of each axis as a
    big-endian 32-bit integer, and the values, last axis fastest.

    Args:
        held: the unpacked file.
        name: what it is called in errors.
        axes: how many are expected: 3 for images (N, rows, columns), 1 for labels (N).

    Raises:
        HoldfastError: another first number, or a header that disagrees with the number of values.
    """
    magic = bytes((0, 0, UNSIGNED_BYTES, axes))
    if held[:4] != magic:
        got = f"begins with {held[:4].hex(' ')}" if held else "is empty"
        raise HoldfastError(
            f"{name} {got}; an IDX file of unsigned bytes in {axes} {'axis' if axes == 1 else 'axes'} begins with "
            f"{magic.hex(' ')}. It is another kind of file: get the right one."
        )
    begin = 4 + 4 * axes
    if len(held) < begin:
        raise HoldfastError(f"{name} ends in its header: {len(held)} bytes, expected {begin} at least. Get it again.")
    shape = struct.unpack(f">{axes}I", held[4:begin])
    if len(held) - begin != math.prod(shape):
        box = " x ".join(map(str, shape))
        raise HoldfastError(
            f"{name} has {len(held) - begin:,} values; its header says {box} = {math.prod(shape):,}. It was cut short "
            f"or is damaged: get it again."
        )
    return np.frombuffer(held, np.uint8, offset=begin).reshape(shape)
