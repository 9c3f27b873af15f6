"""Instructions as a person reads them, as GNU's assembler writes them without its shorthands (li, ret, ...)."""

from holdfast.chip.instructions import ENCODINGS

REGISTERS = (
    *("zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1"),
    *(f"a{at}" for at in range(8)),
    *(f"s{at}" for at in range(2, 12)),
    *("t3", "t4", "t5", "t6"),
)
"""Their names in the calling convention, x0 first."""
LUI, AUIPC, JAL, JALR, BRANCH, LOAD, STORE, IMMEDIATE, REGISTER = (
    *(0b0110111, 0b0010111, 0b1101111, 0b1100111, 0b1100011, 0b0000011, 0b0100011, 0b0010011, 0b0110011),
)
WRITING = frozenset({LUI, AUIPC, JAL, JALR, LOAD, IMMEDIATE, REGISTER})
SHIFTS = ("slli", "srli", "srai")


def _compared(pattern: str) -> tuple[int, int]:
    """Which bits of a word are compared, and with what."""
    bits = pattern.replace(" ", "")
    return int("".join("01"[bit != "-"] for bit in bits), 2), int(bits.replace("-", "0"), 2)


COMPARED = {name: _compared(pattern) for name, pattern in ENCODINGS.items()}


def name_of(word: int) -> str | None:
    """Which of the 40 instructions it is; None if none."""
    return next((name for name, (mask, value) in COMPARED.items() if word & mask == value), None)


def written(word: int) -> int:
    """The number of the register that this instruction writes; 0 if it writes none."""
    return word >> 7 & 31 if name_of(word) and word & 0x7F in WRITING else 0


def disassemble(word: int, pc: int) -> str:
    """The instruction: "addi sp,sp,-16", "lw a0,8(sp)", "beq a0,zero,1c"; ".word 0x0" for what is none.

    Args:
        word: the instruction.
        pc: where it stands. Targets of jumps are addresses.
    """
    name, opcode = name_of(word), word & 0x7F
    if name is None:
        return f".word {word:#x}"
    rd, rs1, rs2 = (REGISTERS[word >> at & 31] for at in (7, 15, 20))
    imm_i = _signed(word >> 20, 12)
    if opcode in (LUI, AUIPC):
        return f"{name} {rd},{word >> 12:#x}"
    if opcode == JAL:
        high = (word >> 31) << 20 | (word >> 12 & 0xFF) << 12
        distance = high | (word >> 20 & 1) << 11 | (word >> 21 & 0x3FF) << 1
        return f"{name} {rd},{_target(pc, _signed(distance, 21))}"
    if opcode == BRANCH:
        high = (word >> 31) << 12 | (word >> 7 & 1) << 11
        distance = high | (word >> 25 & 0x3F) << 5 | (word >> 8 & 0xF) << 1
        return f"{name} {rs1},{rs2},{_target(pc, _signed(distance, 13))}"
    if opcode in (LOAD, JALR):
        return f"{name} {rd},{imm_i}({rs1})"
    if opcode == STORE:
        return f"{name} {rs2},{_signed(word >> 25 << 5 | word >> 7 & 31, 12)}({rs1})"
    if opcode == REGISTER:
        return f"{name} {rd},{rs1},{rs2}"
    if opcode == IMMEDIATE:
        return f"{name} {rd},{rs1},{f'{word >> 20 & 31:#x}' if name in SHIFTS else imm_i}"
    return name


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _target(pc: int, distance: int) -> str:
    return f"{(pc + distance) % (1 << 32):x}"
