"""Which words are instructions: all of funct7, funct3 and opcode, with random registers."""

import random

from chip.random_programs import Reference

FLOATING = {0b0000111, 0b0100111, 0b1000011, 0b1000111, 0b1001011, 0b1001111, 0b1010011}
ATOMIC, SYSTEM, FENCES, REGISTERS = 0b0101111, 0b1110011, 0b0001111, 0b0110011
CALLS = [0x0000_0073, 0x0010_0073]
COUNT = 1 << 17


def drawn(at, draw):
    """The word with a number for its funct7, funct3 and opcode."""
    funct7, funct3, opcode = at >> 10, at >> 7 & 7, at & 0x7F
    return funct7 << 25 | draw.randrange(1 << 10) << 15 | funct3 << 12 | draw.randrange(32) << 7 | opcode


def beyond(word):
    """Whether it is of an extension that unicorn has: C, F and D, A, Zicsr and privileges, fence.i, M."""
    funct7, funct3, opcode = word >> 25, word >> 12 & 7, word & 0x7F
    if word & 3 != 3 or opcode in FLOATING or opcode == ATOMIC:
        return True
    if opcode == SYSTEM:
        return word not in CALLS
    return (opcode, funct3) == (FENCES, 1) or (opcode, funct7) == (REGISTERS, 1)


def legal(every):
    """Each `every`th of the words, ecall and ebreak, with whether it is an instruction of RV32I by unicorn."""
    draw, reference = random.Random(0), Reference()
    words = [drawn(at, draw) for at in range(0, COUNT, every)] + CALLS
    return {word: not beyond(word) and reference.accepts(word) for word in words}
