"""The core's ports as whole numbers: what stands on the rows of its network, and what is set on them.

Shapes: B lanes, R rows of the network, N bits of a port, S bits of state.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.circuits import Network, Recurrent
from holdfast.circuits.netlist import Port
from holdfast.circuits.stages import Rows, sums
from holdfast.errors import UsageError

LOAD, STORED = 0b10000, 0b01111
"""An access is a number: four bits for the bytes that are stored, and one for a load."""
HALF = 16
RUNS, HALTED = 0, -1
INPUTS = {"rdata": 32, "instr": 32, "pc": 32, "halted": 1, "cause": 4}
INPUTS |= {f"registers[{at}]": 32 for at in range(32)}
OUTPUTS = {"pc'": 32, "address": 32, "wdata": 32, "strobe": 4, "read": 1, "halted'": 1}


@dataclass(frozen=True)
class Asked:
    """What the cores want in a tick, each as a whole number for each lane."""

    pc_B: Tensor
    """Where the next instruction is."""
    address_B: Tensor
    data_B: Tensor
    access_B: Tensor
    waits_B: Tensor
    """1 if this was the first of a load's two ticks."""
    halted_B: Tensor
    """`RUNS` or `HALTED`."""


class Ports:
    """The rows of a core's network for B lanes, and its ports on them. Registers start as 0.

    Args:
        core: the core's tick with its registers.
        lanes: B.

    Raises:
        UsageError: the network is none of the core, or not exact in its dtype.
    """

    def __init__(self, core: Recurrent, lanes: int) -> None:
        tick = core.tick
        refuse_other(tick)
        self._rows = Rows(tick, lanes)
        self._values_RB = values_RB = self._rows.values_RB
        self._in = {port.name: values_RB[port.bits[0] : port.bits[-1] + 1] for port in tick.input_ports}
        self._state_SB, self._next_S = values_RB[core.inputs : tick.inputs], tick.outputs[-core.state_bits :]
        self._state_SB[:] = core.power_up(lanes).detach().T
        self._bits_32 = torch.arange(32, device=values_RB.device)
        self._asked = _sums_of_asked(tick)

    def tick(self) -> Asked:
        """Compute the network, make its next state its state, and say what it asks."""
        self._rows.compute()
        self._state_SB.copy_(self._values_RB.index_select(0, self._next_S))
        said_9B = sums(self._values_RB, *self._asked).long()
        words_3B = torch.add(said_9B[:3], said_9B[3:6], alpha=1 << HALF)
        return Asked(*words_3B.unbind(), *said_9B[6:].unbind())

    def set(self, port: str, words_B: Tensor) -> None:
        """Put these whole numbers on an input, or into a register."""
        bits_NB = self._in[port]
        bits_NB.copy_((words_B >> self._bits_32[: len(bits_NB), None]) & 1)

    def put(self, port: str, lane: int, word: int) -> None:
        """The same in one lane."""
        bits_NB = self._in[port]
        bits_NB[:, lane] = torch.tensor([word >> at & 1 for at in range(len(bits_NB))]).to(bits_NB)

    def word(self, port: str) -> Tensor:
        """What stands there, as whole numbers, one for each lane."""
        bits_NB = self._in[port].long()
        return (bits_NB << self._bits_32[: len(bits_NB), None]).sum(0)


def _sums_of_asked(tick: Network) -> tuple[Tensor, Tensor, Tensor]:
    """Nine numbers as sums over rows: offsets, rows, weights.

    The lower halves of three words and then the upper ones, since float32 holds no 32 bits; the access, the wait,
    and -1 if it has halted.
    """
    rows, at = {}, 0
    held = tick.outputs.tolist()
    for port in tick.output_ports:
        rows[port.name] = held[at : at + len(port.bits)]
        at += len(port.bits)
    words = [rows[name] for name in ("pc'", "address", "wdata")]
    numbers = [word[:HALF] for word in words] + [word[HALF:] for word in words]
    numbers += [rows["strobe"] + rows["read"], rows["read"], rows["halted'"]]
    weights = [[1 << i for i in range(len(number))] for number in numbers[:-1]] + [[HALTED]]
    offsets = [sum(map(len, numbers[:i])) for i in range(len(numbers))]
    of = tick.weight
    return (
        torch.tensor(offsets, device=of.device),
        torch.tensor([row for number in numbers for row in number], device=of.device),
        of.new_tensor([float(weight) for each in weights for weight in each]),
    )


def refuse_other(tick: Network) -> None:
    """
    Raises:
        UsageError: the network is none of the core.
    """
    refuse_ports(tick.name, tick.input_ports, tick.output_ports)


def refuse_ports(core: str, ins: Sequence[Port], outs: Sequence[Port]) -> None:
    """
    Raises:
        UsageError: these are not the ports of a core.
    """
    widths = {port.name: len(port.bits) for port in (*ins, *outs)}
    for name, width in (INPUTS | OUTPUTS).items():
        if widths.get(name) != width:
            got = f"{widths[name]} bits" if name in widths else "no such port"
            raise UsageError(
                f"A machine's core is the network that `compiled_core` gives, with {width} bits of {name}; got "
                f"{got} in {core}."
            )
