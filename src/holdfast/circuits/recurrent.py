"""A synchronous circuit as a recurrent network: one step is one tick, and its state are the registers.

Shapes: B lanes that run side by side, T ticks, I bits in, O bits out, S bits of state.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.circuits.clocked import Clocked, Register
from holdfast.circuits.compiling import build
from holdfast.circuits.network import Network
from holdfast.circuits.sources import read_clocked
from holdfast.errors import HoldfastError, UsageError


class Recurrent(nn.Module):
    """The tick's `Network`, fed what it gave for the registers.

    All weights are the tick's, and gradients pass through as many ticks as there are.
    """

    def __init__(self, tick: Network, registers: Sequence[Register]) -> None:
        super().__init__()
        self.tick, self.registers = tick, tuple(registers)
        self.state_bits = sum(register.width for register in self.registers)

    @property
    def inputs(self) -> int:
        """Bits in at each tick."""
        return self.tick.inputs - self.state_bits

    def power_up(self, lanes: int) -> Tensor:
        """state_BS that registers hold at first."""
        bits = [float(r.initial >> i & 1) for r in self.registers for i in range(r.width)]
        return self.tick.weight.new_tensor(bits).expand(lanes, -1)

    def save(self, path: Path) -> None:
        """The tick's weights and structure, and its registers, in one safetensors file."""
        self.tick.save(path, registers=json.dumps([asdict(register) for register in self.registers]))

    @classmethod
    def load(cls, path: Path) -> "Recurrent":
        """What `save` wrote.

        Raises:
            HoldfastError: no such file, or not one of these.
        """
        tick, said = Network.load_with(path)
        try:
            registers = [
                Register(str(r["name"]), int(r["width"]), int(r["initial"])) for r in json.loads(said["registers"])
            ]
            widths = [len(port.bits) for port in tick.input_ports[-len(registers) :]] if registers else []
            if widths != [register.width for register in registers]:
                raise ValueError("its registers are not its last inputs")
        except (KeyError, ValueError, TypeError) as error:
            raise HoldfastError(
                f"{path} is no network of a clocked circuit that Recurrent.save wrote ({error})."
            ) from None
        return cls(tick, registers)

    def forward(self, x_BTI: Tensor, state_BS: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """outputs_BTO of each tick, and the state after the last.

        Args:
            x_BTI: bits in, 0 or 1.
            state_BS: before the first tick. Default: at power-up.

        Raises:
            UsageError: bits or a state of another shape.
        """
        if x_BTI.dim() != 3 or x_BTI.shape[2] != self.inputs:
            raise UsageError(
                f"{self.tick.name} takes bits of shape (B, T, {self.inputs}), T ticks; got {tuple(x_BTI.shape)}."
            )
        state_BS = self.power_up(len(x_BTI)) if state_BS is None else state_BS
        if tuple(state_BS.shape) != (len(x_BTI), self.state_bits):
            raise UsageError(
                f"The state of {self.tick.name} has shape ({len(x_BTI)}, {self.state_bits}); got "
                f"{tuple(state_BS.shape)}."
            )
        outputs = []
        for x_BI in x_BTI.unbind(1):
            out = self.tick(torch.cat([x_BI.to(state_BS.dtype), state_BS], 1))
            outputs.append(out[:, : out.shape[1] - self.state_bits])
            state_BS = out[:, out.shape[1] - self.state_bits :]
        width = len(self.tick.outputs) - self.state_bits
        return torch.stack(outputs, 1) if outputs else x_BTI.new_zeros(len(x_BTI), 0, width), state_BS


def recurrent(source: Clocked | str | Path, *, clock: str = "clk", top: str | None = None, **options: Any) -> Recurrent:
    """A synchronous circuit as a recurrent network, its tick compared with the simulator.

    Args:
        source: a file of Verilog or RTLIL, or what `read_clocked` gives.
        clock: of a file, its input that is the clock.
        top: of a file, the module.
        options: of `build`. `wide=True` makes ticks of few layers.

    Raises:
        UsageError: no such file, module, clock or option.
        HoldfastError: what cannot be compiled, or network and simulator differ.
    """
    clocked = source if isinstance(source, Clocked) else read_clocked(source, clock=clock, top=top)
    return Recurrent(build(clocked.tick, **options).exact(), clocked.registers)
