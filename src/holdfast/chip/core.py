"""A core for RV32I (`instructions.py`), in Amaranth: one instruction a tick, loads two.

RAM is synchronous: it answers in one tick what it was asked in the tick before. A load asks for its word in its
first tick, in which `pc` stays, and writes its register in the second.

What one tick computes is kept short, since it is to become layers of a network:

1. straight from state and inputs: registers, immediates, the word that was loaded
2. sums, comparisons, logic and shifts, each of what 1 gives and of no other
3. which of them is the result, whether to jump, whether to stop
4. what is written: a register, the next pc
"""

from typing import Any

from holdfast.chip.instructions import ENCODINGS, Cause
from holdfast.errors import HoldfastError, UsageError

try:
    from amaranth.back import rtlil
    from amaranth.hdl import C, Cat, Module, Mux, ResetSignal, Signal
    from amaranth.lib.memory import Memory
    from amaranth.lib.wiring import Component, In, Out
except ModuleNotFoundError:
    raise HoldfastError(
        'The core is written in Amaranth, which is not installed. Install it: pip install "holdfast[hdl]"'
    ) from None


class Core(Component):  # type: ignore[misc]  # Amaranth has no types
    """The core. Registers are not reset; x0 is a word of their memory that is never written: it must start as 0.

    Inputs:
        rst: back to the start at the end of this tick, in which nothing is written. (Amaranth adds it, and `clk`.)
        instr: the instruction at this tick's `pc`.
        rdata: the word at the last tick's `address`, whose two lowest bits don't count.

    Outputs:
        pc: address of the instruction that this tick executes.
        address: of a load or a store, in bytes.
        read: whether this tick asks for a word.
        strobe: the bytes of the word that a store writes, the lowest address first; 0 if nothing is stored.
        wdata: what it writes, a byte or halfword repeated over the word.
        halted: whether the core has stopped. Then `pc` is where, and only a reset starts it again.
        cause: why, a `Cause`.

    Args:
        start: `pc` after a reset, a multiple of 4.
    """

    def __init__(self, start: int = 0) -> None:
        outputs = {"address": 32, "read": 1, "strobe": 4, "wdata": 32, "halted": 1, "cause": 4}
        super().__init__(
            {"instr": In(32), "rdata": In(32), "pc": Out(32, init=start)}
            | {name: Out(width) for name, width in outputs.items()}
        )
        self.registers = Memory(shape=32, depth=32, init=[])

    def elaborate(self, platform: object) -> Any:
        """The circuit, an `amaranth.hdl.Module`."""
        m = Module()

        def wire(name: str, width: int, value: Any) -> Any:
            """Signs are extended, and carries dropped."""
            signal = Signal(width, name=name)
            m.d.comb += signal.eq(value)
            return signal

        # 1. Straight from state and inputs
        instr, pc, address, rdata = self.instr, self.pc, self.address, self.rdata
        m.submodules.registers = self.registers
        rs1 = self.registers.read_port(domain="comb")
        rs2 = self.registers.read_port(domain="comb")
        rd = self.registers.write_port()
        m.d.comb += [rs1.addr.eq(instr[15:20]), rs2.addr.eq(instr[20:25]), rd.addr.eq(instr[7:12])]
        imm_i = wire("imm_i", 32, instr[20:].as_signed())
        imm_s = wire("imm_s", 32, Cat(instr[7:12], instr[25:]).as_signed())
        imm_b = wire("imm_b", 32, Cat(C(0, 1), instr[8:12], instr[25:31], instr[7], instr[31]).as_signed())
        imm_u = wire("imm_u", 32, Cat(C(0, 12), instr[12:]))
        imm_j = wire("imm_j", 32, Cat(C(0, 1), instr[21:31], instr[20], instr[12:20], instr[31]).as_signed())
        # One or two bits of the opcode tell apart the instructions that use such a word; the others don't look.
        a, b = rs1.data, wire("b", 32, Mux(instr[5], rs2.data, imm_i))
        offset = wire("offset", 32, Mux(instr[5] & ~instr[2], imm_s, imm_i))
        distance = wire("distance", 32, Mux(instr[3], imm_j, Mux(instr[2], imm_u, imm_b)))
        loading = Signal()  # whether this is a load's second tick
        lane = Signal(2)  # lowest bits of the last address, kept so that a load's second tick waits for no sum
        half = wire("half", 16, Mux(lane[1], rdata[16:], rdata[:16]))
        byte = wire("byte", 8, Mux(lane[0], half[8:], half[:8]))

        # 2. Of those, each for itself
        m.d.comb += address.eq(a + offset)
        near = wire("near", 32, pc + distance)
        following = wire("following", 32, pc + 4)
        below = wire("below", 1, a < b)
        # Signed numbers lie as unsigned ones do that have the other top bit: so there is no overflow to wait for.
        less = wire("less", 1, Cat(a[:31], ~a[31]) < Cat(b[:31], ~b[31]))
        equal = wire("equal", 1, a == b)

        # 3. Which of them
        result = Signal(32)
        target = Signal(32)
        writes = Signal()
        jumps = Signal()
        reads = Signal()
        strobe = Signal(4)
        fault = Signal()
        cause = Signal(4)

        never = C(0)

        # Each instruction says itself when it does not write, so that no register waits for all that might stop it.
        def write(value: Any, unless: Any = never) -> list[Any]:
            return [writes.eq(~unless), result.eq(value)]

        def jump(condition: Any, to: Any = near) -> list[Any]:
            return [jumps.eq(condition), target.eq(to), *stop(Cause.MISALIGNED_JUMP, condition & to[1])]

        def load(value: Any, misaligned: Any = never) -> list[Any]:
            asks = reads.eq(~loading & ~misaligned)
            return [*write(value, unless=~loading), asks, *stop(Cause.MISALIGNED_LOAD, misaligned)]

        def store(value: Any, lanes: Any, misaligned: Any = never) -> list[Any]:
            data = self.wdata.eq(value.replicate(32 // len(value)))
            return [data, strobe.eq(Mux(misaligned, 0, lanes)), *stop(Cause.MISALIGNED_STORE, misaligned)]

        def stop(why: Cause, condition: Any = 1) -> list[Any]:
            return [fault.eq(condition), cause.eq(why)]

        lane_of_byte = Cat(address[:2] == at for at in range(4))
        lanes_of_half = Mux(address[1], 0b1100, 0b0011)
        odd, not_of_four = address[0], address[:2].any()
        instructions = {
            "lui": write(imm_u),
            "auipc": write(near),
            "jal": write(following, unless=near[1]) + jump(1),
            "jalr": write(following, unless=address[1]) + jump(1, Cat(C(0, 1), address[1:])),
            "beq": jump(equal),
            "bne": jump(~equal),
            "blt": jump(less),
            "bge": jump(~less),
            "bltu": jump(below),
            "bgeu": jump(~below),
            "lb": load(byte.as_signed()),
            "lh": load(half.as_signed(), odd),
            "lw": load(rdata, not_of_four),
            "lbu": load(byte),
            "lhu": load(half, odd),
            "sb": store(b[:8], lane_of_byte),
            "sh": store(b[:16], lanes_of_half, odd),
            "sw": store(b, 0b1111, not_of_four),
            "addi add": write(a + b),
            "slti slt": write(less),
            "sltiu sltu": write(below),
            "xori xor": write(a ^ b),
            "ori or": write(a | b),
            "andi and": write(a & b),
            "slli sll": write(a << b[:5]),
            "srli srl srai sra": write(Cat(a, a[31] & instr[30]).as_signed() >> b[:5]),
            "sub": write(a - b),
            "fence": [],
            "ecall": stop(Cause.ECALL),
            "ebreak": stop(Cause.EBREAK),
        }
        with m.Switch(instr):
            for names, statements in instructions.items():
                with m.Case(*(ENCODINGS[name] for name in names.split())):
                    m.d.comb += statements
            with m.Default():
                m.d.comb += stop(Cause.ILLEGAL)

        # 4. What is written
        awake = ~self.halted & ~ResetSignal()
        m.d.comb += [
            self.read.eq(awake & reads),
            self.strobe.eq(Mux(awake, strobe, 0)),
            rd.data.eq(result),
            rd.en.eq(awake & writes & rd.addr.any()),
        ]
        m.d.sync += [loading.eq(self.read), lane.eq(address[:2])]
        with m.If(awake & ~reads & ~fault):
            m.d.sync += pc.eq(Mux(jumps, target, following))
        with m.If(~self.halted & fault):
            m.d.sync += [self.halted.eq(1), self.cause.eq(cause)]
        return m


def core_rtlil(start: int = 0) -> str:
    """The core as RTLIL, the language of Yosys: a module `core` with one clock, `clk`, and a reset, `rst`.

    Args:
        start: `pc` after a reset.

    Raises:
        UsageError: it is no address of an instruction.
    """
    if not 0 <= start < 1 << 32 or start % 4:
        raise UsageError(f"start: expected an address of an instruction, a multiple of 4 below 2^32; got {start}.")
    text: str = rtlil.convert(Core(start), name="core", emit_src=False)
    return text
