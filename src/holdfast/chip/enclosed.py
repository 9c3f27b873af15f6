"""A look-up on a chip whose client stands inside the network: bits in, answers out, ciphertexts in between.

Shapes: N inputs, n the key's length, Z encryptions of zero.
"""

import numpy as np
import torch
from torch import Tensor

from holdfast.chip.lookup import MESSAGES, SELECTORS, TURN, Client, Lookup, N, answered, asked
from holdfast.chip.system import bits_of
from holdfast.encrypted.enclosed import ZEROS, OwnPrecision, coins

SELECTS = SELECTORS.bit_length() - 1
"""Bits of a selector."""
BITS = SELECTS + MESSAGES.bit_length() - 1
"""Of an input: the selector's, then the message's, lowest first."""


class EnclosedLookup(OwnPrecision):
    """Encrypts a message, has the chip add the row that the selector names, and decrypts: (N, 5) bits to (N, 4)
    answers.

    An answer w is 1 where the phase is w / 4, and falls to 0 a quarter of a turn away. The network holds the key, as it
    must to put out anything that is not encrypted; masks are sums of some of Z encryptions of zero, which ones told by
    a number that goes with each input (as in `encrypted.Enclosed`, with the same caveat). So the client's public key is
    what the network encrypts with, and the chip sees ciphertexts only.

    Parameters: those of `System`. Gradients end at the bits of input ciphertexts.
    """

    key: Tensor
    zeros: Tensor

    inputs, outputs = BITS, MESSAGES

    def __init__(self) -> None:
        """With zeros in its table, and without a key."""
        super().__init__()
        self.lookup = Lookup(levels=1)
        self.system = self.lookup.system()
        self.register_buffer("key", torch.zeros(N, dtype=torch.float64))
        self.register_buffer("zeros", torch.zeros(ZEROS, N + 1, dtype=torch.float64))

    @torch.no_grad()
    def hold(self, table: tuple[int, ...], seed: int, *, trivial: bool = False) -> None:
        """Take over a client's key, drawn from the seed, and a table that it encrypts (`trivial`: without masks)."""
        generator = np.random.Generator(np.random.Philox(key=seed))
        client = Client.drawn(generator)
        owner = Client(client.key_n, masked=not trivial)
        rows_RC = torch.from_numpy(owner.encrypt(np.array(table), generator))
        at = list(self.lookup.rows(self.system, 0))
        self.system.words[at] = bits_of(rows_RC.T.reshape(-1), self.system.words)
        self.key.copy_(torch.from_numpy(client.key_n))
        self.zeros.copy_(torch.from_numpy(client.encrypt(np.zeros(ZEROS, np.int64), generator)))

    def forward(self, bits_NI: Tensor, noise_N: Tensor) -> Tensor:
        """
        Args:
            bits_NI: (N, 5) of 0 and 1.
            noise_N: int64, of each input.
        """
        whole = (bits_NI.detach() > 0.5).long()
        weights = torch.exp2(torch.arange(BITS, device=whole.device)).long()
        selector_N = (whole[:, :SELECTS] * weights[:SELECTS]).sum(1)
        message_N = (whole[:, SELECTS:] * weights[: BITS - SELECTS]).sum(1)
        words_NC = (coins(noise_N, 1)[:, 0] @ self.zeros).long()
        words_NC[:, -1] += message_N * (TURN // MESSAGES)
        ram = asked(selector_N, words_NC % TURN, self.system.words)
        words = answered(self.system(ram, self.lookup.ticks))
        phases_N = (words[:, -1] - words[:, :-1] @ self.key) / TURN
        apart = phases_N[:, None] - torch.arange(MESSAGES, device=phases_N.device) / MESSAGES
        apart = apart - torch.floor(apart.detach() + 0.5)
        return (1 - MESSAGES * apart.abs()).relu().to(bits_NI.dtype)
