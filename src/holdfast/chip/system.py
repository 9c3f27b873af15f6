"""A core, its ROM and its RAM as one recurrent network: what a program is trained through.

Shapes: K nets, B lanes of each, L = K B, R rows of ROM, W words of RAM, A bits of a word's address, S bits of state.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from holdfast.chip.compiled import compiled_core
from holdfast.chip.memory import Kind, Ram, regions, said
from holdfast.chip.ports import refuse_other
from holdfast.chip.program import Program
from holdfast.circuits import Recurrent
from holdfast.circuits.passing import both, units
from holdfast.errors import HoldfastError, UsageError, counted

ADDRESS = 30
"""A: all bits of an address but the two that choose a byte."""
MOST_WORDS = 4096
"""Of ROM and RAM together: each is a unit, or a row of them, of every lane in every tick."""


class State(NamedTuple):
    """Between two ticks: bits of the core's registers, the instruction at pc, the word that was asked for, and RAM."""

    registers_LS: Tensor
    instr_L32: Tensor
    rdata_L32: Tensor
    ram_LW32: Tensor


class System(nn.Module):
    """ROM is a layer of keys and values, RAM is state, and T ticks are T times the same layers.

    - ROM: row r is a unit, relu(keys_r . address + bias_r), 1 where all 30 bits of the address are its own; what is
      read are the rows of `words` that are on, summed. One lookup for the instruction at the next pc, one for loads.
    - RAM, with m where the address is its own: read = sum of products (m, old), e = product (m, strobe) for each byte,
      new = product (e, wdata) + product (not e, old) for each bit. A product is one unit, as in compiled circuits.

    Parameters: `core.tick.weight`, `core.tick.bias`, `keys` (R, A), `bias` (R), `words` (R, 32). Bits are 0 or 1, and
    so exact, while nothing is trained; trained words may be any numbers, and the ticks go on with them. Gradients pass
    all units by `circuits.passing`.

    As `Machine`, but: instructions come from ROM alone; what is outside of memory reads as 0 (which is no instruction),
    and stores there are lost; there is no output word. A core that has halted stays as it is, so T may be more ticks
    than the program takes.
    """

    keys: nn.Parameter
    bias: nn.Parameter
    words: nn.Parameter
    ram_keys: Tensor
    ram_bias: Tensor

    def __init__(self, program: Program, ram: Ram, core: Recurrent | None = None) -> None:
        """
        Args:
            program: all of it in ROM.
            ram: beside it.
            core: as of `Machine`. Its weights are this module's then.

        Raises:
            UsageError: a network that is no core.
            HoldfastError: a program that has memory of its own, does not fit, or too much memory.
        """
        super().__init__()
        self.core = compiled_core() if core is None else core
        refuse_other(self.core.tick)
        self.core.tick.again = True
        self.ram = ram
        held = [r for r in regions(program, ram) if r.kind != Kind.OUTPUT]
        rows = {w: 0 for r in held if r.kind == Kind.ROM for w in range(r.first, r.last)}
        if any(segment.writable for segment in program.segments):
            raise HoldfastError(f"The program has memory of its own ({said(held)}); expected all of it in ROM.")
        if len(rows) + ram.size // 4 > MOST_WORDS:
            raise HoldfastError(
                f"{len(rows)} words of ROM and {ram.size // 4} of RAM; expected {MOST_WORDS:,} at most in all."
            )
        for segment in program.segments:
            for at, byte in enumerate(segment.data, segment.address):
                rows[at // 4] |= byte << 8 * (at % 4)
        self.at = tuple(rows)
        """Of each row of ROM its address in words."""
        like = self.core.tick.weight
        self.keys, self.bias = (nn.Parameter(each) for each in _keys(list(rows), like))
        self.words = nn.Parameter(bits_of(torch.tensor(list(rows.values())), like))
        ram_keys, ram_bias = _keys(range(ram.address // 4, ram.end // 4), like)
        self.register_buffer("ram_keys", ram_keys)
        self.register_buffer("ram_bias", ram_bias)
        self.entry = program.entry

    def rows(self, address: int, count: int) -> range:
        """Rows of `words` with so many words from an address on.

        Raises:
            UsageError: they are not in ROM.
        """
        first = address // 4
        if address % 4 or first not in self.at or first + count - 1 not in self.at:
            raise UsageError(f"No {count} words of ROM are at {address:#x}.")
        return range(self.at.index(first), self.at.index(first) + count)

    def forward(self, ram_BW32: Tensor, ticks: int) -> Tensor:
        """RAM after so many ticks from the program's entry, (B, W, 32); at first it is `ram_BW32`, all registers 0."""
        return self.run(ram_BW32[None], ticks)[0]

    def run(self, ram_KBW32: Tensor, ticks: int, words_KR32: Tensor | None = None) -> Tensor:
        """The same of K nets that share all but their ROM's words.

        Raises:
            UsageError: RAM or words of another shape, or no ticks.
        """
        counted("A run", ticks=ticks)
        words_KR32 = self.words[None] if words_KR32 is None else words_KR32
        size, nets = self.ram.size // 4, len(ram_KBW32)
        if ram_KBW32.dim() != 4 or ram_KBW32.shape[2:] != (size, 32):
            raise UsageError(f"This system has RAM of (K, B, {size}, 32) bits; got {tuple(ram_KBW32.shape)}.")
        if words_KR32.shape != (nets, len(self.at), 32):
            raise UsageError(
                f"Of {nets} nets the words of ROM are ({nets}, {len(self.at)}, 32); got {tuple(words_KR32.shape)}."
            )
        state = self.start(ram_KBW32, words_KR32)
        for _ in range(ticks):
            state = self.tick(state, words_KR32)
        return state.ram_LW32.view_as(ram_KBW32)

    def start(self, ram_KBW32: Tensor, words_KR32: Tensor) -> State:
        """Before the first tick: at the program's entry."""
        ram_LW32 = ram_KBW32.flatten(0, 1).to(self.words.dtype)
        lanes, tick = len(ram_LW32), self.core.tick
        (pc,) = (port.bits[0] - self.core.inputs for port in tick.input_ports if port.name == "pc")
        entry = bits_of(torch.tensor([self.entry]), self.words).expand(lanes, -1)
        powered = self.core.power_up(lanes)
        registers_LS = torch.cat([powered[:, :pc], entry, powered[:, pc + 32 :]], 1)
        instr_L32 = _read(self._match(entry), words_KR32)
        return State(registers_LS, instr_L32, torch.zeros_like(instr_L32), ram_LW32)

    def tick(self, state: State, words_KR32: Tensor) -> State:
        """One tick of every lane."""
        tick, lanes = self.core.tick, len(state.ram_LW32)
        given = {"instr": state.instr_L32, "rdata": state.rdata_L32, "rst": state.instr_L32.new_zeros(lanes, 1)}
        x_LI = [given[port.name] for port in tick.input_ports[: -len(self.core.registers)]]
        out = tick(torch.cat([*x_LI, state.registers_LS], 1))
        widths = [len(port.bits) for port in tick.output_ports]
        asked = dict(zip((port.name for port in tick.output_ports), out.split(widths, 1), strict=True))
        match_LR = self._match(torch.cat([asked["pc'"], asked["address"]]))
        instr_L32, rom_L32 = (_read(half, words_KR32) for half in (match_LR[:lanes], match_LR[lanes:]))
        match_LW1 = units(asked["address"][:, 2:], self.ram_keys, self.ram_bias)[..., None]
        rdata_L32 = rom_L32 + both(match_LW1, state.ram_LW32).sum(1)
        enable_LW32 = both(match_LW1, asked["strobe"][:, None]).repeat_interleave(8, 2)
        ram_LW32 = both(enable_LW32, asked["wdata"][:, None]) + both(1 - enable_LW32, state.ram_LW32)
        return State(out[:, -self.core.state_bits :], instr_L32, rdata_L32, ram_LW32)

    def _match(self, address_L32: Tensor) -> Tensor:
        return units(address_L32[:, 2:], self.keys, self.bias)


def bits_of(values: Tensor, like: Tensor) -> Tensor:
    """Whole numbers (...) from 0 to 2^32 as bits (..., 32), the lowest first, of this dtype and device."""
    return (values.to(like.device)[..., None] >> torch.arange(32, device=like.device) & 1).to(like.dtype)


def values_of(bits: Tensor) -> Tensor:
    """Bits (..., 32), or what has become of them, as numbers (...), float64."""
    return bits.double() @ torch.exp2(torch.arange(32, device=bits.device)).double()


def _keys(words: "list[int] | range", like: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (R, A) and biases (R) of units that are 1 at these addresses and 0 elsewhere."""
    bits_RA = bits_of(torch.tensor(list(words), dtype=torch.long), like)[:, :ADDRESS]
    return 4 * bits_RA - 2, 1 - 2 * bits_RA.sum(1)


def _read(match_LR: Tensor, words_KR32: Tensor) -> Tensor:
    return torch.bmm(match_LR.view(len(words_KR32), -1, words_KR32.shape[1]), words_KR32).flatten(0, 1)
