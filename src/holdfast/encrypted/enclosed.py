"""A program whose client stands inside the network: bits in, bits out, ciphertexts in between.

Shapes: N inputs, I bits in, O bits out, Z encryptions of zero, n the small key's length.
"""

from collections.abc import Callable, Mapping
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.encrypted.client import SecretKey
from holdfast.encrypted.parameters import ParameterSet
from holdfast.encrypted.program import Program
from holdfast.encrypted.trained import NAMES, TrainedNetwork, run

CLIENT = ("small", "ring", "zeros")
"""What the client brings into the network."""
ZEROS = 64
"""Encryptions of zero in the public key: sums of some of them are 2^64 fresh masks."""


class OwnPrecision(nn.Module):
    """Goes to another device, and to no other dtype: in which its sums would be wrong."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def moved(value: Tensor) -> Tensor:
            return value.to(fn(value.new_zeros(())).device) if value.device.type != "meta" else fn(value)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return self


class Enclosed(OwnPrecision):
    """Encrypts what goes in, by a public key, computes on ciphertexts, and decrypts what comes out.

    The network then holds the secret key (`small`, `ring`), as it must to put out anything that is not encrypted: who
    has the network has the key, and only descent may not find its way. A bit x is encrypted as x step + the sum of some
    of Z encryptions of zero; which ones is told by `noise`, so that equal noise gives equal ciphertexts. A phase phi is
    read as phi / step, modulo a turn from -3/8 to 5/8: linear, so that gradients pass, by the secret key's product.

    Its weights are float64 whatever the network around it is made.

    When it misleads: the coins are a public function of the input, so who has the network could take an input's masks
    off without the key; and an input that is met again brings the same ciphertext, as one that is memorised would.
    Inputs that differ by less than 2^-17 in every entry share their masks.
    """

    small: Tensor
    ring: Tensor
    zeros: Tensor

    def __init__(self, network: TrainedNetwork) -> None:
        super().__init__()
        p = network.parameter_set
        self.network = network
        for name, size in (("small", (p.n,)), ("ring", (p.degree,)), ("zeros", (ZEROS, p.n + 1))):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))

    @property
    def inputs(self) -> int:
        return self.network.program.input_bits

    @property
    def outputs(self) -> int:
        return len(self.network.program.output_bits)

    @torch.no_grad()
    def hold(self, key: SecretKey, network: TrainedNetwork) -> None:
        """Take over a client's keys, and the network that it made."""
        for mine, its in zip(self.network.parameters(), network.parameters(), strict=True):
            mine.copy_(its)
        self.small.copy_(torch.from_numpy(key.small_n))
        self.ring.copy_(torch.from_numpy(key.ring_N))
        self.zeros.copy_(key.encrypt(torch.zeros(ZEROS, dtype=torch.long)))

    def forward(self, bits_NI: Tensor, noise_N: Tensor) -> Tensor:
        """(N, I) numbers of 0 to 1 -> (N, O), 0 or 1 for encrypted bits.

        Args:
            noise_N: int64, of each input.
        """
        network = self.network
        held = {name: getattr(network, name)[None] for name in NAMES}
        client = {name: getattr(self, name)[None] for name in CLIENT}
        return enclosed(network.program, network.parameter_set, held, client, bits_NI[None], noise_N[None])[0]


def enclosed(
    program: Program,
    p: ParameterSet,
    weights: Mapping[str, Tensor],
    client: Mapping[str, Tensor],
    bits_KNI: Tensor,
    noise_KN: Tensor,
) -> Tensor:
    """What `Enclosed` puts out, of K networks at once: (K, N, I) -> (K, N, O).

    Args:
        weights: (K, ...) each, in turns, as `TrainedNetwork` has them.
        client: (K, ...) each, as `Enclosed` has them.
        noise_KN: int64.
    """
    ciphertexts = encrypted(program, p, client, bits_KNI, noise_KN)
    out = run(program, p, weights, ciphertexts, (client["small"], client["ring"]))
    phases = (out[..., -1] - (out[..., :-1] * client["small"][:, None, None]).sum(-1)) / p.ciphertext_modulus
    read = phases - torch.floor(phases.detach() + 0.375)
    return (read / torch.tensor([float(step) for step in program.steps]).to(read)).to(bits_KNI.dtype)


def encrypted(
    program: Program, p: ParameterSet, client: Mapping[str, Tensor], bits_KNI: Tensor, noise_KN: Tensor
) -> Tensor:
    """What K networks' programs read: (K, N, I) -> (K, N, I, n+1), in ticks."""
    hidden = coins(noise_KN, bits_KNI.shape[2]) @ client["zeros"][:, None]
    message = bits_KNI.double()[..., None] * (float(program.step) * p.ciphertext_modulus)
    return torch.cat([hidden[..., :-1], hidden[..., -1:] + message], -1) % p.ciphertext_modulus


def noise_of(x_N: Tensor) -> Tensor:
    """A number (int64) of each input that tells inputs apart: its entries, as multiples of 2^-16, times odd numbers,
    summed modulo 2^64."""
    return _weighed(x_N).sum(1)


def noise_of_prefixes(x_NT: Tensor) -> Tensor:
    """The same of each position of sequences, from what stands up to there: (N, T)."""
    return _weighed(x_NT).cumsum(1)


def _weighed(x_N: Tensor) -> Tensor:
    entries = x_N.flatten(1)
    whole = (entries.double() * 65536).round().long() if entries.is_floating_point() else entries
    drawn = np.random.Generator(np.random.Philox(key=1)).integers(-(2**62), 2**62, whole.shape[1])
    return (whole + 1) * (2 * torch.from_numpy(drawn) + 1).to(whole.device)


def coins(noise: Tensor, bits: int) -> Tensor:
    """(..., I, Z) of 0 and 1: the top bits of SplitMix64 (Steele, Lea & Flood 2014) counted from the noise."""
    counter = torch.arange(bits * ZEROS, device=noise.device) + 1
    z = noise[..., None] + counter * -7046029254386353131  # 0x9E3779B97F4A7C15
    z = (z ^ _right(z, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    z = (z ^ _right(z, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return (z < 0).view(*noise.shape, bits, ZEROS).double()


def _right(z: Tensor, by: int) -> Tensor:
    """Shifted right as if it had no sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)
