"""Gates of two encrypted bits, each by one bootstrapping."""

import torch
from torch import Tensor

from holdfast.encrypted.bootstrap import Bootstrap
from holdfast.encrypted.network import height, polynomial, total
from holdfast.encrypted.program import QUARTER, gate_cell


def gate(network: Bootstrap, name: str, x: Tensor, y: Tensor) -> Tensor:
    """The gate of each pair of ciphertexts, (B, n+1) in ticks of q; bits are quarters of a turn.

    Raises:
        UsageError: a gate that there is not.
    """
    p, cell = network.parameter_set, gate_cell(name, (0, False), (1, False))
    table = polynomial(p, cell).to(network.switch.device)
    found: Tensor = network(total(p, cell, [x, y]), torch.stack([torch.zeros_like(table), table]), height(p, QUARTER))
    return found


def inverted(network: Bootstrap, x: Tensor) -> Tensor:
    """The other bit; no bootstrapping, and the noise stays."""
    q = network.parameter_set.ciphertext_modulus
    quarter = torch.zeros_like(x)
    quarter[..., -1] = q // 4
    other: Tensor = (quarter - x) % q
    return other
