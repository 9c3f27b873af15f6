"""Encrypted programs whose weights are trained.

Shapes: K nets, B inputs, I bits in, O bits out, F fixed bits, C cells, n the small key's length, N the ring's degree.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

import torch
from torch import Tensor, nn

from holdfast.encrypted.descent import EXACT, Backward, bootstrapped, refuse_untrained
from holdfast.encrypted.network import EncryptedNetwork, Keyless, evaluate, refuse_shape
from holdfast.encrypted.parameters import ParameterSet
from holdfast.encrypted.program import Program
from holdfast.errors import UsageError

_BACKWARD: ContextVar[Backward] = ContextVar("backward", default=EXACT)
NAMES = ("masks", "bodies", "rotation", "switch", "fixed")
"""The groups of weights."""


@contextmanager
def backward(rule: Backward) -> Iterator[None]:
    """Inside, gradients of encrypted programs pass digits and rounding by this rule."""
    token = _BACKWARD.set(rule)
    try:
        yield
    finally:
        _BACKWARD.reset(token)


class TrainedNetwork(Keyless):
    """`EncryptedNetwork` with trainable weights, in turns, of which whole ones do not count (float64).

    Parameters, all of them numbers on the torus: `masks` and `bodies` (C, N) of its tables, a and b = a z + table +
    error, public ones too; `rotation` (n, digits, 2, 2, N);
    `switch` (N, digits, n+1); `fixed` (F, n+1). Ciphertexts are in ticks, as for `EncryptedNetwork`, whose answers it
    gives to the tick until a weight is moved. Gradients are exact unless `backward` says otherwise.
    """

    masks: nn.Parameter
    bodies: nn.Parameter
    rotation: nn.Parameter
    switch: nn.Parameter
    fixed: nn.Parameter

    def __init__(self, program: Program, parameter_set: ParameterSet) -> None:
        """All weights are 0; `of` is a network with those of another.

        Raises:
            UsageError: a set whose keys are not trained.
        """
        super().__init__()
        p = parameter_set
        refuse_untrained(p)
        self.program, self.parameter_set = program.public, p
        tables = len(program.cells), p.degree
        shapes: dict[str, tuple[int, ...]] = {
            "masks": tables,
            "bodies": tables,
            "rotation": (p.n, p.gadgets[0].digits, 2, 2, p.degree),
            "switch": (p.degree, p.switch.digits, p.n + 1),
            "fixed": (len(program.fixed), p.n + 1),
        }
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.zeros(shape, dtype=torch.float64)))

    @classmethod
    def of(cls, network: EncryptedNetwork) -> "TrainedNetwork":
        """
        Raises:
            UsageError: a set whose keys are not trained.
        """
        made = cls(network.program, network.parameter_set)
        made.load_state_dict(weights_of(network))
        return made

    def forward(self, ciphertexts: Tensor) -> Tensor:
        """(B, I, n+1) -> (B, O, n+1).

        Raises:
            UsageError: ciphertexts of another number, or of another set.
        """
        refuse_shape(self.program, self.parameter_set, ciphertexts)
        return run_one(self, ciphertexts)


@torch.no_grad()
def weights_of(network: EncryptedNetwork) -> dict[str, Tensor]:
    """What is trained of a network, in turns, by group.

    Raises:
        UsageError: a set whose keys are not trained.
    """
    p, keys = network.parameter_set, network.keys
    refuse_untrained(p)
    every = range(len(network.program.cells))
    tables = network.some_tables(every)
    ticks = {
        "masks": (tables[:, 0], p.modulus),
        "bodies": (tables[:, 1], p.modulus),
        "rotation": (keys.rotation[0][:, 0], p.modulus),
        "switch": (keys.switch, p.switch.modulus),
        "fixed": (network.fixed, p.ciphertext_modulus),
    }
    return {name: _centred(value.double() / modulus) for name, (value, modulus) in ticks.items()}


def run(
    program: Program,
    p: ParameterSet,
    weights: Mapping[str, Tensor],
    ciphertexts: Tensor,
    secret: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """K networks at once: weights (K, ...) in turns, ciphertexts (K, B, I, n+1) -> (K, B, O, n+1), in ticks.

    Args:
        secret: (small_Kn, ring_KN), where gradients may pass by it.

    Raises:
        UsageError: gradients are to pass by the key, and there is none.
    """
    back = _BACKWARD.get()
    if back.digits == "key":
        if secret is None:
            raise UsageError(
                "KeyAware passes gradients by the secret key, and this network has none: decrypt inside it, or take "
                "StraightThrough."
            )
        back = replace(back, small_Kn=secret[0], ring_KN=secret[1])
    held = _Held(p, weights, back)
    return evaluate(program, p, ciphertexts, held.fixed, held.some, held.bootstraps)


class _Held:
    """Weights (K, ...) in turns, as `evaluate` takes them."""

    def __init__(self, p: ParameterSet, weights: Mapping[str, Tensor], back: Backward) -> None:
        self.p, self.back = p, back
        self.tables = _ticks(torch.stack([weights["masks"], weights["bodies"]], 2), p.modulus)
        self.rotation = _ticks(weights["rotation"], p.modulus)
        self.switch = _ticks(weights["switch"], p.switch.modulus)
        self.fixed = _ticks(weights["fixed"], p.ciphertext_modulus)[:, None]

    def some(self, cells: Sequence[int]) -> Tensor:
        return self.tables[:, list(cells)]

    def bootstraps(self, totals: Tensor, each: Tensor, offset: int) -> Tensor:
        found = bootstrapped(self.p, self.rotation, self.switch, totals, each, self.back)
        return torch.cat([found[..., :-1], found[..., -1:] + offset], -1)


class CellByCell:
    """What a change of weights itself does to each cell, and not what follows from it: cells read what they read before
    the change."""

    @torch.no_grad()
    def __init__(
        self, program: Program, p: ParameterSet, weights: Mapping[str, Tensor], small_Kn: Tensor, ciphertexts: Tensor
    ) -> None:
        """
        Args:
            program: the cells.
            p: their parameter set.
            weights: (K, ...) each, in turns, before the change.
            small_Kn: the small keys, to decrypt what cells put out.
            ciphertexts: what goes in, (K, B, I, n+1).
        """
        self.levels, self.p, self.small_Kn = program.levels, p, small_Kn
        self._read: list[Tensor] = []
        held = _Held(p, weights, EXACT)

        def bootstraps(totals: Tensor, each: Tensor, offset: int) -> Tensor:
            self._read.append(totals)
            return held.bootstraps(totals, each, offset)

        evaluate(program, p, ciphertexts, held.fixed, held.some, bootstraps)
        self._before_KBC = self._phases(held)

    @torch.no_grad()
    def added(self, changed: Mapping[str, Tensor]) -> Tensor:
        """By how much each cell's phase is off with these weights, (K, B, C), in turns from -1/2 to 1/2."""
        return _centred(self._phases(_Held(self.p, changed, EXACT)) - self._before_KBC)

    def read(self) -> Tensor:
        """Which numbers of each cell's table these inputs fall on, (K, C, N)."""
        p, found = self.p, {}
        for cells, totals in zip(self.levels, self._read, strict=True):
            turned = torch.floor(totals * (2 * p.degree / p.ciphertext_modulus) + 0.5)
            phases = (turned[..., -1] - (turned[..., :-1] * self.small_Kn[:, None]).sum(-1)).long() % p.degree
            for at, cell in enumerate(cells):
                falls = torch.zeros(len(phases), p.degree, dtype=torch.bool, device=phases.device)
                found[cell] = falls.scatter_(1, phases[:, at :: len(cells)], True)
        return torch.stack([found[cell] for cell in range(len(found))], 1)

    def _phases(self, held: _Held) -> Tensor:
        """(K, B, C), in turns."""
        found: dict[int, Tensor] = {}
        for cells, totals in zip(self.levels, self._read, strict=True):
            count = totals.shape[1] // len(cells)
            each = held.some(cells)[:, None].expand(-1, count, -1, -1, -1).flatten(1, 2)
            out = held.bootstraps(totals, each, 0).view(len(totals), count, len(cells), -1)
            phases = out[..., -1] - (out[..., :-1] * self.small_Kn[:, None, None]).sum(-1)
            found |= zip(cells, phases.unbind(-1), strict=True)
        return torch.stack([found[cell] for cell in range(len(found))], -1) / self.p.ciphertext_modulus


def run_one(network: TrainedNetwork, ciphertexts: Tensor, secret: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """`run` of one network: (B, I, n+1) -> (B, O, n+1); `secret`: (small_n, ring_N)."""
    held = {name: getattr(network, name)[None] for name in NAMES}
    many = None if secret is None else (secret[0][None], secret[1][None])
    return run(network.program, network.parameter_set, held, ciphertexts[None], many)[0]


def _ticks(turns: Tensor, modulus: int) -> Tensor:
    return _centred(turns) * modulus


def _centred(turns: Tensor) -> Tensor:
    """The same points of the turn, in [-1/2, 1/2)."""
    return turns - torch.floor(turns.detach() + 0.5)
