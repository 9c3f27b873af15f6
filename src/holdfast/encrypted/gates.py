"""Gates of two encrypted bits, each by one bootstrapping.

A bit is 0 or a quarter of a turn. Sums of two bits, or twice that, lie in one half of the turn where the gate says 1
and in the other where it says 0; the table is minus an eighth in one half and an eighth in the other.
"""

import torch
from torch import Tensor

from holdfast.encrypted.bootstrap import Bootstrap
from holdfast.errors import nearest

EIGHTHS = {"or": 5, "and": 7, "nor": 1, "nand": 3, "xor": 6, "xnor": 2}
"""Where the half of the turn begins in which a gate says 1, in eighths: OpenFHE's."""
DOUBLED = ("xor", "xnor")
"""Those that look at twice the sum."""


def gate(network: Bootstrap, name: str, x: Tensor, y: Tensor) -> Tensor:
    """The gate of each pair of ciphertexts, (B, n+1) in ticks of q.

    Raises:
        UsageError: a gate that there is not.
    """
    if name not in EIGHTHS:
        raise nearest(name, EIGHTHS, what="gate")
    p = network.parameter_set
    total = (x + y) * (2 if name in DOUBLED else 1) % p.ciphertext_modulus
    eighth = p.modulus // 8 + 1
    found: Tensor = network(total, _halves(network, EIGHTHS[name], eighth), eighth)
    return found


def inverted(network: Bootstrap, x: Tensor) -> Tensor:
    """The other bit; no bootstrapping, and the noise stays."""
    q = network.parameter_set.ciphertext_modulus
    quarter = torch.zeros_like(x)
    quarter[..., -1] = q // 4
    other: Tensor = (quarter - x) % q
    return other


def _halves(network: Bootstrap, start: int, eighth: int) -> Tensor:
    """(2, N): minus an eighth where a phase less `start` eighths lies in a turn's first half, an eighth elsewhere."""
    p = network.parameter_set
    grid = min(p.ciphertext_modulus, 2 * p.degree)  # phases that there are
    every = 2 * p.degree // grid
    phases = (-torch.arange(grid // 2) - start * (grid // 8)) % grid
    table = torch.zeros(2, p.degree, dtype=torch.float64, device=network.switch.device)
    table[1, ::every] = torch.where(phases < grid // 2, -eighth, eighth).double().to(table.device)
    return table
