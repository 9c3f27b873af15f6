"""Assembly for RV32I into programs, in the syntax of GNU's assembler and to the same words.

What it knows: the 40 instructions, the usual shorthands (`SHORTHANDS`, `li`, `la`), labels, `.equ`, macros, words and
room. There is no linker: a program is one text, and its addresses are known when it is read.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from holdfast.chip.disassembly import (
    AUIPC,
    BRANCH,
    COMPARED,
    IMMEDIATE,
    JAL,
    JALR,
    LOAD,
    LUI,
    REGISTER,
    REGISTERS,
    SHIFTS,
    STORE,
)
from holdfast.chip.program import ADDRESSES, LARGEST, Program, Segment
from holdfast.errors import UsageError, nearest, whole

ENTRY = "_start"
ROM, RAM = 0, 0x8000_0000
NUMBERS = {name: at for at, name in enumerate(REGISTERS)} | {f"x{at}": at for at in range(32)} | {"fp": 8}
SHORTHANDS = {
    "nop": (0, "addi zero, zero, 0"),
    "mv": (2, "addi {0}, {1}, 0"),
    "not": (2, "xori {0}, {1}, -1"),
    "neg": (2, "sub {0}, zero, {1}"),
    "seqz": (2, "sltiu {0}, {1}, 1"),
    "snez": (2, "sltu {0}, zero, {1}"),
    "sltz": (2, "slt {0}, {1}, zero"),
    "sgtz": (2, "slt {0}, zero, {1}"),
    "beqz": (2, "beq {0}, zero, {1}"),
    "bnez": (2, "bne {0}, zero, {1}"),
    "blez": (2, "bge zero, {0}, {1}"),
    "bgez": (2, "bge {0}, zero, {1}"),
    "bltz": (2, "blt {0}, zero, {1}"),
    "bgtz": (2, "blt zero, {0}, {1}"),
    "bgt": (3, "blt {1}, {0}, {2}"),
    "ble": (3, "bge {1}, {0}, {2}"),
    "bgtu": (3, "bltu {1}, {0}, {2}"),
    "bleu": (3, "bgeu {1}, {0}, {2}"),
    "j": (1, "jal zero, {0}"),
    "jr": (1, "jalr zero, 0({0})"),
    "call": (1, "jal ra, {0}"),
    "tail": (1, "jal zero, {0}"),
    "ret": (0, "jalr zero, 0(ra)"),
}
"""Of each how many operands it has, and the instruction that it stands for. `call` and `tail` reach 1 MiB."""
SIZES = {".byte": 1, ".half": 2, ".word": 4}
ROOM = (".zero", ".space")
DIRECTIVES = (".text", ".data", ".bss", ".align", ".equ", ".set", ".globl", ".macro", ".endm", *SIZES, *ROOM)
FENCE, NOP = 0x0FF0_000F, 0x0000_0013
"""A fence of all before all, as GNU's assembler makes it, and what it pads code with."""
NAME = r"[A-Za-z_.$][\w.$]*"
TOKEN = re.compile(
    rf"\s*(?:(0[xX][0-9a-fA-F]{{1,16}}|0[bB][01]{{1,64}}|0(?!\d)|[1-9]\d{{0,18}})|({NAME})|(<<|>>|%hi|%lo|[-+*|&^~()]))"
)
PRECEDENCE = {"+": 0, "-": 0, "|": 1, "&": 1, "^": 1, "*": 2, "<<": 2, ">>": 2}
"""As in GNU's assembler, where shifts bind as products do."""
WIDEST = 1 << 63
MOST_NESTED, MOST_LINES = 32, 1 << 20


class Line(NamedTuple):
    """A line of the text, or of a macro that is used there."""

    number: int
    text: str

    def refuse(self, what: str) -> NoReturn:
        raise UsageError(f"Line {self.number}: {what}") from None


class Statement(NamedTuple):
    """An instruction or data, and where it stands."""

    line: Line
    name: str
    operands: list[str]
    section: str
    address: int
    size: int


@dataclass
class _Layout:
    """What the first pass finds: where everything stands."""

    ends: dict[str, int]
    """Of each section the address behind what it has so far."""
    symbols: dict[str, int]
    size: int = 0
    """Of both sections."""
    statements: list[Statement] = field(default_factory=list)
    section: str = "text"

    def define(self, line: Line, name: str, value: int) -> None:
        if not re.fullmatch(NAME, name) or name == ".":
            line.refuse(f"expected a name of letters, digits, _, . and $; got {name!r}.")
        if name in self.symbols:
            line.refuse(f"{name} is defined twice; expected a name that is not taken.")
        self.symbols[name] = value

    def place(self, line: Line, name: str, operands: list[str], size: int) -> None:
        address = self.ends[self.section]
        self.statements.append(Statement(line, name, operands, self.section, address, size))
        self.ends[self.section] += size
        self.size += size
        if self.size > LARGEST or self.ends[self.section] > ADDRESSES:
            line.refuse(
                f"expected {LARGEST:,} bytes in all at most, and none beyond 2^32; got {size:,} more at {address:#x}."
            )


def assemble(text: str, *, rom: int = ROM, ram: int = RAM, symbols: Mapping[str, int] | None = None) -> Program:
    """A program from its text: `.text` becomes ROM, `.data` (or `.bss`) RAM, which is written before it begins.

    It begins at the label `_start`, or else with the first word of `.text`. Targets of jumps and branches are
    addresses. `la` is relative to the pc, as GNU's; nothing is relaxed, and a branch that does not reach is refused.

    Args:
        text: lines of `label: instruction operands # comment`; each part may be missing.
        rom: where `.text` begins.
        ram: where `.data` begins.
        symbols: names that the text may use, and what they are.

    Raises:
        UsageError: anything that it does not understand or that does not fit, with the line's number; nothing to
            run.
    """
    for name, at in (("rom", rom), ("ram", ram)):
        whole(name, at)
        if not 0 <= at < ADDRESSES or at % 4:
            raise UsageError(f"{name}: expected an address that is a multiple of 4, below 2^32; got {at:#x}.")
    layout = _Layout({"text": rom, "data": ram}, dict(symbols or {}))
    for line in _expanded([Line(number, each) for number, each in enumerate(text.splitlines(), 1)]):
        _lay(layout, line)
    held = {"text": bytearray(), "data": bytearray()}
    for statement in layout.statements:
        held[statement.section] += _bytes(statement, layout.symbols)
    if not held["text"]:
        raise UsageError("Expected instructions in .text; got none.")
    made = [Segment(rom, bytes(held["text"]), writable=False), Segment(ram, bytes(held["data"]), writable=True)]
    segments = sorted((each for each in made if each.data), key=lambda each: each.address)
    if len(segments) == 2 and segments[0].end > segments[1].address:
        raise UsageError(f".text at {rom:#x} and .data at {ram:#x} overlap. Give them other addresses.")
    return Program(tuple(segments), layout.symbols.get(ENTRY, rom))


# Lines


def _expanded(lines: list[Line]) -> Iterator[Line]:
    """Lines without comments, labels on lines of their own, and what macros stand for in the place of their uses."""
    macros: dict[str, tuple[list[str], list[str]]] = {}
    opened: Line | None = None
    body: list[str] = []
    count = 0
    waiting = [(line, 0) for line in reversed(lines)]
    while waiting:
        (number, text), nested = waiting.pop()
        line = Line(number, text.split("#")[0].strip())
        if opened is None and (found := re.match(r"[^\s:,()]+\s*:", line.text)):
            yield Line(number, found[0])
            line = Line(number, line.text[found.end() :].strip())
            if line.text:
                waiting.append((line, nested))
            continue
        name, rest = (*line.text.split(None, 1), "", "")[:2]
        if opened is not None:
            if name == ".macro":
                line.refuse(f"a macro in the macro of line {opened.number}; expected .endm first.")
            if name == ".endm":
                opened = None
            else:
                body.append(line.text)
        elif name == ".macro":
            told = rest.replace(",", " ").split()
            if not told or told[0] in macros:
                line.refuse("expected .macro NAME ARGUMENT, ..., with a name that is not taken.")
            opened, body = line, []
            macros[told[0]] = told[1:], body
        elif name in macros:
            names, its = macros[name]
            operands = _split(rest)
            _expect(line, name, operands, len(names))
            if nested == MOST_NESTED:
                line.refuse(f"macros in {MOST_NESTED} macros; expected none that uses itself.")
            values = dict(zip(names, operands, strict=True))
            waiting += [(Line(number, _put(each, values)), nested + 1) for each in reversed(its)]
        elif line.text:
            yield line
        count += 1
        if count > MOST_LINES:
            line.refuse(f"expected at most {MOST_LINES:,} lines, macros written out.")
    if opened is not None:
        opened.refuse("this macro does not end; expected .endm.")


def _put(text: str, values: Mapping[str, str]) -> str:
    """A macro's line with its arguments' values."""
    return re.sub(r"\\(\w+)", lambda found: values.get(found[1], found[0]), text)


def _split(text: str) -> list[str]:
    return [each.strip() for each in text.split(",")] if text.strip() else []


def _lay(layout: _Layout, line: Line) -> None:
    """Where what a line says stands, and what its names are."""
    if line.text.endswith(":"):
        layout.define(line, line.text[:-1].strip(), layout.ends[layout.section])
        return
    name, rest = (*line.text.split(None, 1), "")[:2]
    operands = _split(rest)
    known = {**layout.symbols, ".": layout.ends[layout.section]}
    if name in (".text", ".data", ".bss"):
        _expect(line, name, operands, 0)
        layout.section = "text" if name == ".text" else "data"
    elif name in (".equ", ".set"):
        _expect(line, name, operands, 2)
        layout.define(line, operands[0], _value(line, operands[1], known))
    elif name in SIZES:
        layout.place(line, name, operands, SIZES[name] * len(operands))
    elif name in ROOM or name == ".align":
        _expect(line, name, operands, 1)
        size = _within(line, name, _value(line, operands[0], known), 0, 16 if name == ".align" else LARGEST)
        layout.place(line, name, operands, -layout.ends[layout.section] % (1 << size) if name == ".align" else size)
    elif name == "li":
        # Short where its number is known by now and fits; GNU's takes no other.
        _expect(line, name, operands, 2)
        layout.place(line, name, operands, 4 * len(_li(line, operands, known)))
    elif name == "la":
        layout.place(line, name, operands, 8)
    elif name in COMPARED or name in SHORTHANDS:
        layout.place(line, name, operands, 4)
    elif name != ".globl":
        known_names = {*DIRECTIVES, *COMPARED, *SHORTHANDS, "li", "la"}
        line.refuse(str(nearest(name, known_names, what="instruction")))


# Words


def _bytes(statement: Statement, symbols: Mapping[str, int]) -> bytes:
    line, name, operands, section, address, size = statement
    known = {**symbols, ".": address} if any("." in each for each in operands) else symbols
    if name in SIZES:
        width = SIZES[name]
        each = [
            _within(line, name, _value(line, o, known), -(1 << 8 * width - 1), (1 << 8 * width) - 1) for o in operands
        ]
        return b"".join((value % (1 << 8 * width)).to_bytes(width, "little") for value in each)
    if name == ".align" and section == "text":
        return bytes(size % 4) + size // 4 * NOP.to_bytes(4, "little")
    if name in ROOM or name == ".align":
        return bytes(size)
    if address % 4:
        line.refuse(
            f"expected an instruction at a multiple of 4; it would stand at {address:#x}. Put .align 2 before it."
        )
    if name == "li":
        texts = _li(line, operands, known)
    elif name == "la":
        _expect(line, name, operands, 2)
        distance = (_value(line, operands[1], known) - address) % ADDRESSES
        texts = [f"auipc {operands[0]}, %hi({distance})", f"addi {operands[0]}, {operands[0]}, %lo({distance})"]
    elif name in SHORTHANDS:
        count, of = SHORTHANDS[name]
        _expect(line, name, operands, count)
        texts = [of.format(*operands)]
    else:
        return _word(line, name, operands, address, known).to_bytes(4, "little")
    made = []
    for at, text in enumerate(texts):
        its, _, rest = text.partition(" ")
        made.append(_word(line, its, _split(rest), address + 4 * at, known).to_bytes(4, "little"))
    return b"".join(made)


def _li(line: Line, operands: list[str], known: Mapping[str, int]) -> list[str]:
    to = operands[0]
    value = _within(line, "li", _value(line, operands[1], known), -(1 << 31), ADDRESSES - 1) % ADDRESSES
    if value < 2048 or value >= ADDRESSES - 2048:
        return [f"addi {to}, zero, %lo({value})"]
    high = [f"lui {to}, %hi({value})"]
    return high if value % 4096 == 0 else [*high, f"addi {to}, {to}, %lo({value})"]


def _word(line: Line, name: str, operands: list[str], address: int, known: Mapping[str, int]) -> int:
    """An instruction, its fields as in volume I of the manual, "Base Instruction Formats"."""
    opcode, word = COMPARED[name][1] & 0x7F, COMPARED[name][1]

    def register(at: int) -> int:
        if operands[at] not in NUMBERS:
            line.refuse(str(nearest(operands[at], NUMBERS, what="register")))
        return NUMBERS[operands[at]]

    def number(text: str, least: int, most: int) -> int:
        return _within(line, name, _value(line, text, known), least, most)

    def memory(at: int) -> tuple[int, int]:
        """Offset and register of 8(sp)."""
        found = re.fullmatch(r"(.*)\(\s*(\w+)\s*\)", operands[at])
        if not found or found[2] not in NUMBERS:
            line.refuse(f"{name}: expected OFFSET(REGISTER), as 8(sp); got {operands[at]!r}.")
        return number(found[1].strip() or "0", -2048, 2047), NUMBERS[found[2]]

    def distance(at: int, reach: int) -> int:
        target = _value(line, operands[at], known)
        found = (target - address + (ADDRESSES >> 1)) % ADDRESSES - (ADDRESSES >> 1)
        if found % 2 or not -reach <= found < reach:
            line.refuse(
                f"{name} to {operands[at]} goes {found:,} bytes; expected an even number from {-reach:,} to "
                f"{reach - 2:,}."
            )
        return found

    if opcode in (LUI, AUIPC):
        _expect(line, name, operands, 2)
        return word | register(0) << 7 | number(operands[1], 0, (1 << 20) - 1) << 12
    if opcode == JAL:
        operands = ["ra", *operands] if len(operands) == 1 else operands
        _expect(line, name, operands, 2)
        to = distance(1, 1 << 20)
        ends = (to >> 20 & 1) << 31 | (to >> 1 & 0x3FF) << 21 | (to >> 11 & 1) << 20 | (to >> 12 & 0xFF) << 12
        return word | register(0) << 7 | ends
    if opcode == BRANCH:
        _expect(line, name, operands, 3)
        to = distance(2, 1 << 12)
        ends = (to >> 12 & 1) << 31 | (to >> 5 & 0x3F) << 25 | (to >> 1 & 0xF) << 8 | (to >> 11 & 1) << 7
        return word | register(0) << 15 | register(1) << 20 | ends
    if opcode in (LOAD, STORE, JALR):
        if opcode == JALR and len(operands) == 1:
            operands = ["ra", f"0({operands[0]})"]
        _expect(line, name, operands, 2)
        offset, base = memory(1)
        if opcode == STORE:
            return word | (offset >> 5 & 0x7F) << 25 | register(0) << 20 | base << 15 | (offset & 31) << 7
        return word | (offset & 0xFFF) << 20 | base << 15 | register(0) << 7
    if opcode in (REGISTER, IMMEDIATE):
        _expect(line, name, operands, 3)
        word |= register(0) << 7 | register(1) << 15
        if opcode == REGISTER:
            return word | register(2) << 20
        return word | (number(operands[2], *((0, 31) if name in SHIFTS else (-2048, 2047))) & 0xFFF) << 20
    _expect(line, name, operands, 0)
    return FENCE if name == "fence" else word


def _expect(line: Line, name: str, operands: list[str], count: int) -> None:
    if len(operands) != count:
        line.refuse(f"{name} takes {count} operands; got {len(operands)}.")


def _within(line: Line, name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        line.refuse(f"{name}: expected a number from {least} to {most}; got {value}.")
    return value


# Expressions


def _value(line: Line, text: str, known: Mapping[str, int]) -> int:
    """What an expression is: whole numbers, names, ., + - * << >> | & ^ ~ ( ), %hi and %lo."""
    tokens: list[tuple[str, str, str]] = []
    at = 0
    while text[at:].strip():
        if not (found := TOKEN.match(text, at)):
            line.refuse(f"expected a number, a name or an expression; got {text!r}.")
        tokens.append((found[1] or "", found[2] or "", found[3] or ""))
        at = found.end()
    tokens.append(("", "", ""))
    tokens.reverse()

    def operand(depth: int) -> int:
        number, name, sign = tokens.pop()
        if depth > MOST_NESTED:
            line.refuse(f"expected an expression of at most {MOST_NESTED} levels.")
        if number:
            return int(number, 0)
        if name:
            if name in NUMBERS and name not in known:
                line.refuse(f"expected a number or a label; got the register {name}.")
            if name not in known:
                line.refuse(str(nearest(name, known, what="label")))
            return known[name]
        if sign in ("-", "~"):
            return -operand(depth + 1) if sign == "-" else ~operand(depth + 1)
        if sign in ("(", "%hi", "%lo"):
            if sign != "(" and tokens.pop()[2] != "(":
                line.refuse(f"expected {sign}(...); got {text!r}.")
            found = operation(0, depth + 1)
            if tokens.pop()[2] != ")":
                line.refuse(f"expected a closing bracket; got {text!r}.")
            low = (found + 0x800) % 0x1000 - 0x800
            return {"(": found, "%hi": found - low >> 12 & 0xFFFFF, "%lo": low}[sign]
        return line.refuse(f"expected a number, a name or an expression; got {text!r}.")

    def operation(least: int, depth: int) -> int:
        left = operand(depth)
        while PRECEDENCE.get(sign := tokens[-1][2], -1) >= least:
            tokens.pop()
            right = operation(PRECEDENCE[sign] + 1, depth)
            if sign in ("<<", ">>"):
                _within(line, "a shift", right, 0, 63)
            left = _within(line, "an expression", _computed(sign, left, right), -WIDEST, WIDEST)
        return left

    result = operation(0, 0)
    if tokens[-1] != ("", "", "") or len(tokens) > 1:
        line.refuse(f"expected a number, a name or an expression; got {text!r}.")
    return result


def _computed(sign: str, x: int, y: int) -> int:
    match sign:
        case "+":
            return x + y
        case "-":
            return x - y
        case "*":
            return x * y
        case "<<":
            return x << y
        case ">>":
            return x >> y
        case "|":
            return x | y
        case "&":
            return x & y
    return x ^ y
