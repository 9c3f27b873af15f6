"""An encrypted table that is read by a tree of multiplexers: neither what is looked up is known, nor where.

Shapes: B inputs, k bits of an index, N the ring's degree, R = 2 x digits rows.
"""

from math import erfc, log2, sqrt

import torch
from torch import Tensor, nn

from holdfast.encrypted.bootstrap import Bootstrap, expect, signed, within
from holdfast.encrypted.network import Keyless, height
from holdfast.encrypted.noise import ACCEPTED, Noise
from holdfast.encrypted.parameters import ParameterSet
from holdfast.encrypted.program import QUARTER
from holdfast.encrypted.ring import Ring
from holdfast.errors import HoldfastError, UsageError


class EncryptedTable(Keyless):
    """2^k encrypted bits, and an index that comes in as one selector a bit: (B, k, digits, 2, 2, N) -> (B, n+1).

    Level by level, from the lowest bit of the index: of two entries, d0 + C (d1 - d0), C the selector, an encryption of
    the bit in the form of a rotation key, and the product that of gadget digits with its rows. No bootstrapping: noise
    grows with k (`Noise.tree`), and what comes out is a quarter of a turn for a 1, ready for gates. Selectors have
    R x 2 x N numbers, not n + 1 (`SecretKey.selectors`). Chillotti et al. 2020 (eprint 2018/421), section 5.

    When it misleads: how large the table is and how many bits its index has is public.

    `entries` (2^k, 2, N), in ticks of Q: encryptions whose constant coefficient is the bit.
    """

    def __init__(self, keys: Bootstrap, entries: Tensor) -> None:
        """
        Raises:
            UsageError: a number of entries that is no power of two.
            HoldfastError: more levels than the noise allows.
        """
        super().__init__()
        p = keys.parameter_set
        self.parameter_set, self.keys, self.ring = p, keys, Ring(p.degree)
        self.bits = int(log2(max(1, len(entries))))
        if len(entries) != 1 << self.bits or not self.bits:
            raise UsageError(f"A table has 2, 4, 8, ... entries; got {len(entries)}.")
        expect(entries, (len(entries), 2, p.degree), "entries")
        refuse_depth(p, self.bits)
        self.entries = nn.Parameter(entries, requires_grad=False)

    def forward(self, selectors: Tensor) -> Tensor:
        """
        Raises:
            HoldfastError: selectors of another set, or of an index of another length.
        """
        p = self.parameter_set
        expect(selectors, (len(selectors), self.bits, p.gadgets[0].digits, 2, 2, p.degree), "selectors")
        values = self.entries.double().expand(len(selectors), -1, -1, -1)
        for level in range(self.bits):
            low, high = values[:, 0::2], values[:, 1::2]
            values = within(low + self._times(selectors[:, level], high - low), p.modulus)
        acc = values[:, 0]
        return self.keys.switched(self.keys.extracted(acc, height(p, QUARTER)))

    def _times(self, selector: Tensor, x: Tensor) -> Tensor:
        """The external product: (B, digits, 2, 2, N), (B, M, 2, N) -> (B, M, 2, N)."""
        p, gadget = self.parameter_set, self.parameter_set.gadgets[0]
        cut = signed(within(x, p.modulus), gadget.unit, gadget.base, gadget.digits, p.modulus)
        digits = self.ring.forward(torch.stack(cut, 2).flatten(2, 3))  # B, M, R, H
        rows = self.ring.forward(selector.double().flatten(1, 2))  # B, R, 2, H
        return self.ring.backward(torch.einsum("bmrh,brsh->bmsh", digits, rows)).round()


def refuse_depth(p: ParameterSet, levels: int) -> None:
    """
    Raises:
        HoldfastError: a tree whose noise would turn bits over.
    """
    wrong = erfc(float(QUARTER) / 2 / sqrt(2 * Noise(p).tree(levels)))
    if wrong > ACCEPTED:
        raise HoldfastError(
            f"A tree of {levels} levels is too deep for {p.name}: {wrong:.2g} of its answers would be wrong "
            f"({ACCEPTED:.2g} at most is accepted), as noise grows with each level and nothing is bootstrapped. Use "
            f"fewer bits of index, a larger set, or program_of, which bootstraps every table."
        )
