"""Instructions in words, compared with GNU's."""

import random
import shutil
import subprocess

import pytest

from chip.assembled import FIBONACCI, words
from holdfast.chip.disassembly import REGISTERS, disassemble, name_of, written
from holdfast.chip.instructions import ENCODINGS

OBJDUMP = shutil.which("riscv64-unknown-elf-objdump")


@pytest.mark.parametrize(
    ("word", "pc", "text"),
    [
        (0xFF01_0113, 0, "addi sp,sp,-16"),
        (0x0085_A503, 0, "lw a0,8(a1)"),
        (0xFE65_2E23, 0, "sw t1,-4(a0)"),
        (0xFE05_9CE3, 0x20, "bne a1,zero,18"),
        (0x0000_80E7, 0, "jalr ra,0(ra)"),
        (0xFFDF_F06F, 0, "jal zero,fffffffc"),
        (0x8000_02B7, 0, "lui t0,0x80000"),
        (0x4055_5513, 0, "srai a0,a0,0x5"),
        (0x0000_0073, 0, "ecall"),
        (0, 0, ".word 0x0"),
        (0xFFFF_FFFF, 4, ".word 0xffffffff"),
    ],
)
def test_by_hand(word, pc, text):
    assert disassemble(word, pc) == text


def drawn():
    """60 of each of the 40 instructions, with random fields."""
    draw = random.Random(0)
    for pattern in ENCODINGS.values():
        bits = pattern.replace(" ", "")
        for _ in range(60):
            yield int("".join(draw.choice("01") if bit == "-" else bit for bit in bits), 2)


def test_each_is_found_by_name_and_says_what_it_writes():
    names = list(ENCODINGS)
    for at, word in enumerate(drawn()):
        name = names[at // 60]
        silent = name[0] == "b" or name in ("sb", "sh", "sw", "fence", "ecall", "ebreak")
        assert (name_of(word), written(word)) == (name, 0 if silent else word >> 7 & 31)
    assert (name_of(0x0010_0063 | 7 << 12), written(0x2000_0033 | 1 << 7)) == ("bgeu", 0)


@pytest.mark.skipif(not OBJDUMP, reason="needs riscv64-unknown-elf-objdump")
def test_as_objdump_writes_them(tmp_path):
    """FENCE has fields that this core doesn't look at."""
    code = [word for word in drawn() if name_of(word) != "fence"] + [0xFE05_9CE3]
    (tmp_path / "code").write_bytes(words(*code))
    how = ["-D", "-b", "binary", "-m", "riscv:rv32", "-M", "no-aliases", "--adjust-vma=0x7ffff000"]
    done = subprocess.run([OBJDUMP, *how, tmp_path / "code"], capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        place, colon, rest = line.strip().partition(":\t")
        if colon:
            parts = rest.split("\t", 1)[1].split("#")[0].split("<")[0]
            found[int(place, 16)] = " ".join(parts.split()).replace("0x", "")
    ours = {0x7FFF_F000 + 4 * i: disassemble(word, 0x7FFF_F000 + 4 * i) for i, word in enumerate(code)}
    assert found == {pc: text.replace("0x", "") for pc, text in ours.items()}


def test_registers_have_the_names_of_the_calling_convention():
    assert (len(set(REGISTERS)), REGISTERS[2], REGISTERS[8], REGISTERS[17], REGISTERS[31]) == (
        32,
        "sp",
        "s0",
        "a7",
        "t6",
    )
    assert disassemble(int.from_bytes(FIBONACCI.segments[0].data[:4], "little"), 0) == "addi t1,zero,0"
