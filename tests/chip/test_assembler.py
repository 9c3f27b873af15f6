"""Assembly into words, compared with GNU's assembler and with the disassembly of what came out."""

import random
import shutil
import subprocess
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chip.test_disassembly import drawn
from holdfast.chip.assembler import NUMBERS, SHORTHANDS, assemble
from holdfast.chip.disassembly import BRANCH, JAL, REGISTERS, disassemble, name_of
from holdfast.chip.program import Program, Segment, read_program
from holdfast.errors import UsageError

AS = shutil.which("riscv64-unknown-elf-as")
LD = shutil.which("riscv64-unknown-elf-ld")
gnu = pytest.mark.skipif(not (AS and LD), reason="needs riscv64-unknown-elf-as and -ld")
REAL = """
.equ out, 0x10000000
.equ size, 1 << 2 + 1          # GNU's shifts bind more than its sums: 5
.globl _start
.macro store_all to, first, second
    sw   \\first, 0(\\to)
    sw   \\second, 4(\\to)
.endm
.text
before: .word 1, -1, 0xffffffff, loop, end - before
    .half 0x1234
    .byte 5, -5
    .align 4
_start:
    li   s1, out
    la   a0, table
    li   a1, 20
    li   a2, -2048
    li   a3, 2048
    li   a4, 0xfffff800
    li   a5, size
    li   a6, 0x7ffff800
    lui  a7, %hi(table + 2048)
    lw   a7, %lo(table + 2048)(a7)
loop: store_all s1, t1, t2
    add  s0, t1, t2
    mv   t1, t2
    addi a1, a1, -1
    bnez a1, loop
    bgtu a1, a2, end
    ble  a1, a2, loop
    jal  function
    jal  zero, end
    jalr t0, -4(t1)
    jr   t0
    seqz x5, x31
    fence
end: ecall
function: not fp, s0
    neg  tp, gp
    ret
    .align 4
.data
table: .word loop
    .zero 7
    .align 3
    .space 8
"""


def gnu_assembled(folder, text, *more):
    (folder / "a.s").write_text(text)
    subprocess.run([AS, "-march=rv32i", "-mabi=ilp32", "-mno-relax", *more, "a.s", "-o", "a.o"], cwd=folder, check=True)
    where = ["-Ttext=0x1000", "-Tdata=0x80000000", "-melf32lriscv", "--no-relax", "--no-warn-rwx-segments"]
    subprocess.run([LD, *where, "a.o", "-o", "a"], cwd=folder, check=True)
    return read_program(folder / "a")


def placed(program):
    """Bytes from 0x1000 and from 0x80000000 on; what GNU's linker puts elsewhere is its own."""
    found = {0x1000: b"", 0x8000_0000: b""}
    for segment in program.segments:
        for start in found:
            if segment.address <= start < segment.end:
                found[start] = segment.data[start - segment.address :]
    return found


def words_of(text, **more):
    data = assemble(text, **more).segments[0].data
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def readable(word, pc):
    """As the disassembly says it, but with targets as numbers are written."""
    text = disassemble(word, pc)
    if word & 0x7F in (BRANCH, JAL):
        head, _, target = text.rpartition(",")
        return f"{head},0x{target}"
    return text


def test_by_hand():
    program = assemble("a: addi sp, sp, -16 # room\n j a\n.data\nb: .word a, b\n", rom=0x100)
    text = (0xFF01_0113).to_bytes(4, "little") + (0xFFDF_F06F).to_bytes(4, "little")
    data = bytes.fromhex("00010000 00000080")
    assert program == Program((Segment(0x100, text, False), Segment(0x8000_0000, data, True)), 0x100)


def test_what_is_disassembled_is_assembled_to_the_same():
    """Fields of FENCE are not written."""
    for at, word in enumerate(drawn()):
        pc = 0x1000_0000 + 4 * at
        if name_of(word) != "fence":
            assert words_of(readable(word, pc), rom=pc) == [word], readable(word, pc)


@gnu
def test_a_program_as_gnu_makes_it(tmp_path):
    ours, theirs = assemble(REAL, rom=0x1000), gnu_assembled(tmp_path, REAL)
    assert ours.entry == theirs.entry
    assert placed(ours) == placed(theirs)


@gnu
def test_shorthands_as_gnu_makes_them(tmp_path):
    def line(name, count, draw):
        registers = [draw.choice(REGISTERS) for _ in range(count)]
        if name[0] == "b" or name == "j":
            registers[-1] = "here"
        return f"{name} {', '.join(registers)}"

    draw = random.Random(1)
    lines = [line(name, count, draw) for name, (count, _) in SHORTHANDS.items() if name not in ("call", "tail")]
    text = "\n".join([lines[0], "here:", *lines[1:], ""])
    assert placed(assemble(text, rom=0x1000)) == placed(gnu_assembled(tmp_path, text))


@gnu
@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 2399), min_size=1, max_size=60), st.integers(-(1 << 31), (1 << 32) - 1))
def test_random_instructions_as_gnu_makes_them(tmp_path_factory, chosen, number):
    code = list(drawn())
    lines = [f"li t0, {number}", f"lui t0, %hi({number})", f"addi t0, t0, %lo({number})"]
    for at, index in enumerate(chosen):
        word = code[index]
        if word & 0x7F in (BRANCH, JAL):
            lines.append(f"{readable(word, 0).rpartition(',')[0]}, {'_end' if at % 2 else '_begin'}")
        elif name_of(word) != "fence":
            lines.append(disassemble(word, 0))
    text = "\n".join(["_begin:", *lines, "_end: nop", ""])
    assert placed(assemble(text, rom=0x1000)) == placed(gnu_assembled(tmp_path_factory.mktemp("gnu"), text))


@given(st.text(st.characters(codec="utf-8"), max_size=40) | st.text("ax0()%hilo+-<>,: .#\n1", max_size=40))
def test_any_text_is_a_program_or_is_refused_with_its_line(text):
    with suppress(UsageError):
        assemble("nop\n" + text)
        return
    with pytest.raises(UsageError, match="^Line "):
        assemble("nop\n" + text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("adddi a0, a0, 1", "Line 2: Unknown instruction 'adddi'. Perhaps you meant 'addi'."),
        ("addi a0, a0, 2048", "Line 2: addi: expected a number from -2048 to 2047; got 2048."),
        ("slli a0, a0, 32", "Line 2: slli: expected a number from 0 to 31; got 32."),
        ("lui a0, -1", "Line 2: lui: expected a number from 0 to 1048575; got -1."),
        ("li a0, 1 << 32", "Line 2: li: expected a number from -2147483648 to 4294967295; got 4294967296."),
        ("j lop\nloop:", "Line 2: Unknown label 'lop'. Perhaps you meant 'loop'."),
        ("start: nop", "Line 2: start is defined twice"),
        (
            "beq a0, a1, end\n.zero 4096\nend:",
            "beq to end goes 4,100 bytes; expected an even number from -4,096 to 4,094.",
        ),
        ("j 0x200000", "jal to 0x200000 goes 2,097,148 bytes"),
        ("j 7", "jal to 7 goes 3 bytes"),
        ("add a0, a1", "Line 2: add takes 3 operands; got 2."),
        ("add a0, a1, a9", "Line 2: Unknown register 'a9'"),
        ("lw a0, 4", r"Line 2: lw: expected OFFSET\(REGISTER\), as 8\(sp\); got '4'."),
        ("lw a0, 4(b0)", r"lw: expected OFFSET\(REGISTER\)"),
        ("addi a0, a0, a1", "expected a number or a label; got the register a1"),
        ("addi a0, a0, 1 +", "expected a number, a name or an expression; got '1 [+]'"),
        ("addi a0, a0, (1", "expected a closing bracket"),
        ("addi a0, a0, " + "(" * 40 + "1" + ")" * 40, "at most 32 levels"),
        ("addi a0, a0, 010", "expected a number, a name or an expression; got '010'"),
        (".word 1 << 64", "a shift: expected a number from 0 to 63"),
        (".word 1 << 63 << 63", "an expression: expected a number from"),
        (".word 0x100000000", ".word: expected a number from -2147483648 to 4294967295"),
        (".byte 1\nnop", "Line 3: expected an instruction at a multiple of 4; it would stand at 0x5."),
        (".zero 1 << 30", ".zero: expected a number from 0 to 67108864"),
        (".zero 1 << 26", "Line 2: expected 67,108,864 bytes in all at most"),
        (".macro m\nnop", "Line 2: this macro does not end; expected .endm."),
        (".macro m\nm\n.endm\nm", "Line 5: macros in 32 macros; expected none that uses itself."),
        (".macro m x\n.endm\nm", "Line 4: m takes 1 operands; got 0."),
        (".macro", "expected .macro NAME"),
        (".macro m\n.macro n", "Line 3: a macro in the macro of line 2"),
        ("1x: nop", "expected a name of letters, digits, _, . and [$]; got '1x'"),
        (".wrod 1", "Unknown instruction '.wrod'. Perhaps you meant '.word'."),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        assemble(f"start: nop\n{text}\n")


def test_macros_that_double_are_refused_before_they_fill_memory():
    text = "".join(f".macro m{at + 1}\nm{at}\nm{at}\n.endm\n" for at in range(30))
    with pytest.raises(UsageError, match="1,048,576 lines"):
        assemble(f".macro m0\n.endm\n{text}m30\n")


def test_addresses_and_sections_that_do_not_go():
    with pytest.raises(UsageError, match="rom: expected an address that is a multiple of 4"):
        assemble("nop", rom=2)
    with pytest.raises(UsageError, match="overlap"):
        assemble("nop\n.data\n.word 1", rom=0x8000_0000)
    with pytest.raises(UsageError, match="Expected instructions in .text; got none."):
        assemble("# nothing\n")
    assert assemble("nop\n_start: ecall").entry == 4
    assert words_of("li a0, N + 1", symbols={"N": 2047}) == [0x0000_1537, 0x8005_0513]
    assert NUMBERS["fp"] == NUMBERS["s0"] == NUMBERS["x8"] == 8
