"""A program on encrypted bits as a network: its weights are evaluation keys, encrypted tables and encrypted bits.

Shapes: K nets (where there are several), B inputs, I bits in, O bits out, F fixed bits, C cells, n the small key's
length, N the ring's degree.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from holdfast.encrypted.bootstrap import Bootstrap, expect, within
from holdfast.encrypted.parameters import SETS, ParameterSet
from holdfast.encrypted.program import Cell, Program
from holdfast.errors import HoldfastError, UsageError

Bootstraps = Callable[[Tensor, Tensor, int], Tensor]
"""Ciphertexts (..., B, n+1), tables (..., B, 2, N) and what is added to the result -> ciphertexts; all in ticks."""


def height(p: ParameterSet, step: Fraction) -> int:
    """Half of what a bit is, in ticks of Q, rounded up as OpenFHE does."""
    return int(p.modulus * step / 2) + 1


def polynomial(p: ParameterSet, cell: Cell) -> Tensor:
    """A cell's table as a polynomial (N) in ticks of Q: minus half a bit where it says 0, half a bit where it says 1.

    The accumulator begins with X^b table, so coefficient j stands for phase -j. Where q is less than 2N, phases in
    between do not occur, and their coefficients are 0.
    """
    grid = min(p.ciphertext_modulus, 2 * p.degree)
    phases = -torch.arange(grid // 2) % grid
    upper = phases >= grid // 2
    slots = torch.tensor(cell.slots)[phases % (grid // 2) * len(cell.slots) // (grid // 2)] ^ upper
    table = torch.zeros(p.degree, dtype=torch.float64)
    table[:: 2 * p.degree // grid] = torch.where(slots, 1.0, -1.0).double() * height(p, cell.step)
    return table


def total(p: ParameterSet, cell: Cell, reads: Sequence[Tensor]) -> Tensor:
    """What a cell's table is asked for, (..., n+1) in ticks of q."""
    found = sum(weight * x for weight, x in zip(cell.weights, reads, strict=True))
    assert isinstance(found, Tensor)
    start = found.new_zeros(p.n + 1)
    start[-1] = round(cell.start * p.ciphertext_modulus)
    return within(found + start, p.ciphertext_modulus)


class Secret:
    """What stays with the client."""


class Keyless(nn.Module):
    """A network that takes no secret as an attribute: whoever has the network would have it."""

    def __setattr__(self, name: str, value: Any) -> None:
        """
        Raises:
            HoldfastError: a secret key.
        """
        if isinstance(value, Secret):
            raise HoldfastError(
                "A secret key does not go into the network: whoever has the network would have the key. Keep it in a "
                "variable of the client's; SecretKey.save writes it to a file of its own."
            )
        super().__setattr__(name, value)


class EncryptedNetwork(Keyless):
    """A program on ciphertexts, (B, I, n+1) -> (B, O, n+1) in ticks of q; exact, and its weights stand still.

    `keys`: evaluation keys. `fixed` (F, n+1): ciphertexts of the program's own bits, in ticks of q. `tables`
    (C, 2, N): its tables, encrypted, in ticks of Q; None where they are public. The secret key is not in it, and is
    refused. `holdfast.encrypted.trained` gives the same network with weights that are trained.
    """

    def __init__(
        self, program: Program, keys: Bootstrap, fixed: Tensor, tables: Tensor | None, *, trivial: bool = False
    ) -> None:
        super().__init__()
        self.program, self.parameter_set, self.keys = program, keys.parameter_set, keys
        self.trivial = trivial
        """Whether its keys and tables have no masks, as a control: then it hides nothing."""
        self.fixed = nn.Parameter(fixed, requires_grad=False)
        self.tables = None if tables is None else nn.Parameter(tables, requires_grad=False)

    def forward(self, ciphertexts: Tensor) -> Tensor:
        """
        Raises:
            UsageError: ciphertexts of another number, or of another set.
        """
        refuse_shape(self.program, self.parameter_set, ciphertexts)
        return evaluate(self.program, self.parameter_set, ciphertexts, self.fixed.double(), self.some_tables, self.keys)

    def some_tables(self, cells: Sequence[int]) -> Tensor:
        """Tables of some cells, (C, 2, N) in ticks of Q."""
        if self.tables is not None:
            return self.tables[list(cells)].double()
        return public_tables(self.program, self.parameter_set, cells).to(self.fixed.device)

    def extra_repr(self) -> str:
        program = self.program
        keys = ", TRIVIAL KEYS: hides nothing" if self.trivial else ""
        return (
            f"{program.name}: {program.input_bits} bits -> {len(program.output_bits)}, {len(program.cells)} cells{keys}"
        )

    def save(self, path: Path) -> None:
        """Weights and program in one safetensors file, which says that it is a planted program.

        Raises:
            HoldfastError: something was added to it that is no part of the program.
        """
        held = {name: value.contiguous() for name, value in self.state_dict().items()}
        rotation = [f"keys.rotation.{i}" for i in range(len(self.parameter_set.gadgets))]
        if others := set(held) - {"fixed", "tables", "keys.switch", *rotation}:
            raise HoldfastError(
                f"An encrypted network is saved with its keys, tables and bits; got {sorted(others)} as well. A secret "
                f"key stays with the client (SecretKey.save)."
            )
        said = {"holdfast": "encrypted program", "set": self.parameter_set.name, "program": self.program.to_json()}
        if self.trivial:
            said["keys"] = "trivial"
        save_file(held, path, metadata=said)

    @classmethod
    def load(cls, path: Path) -> "EncryptedNetwork":
        """What `save` wrote.

        Raises:
            HoldfastError: no such file, or not one of these.
        """
        try:
            with safe_open(path, framework="pt") as file:
                said = file.metadata() or {}
                held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            program, p = Program.from_json(said["program"]), SETS[said["set"]]
            rotation = [held[f"keys.rotation.{i}"] for i in range(len(p.gadgets))]
            keys = Bootstrap(p, rotation, held["keys.switch"])
            fixed, tables = held["fixed"], held["tables"] if program.hidden else None
            expect(fixed, (len(program.fixed), p.n + 1), "bits")
            if tables is not None:
                expect(tables, (len(program.cells), 2, p.degree), "tables")
            names = {"fixed", "keys.switch", *(f"keys.rotation.{i}" for i in range(len(rotation)))}
            if set(held) != names | ({"tables"} if program.hidden else set()):
                raise ValueError(f"it holds {sorted(held)}")
            for name, value in held.items():
                bound = {"keys.switch": p.switch.modulus, "fixed": p.ciphertext_modulus}.get(name, p.modulus)
                least, most = (int(value.min()), int(value.max())) if value.numel() else (0, 0)
                if value.is_floating_point() or least < 0 or most >= bound:
                    raise ValueError(f"{name} holds other numbers than whole ones from 0 to {bound - 1}")
        except OSError as error:
            raise HoldfastError(
                f"{path}: {error.strerror or error}. Expected what EncryptedNetwork.save wrote."
            ) from None
        except (SafetensorError, LookupError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise HoldfastError(f"{path} is no network that EncryptedNetwork.save wrote ({error}).") from None
        return cls(program, keys, fixed, tables, trivial=said.get("keys") == "trivial")


def refuse_shape(program: Program, p: ParameterSet, ciphertexts: Tensor) -> None:
    """
    Raises:
        UsageError: ciphertexts of another number, or of another set.
    """
    expected = program.input_bits, p.n + 1
    if ciphertexts.dim() != 3 or tuple(ciphertexts.shape[-2:]) != expected:
        raise UsageError(
            f"{program.name} under {p.name} takes ciphertexts of shape (B, {expected[0]}, {expected[1]}); got "
            f"{tuple(ciphertexts.shape)}."
        )


def public_tables(program: Program, p: ParameterSet, cells: Sequence[int]) -> Tensor:
    """Tables of some cells without mask and noise, (C, 2, N)."""
    found = torch.zeros(len(cells), 2, p.degree, dtype=torch.float64)
    for row, i in enumerate(cells):
        found[row, 1] = polynomial(p, program.cells[i])
    return found


def evaluate(
    program: Program,
    p: ParameterSet,
    ciphertexts: Tensor,
    fixed: Tensor,
    tables: Callable[[Sequence[int]], Tensor],
    bootstraps: Bootstraps,
) -> Tensor:
    """The program on ciphertexts (..., B, I, n+1) -> (..., B, O, n+1), in ticks of q; level by level.

    Args:
        fixed: ciphertexts of the program's own bits, (..., F, n+1).
        tables: of some cells, by their numbers, (..., C, 2, N) in ticks of Q.
        bootstraps: the network.
    """
    q, lead = p.ciphertext_modulus, ciphertexts.shape[:-2]
    values: dict[int, Tensor] = dict(enumerate(ciphertexts.unbind(-2)))
    for at, own in enumerate(fixed.unbind(-2)):
        values[program.input_bits + at] = own.expand(*lead, -1)
    first = program.input_bits + len(program.fixed)
    for level in program.levels:
        cells = [program.cells[i] for i in level]
        totals = torch.stack([total(p, cell, [values[v] for v in cell.reads]) for cell in cells], -2)
        each = tables(level).unsqueeze(-4).expand(*totals.shape[:-1], 2, -1)
        start = len(lead) - 1
        found = bootstraps(totals.flatten(start, -2), each.flatten(start, -3), height(p, cells[0].step))
        values |= {first + i: x for i, x in zip(level, found.view_as(totals).unbind(-2), strict=True)}
    zero = torch.zeros_like(ciphertexts[..., 0, :])
    out = []
    for (value, inverted), step in zip(program.output_bits, program.steps, strict=True):
        x = values[value] if value >= 0 else zero
        out.append(torch.cat([-x[..., :-1], round(step * q) - x[..., -1:]], -1) if inverted else x)
    return within(torch.stack(out, -2), q)
