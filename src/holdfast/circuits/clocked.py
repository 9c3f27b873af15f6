"""A synchronous circuit as the logic of one tick of its clock, between registers."""

from dataclasses import dataclass

from holdfast.circuits.netlist import Netlist


@dataclass(frozen=True)
class Register:
    """A word that is kept from tick to tick."""

    name: str
    width: int
    initial: int = 0
    """At power-up, where the source says nothing 0."""


@dataclass(frozen=True)
class Clocked:
    """One clock, whose every rising edge sets all registers at once.

    The tick's last input ports are the registers, its last output ports what they become (`name'`), in the same order.
    """

    tick: Netlist
    registers: tuple[Register, ...]

    @property
    def state_bits(self) -> int:
        return sum(register.width for register in self.registers)
