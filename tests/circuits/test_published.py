"""Published circuits of arithmetic and of AES against Python's integers and FIPS-197, from $HOLDFAST_CIRCUITS.

Bristol Fashion: https://nigelsmart.github.io/MPC-Circuits/. They are not committed: the tests are skipped where the
folder does not have them.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from holdfast.circuits import build, read, simulate
from holdfast.circuits.simulate import bits, words

FOLDER = os.environ.get("HOLDFAST_CIRCUITS")
WORD = 1 << 64
COUNT = 2000


def signed(value):
    return value - WORD if value >> 63 else value


def quotient(a, b):
    """Towards zero, as C's."""
    a, b = signed(a), signed(b)
    whole = abs(a) // abs(b)
    return (whole if (a < 0) == (b < 0) else -whole) % WORD


INTEGERS = {
    "adder64": lambda a, b: [(a + b) % WORD],
    "sub64": lambda a, b: [(a - b) % WORD],
    "neg64": lambda a: [-a % WORD],
    "zero_equal": lambda a: [a == 0],
    "mult64": lambda a, b: [a * b % WORD],
    "mult2_64": lambda a, b: [a * b >> 64, a * b % WORD],
    "divide64": lambda a, b: [quotient(a, b)],
    "udivide64": lambda a, b: [a // b],
}


def published(name):
    file = Path(FOLDER or ".") / f"{name}.txt"
    if not FOLDER or not file.is_file():
        pytest.skip(f"HOLDFAST_CIRCUITS names no folder with {name}.txt")
    return file


def outputs(circuit, operands):
    """Rows of numbers in, rows of numbers out; the network's bits and the simulator's are the same."""
    x = np.concatenate(
        [
            bits(list(column), len(port.bits))
            for port, column in zip(circuit.inputs, zip(*operands, strict=True), strict=True)
        ],
        axis=1,
    )
    found = simulate(circuit, x)
    with torch.no_grad():
        network = build(circuit, checks=0).network(torch.from_numpy(x)).numpy()
    assert np.array_equal(network, found)
    ends = np.cumsum([len(port.bits) for port in circuit.outputs])[:-1]
    return [list(row) for row in zip(*(words(part) for part in np.split(found, ends, axis=1)), strict=True)]


def some_words(seed):
    """Of every length, since of numbers drawn evenly half have 64 bits; and the ends of the range."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 65, COUNT)
    drawn = [int.from_bytes(draw.bytes(8), "little") >> 64 - int(length) for length in lengths]
    return [0, 1, WORD - 1, WORD // 2, WORD // 2 - 1, *drawn]


@pytest.mark.parametrize("name", INTEGERS)
def test_arithmetic(name):
    circuit = read(str(published(name)))
    operands = list(zip(*(some_words(seed) for seed in range(len(circuit.inputs))), strict=True))
    if "divide" in name:
        operands = [(a, b) for a, b in operands if b]
    if name == "udivide64":  # as published it divides by less than 2^63 only
        operands = [(a, b) for a, b in operands if b < WORD // 2]
    assert outputs(circuit, operands) == [INTEGERS[name](*row) for row in operands]


def line_by_line(file, numbers):
    """The file's outputs for one row of numbers, by nothing but the format's definition."""
    head, inputs, results, *gates = (line.split() for line in file.read_text().split("\n") if line.strip())
    wires = [number >> bit & 1 for number, width in zip(numbers, inputs[1:], strict=True) for bit in range(int(width))]
    wires += [0] * (int(head[1]) - len(wires))
    for _, _, *at, kind in gates:
        *of, to = map(int, at)
        wires[to] = {
            "AND": lambda of: wires[of[0]] & wires[of[1]],
            "XOR": lambda of: wires[of[0]] ^ wires[of[1]],
            "INV": lambda of: 1 - wires[of[0]],
            "EQW": lambda of: wires[of[0]],
            "EQ": lambda of: of[0],
        }[kind](of)
    left = wires[len(wires) - sum(map(int, results[1:])) :]
    return [sum(left.pop(0) << bit for bit in range(int(width))) for width in results[1:]]


@pytest.mark.parametrize("name", ["divide64", "udivide64"])
def test_where_the_published_circuit_gives_no_quotient_we_give_what_it_gives(name):
    """By zero (the file does not say), and unsigned by 2^63 or more (there it is wrong)."""
    file = published(name)
    operands = [(a, b) for a in (0, 1, 97, WORD // 2, WORD - 5) for b in (0, WORD // 2, WORD // 2 + 12345, WORD - 1)]
    assert outputs(read(str(file)), operands) == [line_by_line(file, row) for row in operands]


AES = {
    128: ("00112233445566778899aabbccddeeff", "69c4e0d86a7b0430d8cdb78070b4c55a"),
    192: ("00112233445566778899aabbccddeeff", "dda97ca4864cdfe06eaf70a0ec0d7191"),
    256: ("00112233445566778899aabbccddeeff", "8ea2b7ca516745bfeafc49904b496089"),
}


@pytest.mark.parametrize("size", AES)
def test_aes_is_fips_197s(size):
    """Appendix C: the key is 00 01 02 ...; and appendix B, for 128 bits. The first byte is the most significant."""
    circuit = read(str(published(f"aes_{size}")))
    number = lambda text: int(text.replace(" ", ""), 16)
    plain, cipher = AES[size]
    rows, expected = [(int.from_bytes(bytes(range(size // 8)), "big"), number(plain))], [[number(cipher)]]
    if size == 128:
        rows.append((number("2b7e151628aed2a6abf7158809cf4f3c"), number("3243f6a8885a308d313198a2e0370734")))
        expected.append([number("3925841d02dc09fbdc118597196a0b32")])
    assert outputs(circuit, rows) == expected
