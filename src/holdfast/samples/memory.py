"""A memory: neurons that hold one of L levels, through layers that add noise.

Shapes: B messages, N neurons, D layers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from holdfast.training.streams import Streams

CHUNK = 256
"""Messages that are recalled at once: a layer's values still fit a core's cache."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """N neurons, each at one of L levels, handed on through D layers of permutations.

    A layer computes x <- R(clip(W x + n - width/2)): W starts as a permutation matrix, n ~ U[0, width] is drawn for
    every neuron, layer and message, its mean is taken off by the bias, what is read is kept within [-1, 1], and R
    brings it back to a level by L - 1 ramps of two ReLU units each,

        R(z) = level_0 + s sum_l [relu(u_l) - relu(u_l - 1)],   u_l = steepness (z - threshold_l) / width + 1/2,

    thresholds midway. At the end the nearest level is what is recalled. Levels are equally spaced over [-1, 1].

    The error of one neuron in one layer, if R were a staircase: U[-width/2, width/2] is added, so an inner level is
    left where that exceeds s/2 on either side, and an end level where it does so inwards (outwards it is clipped, and
    the end level all the same). With s = 2 / (L - 1):

        0 while s >= width;   else 1 - s/width for inner levels, (1 - s/width) / 2 for the two ends,

    and (1 - s/width) (L - 1) / L over uniform levels. At width 1 so many levels are free of errors as fit one noise
    width apart into a range of 2: three, log2 3 = 1.585 bits, of which the third is on the edge; at four, s = 2/3.
    With two levels half a noise width is left over; with three nothing is.

    If the noise counts as part of the value that is kept within [-1, 1] (`inside`), a level must leave room for it:
    levels lie in [-1, 1 - width], that is [-1, 0] at width 1, s = (2 - width) / (L - 1), and exactly two are free of
    errors: one bit, and nothing is left over. It is in this reading that each neuron holds one bit.

    When it misleads: R is no staircase. What lands on a ramp, within width / (2 steepness) of a threshold, becomes a
    value between two levels, which the next layer's noise can carry over. Where levels are just one noise width apart
    that happens, to an inner level, about 1/(4 steepness) times a layer: at the steepness here, hardly ever; at 16, all
    the time, and then the third level is not free of errors at all. Weights other than those of W are not changed.
    """

    neurons: int = 64
    layers: int = 16
    width: float = 1.0
    """Of the noise."""
    clipped: bool = True
    """Whether values are kept within [-1, 1]. If not, levels are one noise width apart, as many as one likes."""
    restored: bool = True
    """Whether every layer brings values back to a level. If not, only the last reading does."""
    inside: bool = False
    """Whether the noise counts as part of the value that is kept within [-1, 1]."""
    steepness: float = 2.0**40
    """A ramp rises within width / steepness. Double precision resolves this one."""

    def spacing(self, levels: int) -> float:
        """Distance of two neighbouring levels."""
        if not self.clipped:
            return self.width
        return (2 - self.width * self.inside) / (levels - 1)

    def lowest(self, levels: int) -> float:
        """The lowest level."""
        return -1.0 if self.clipped else -self.width * (levels - 1) / 2

    def values(self, index: Tensor, levels: int) -> Tensor:
        """Levels by number, as values."""
        return self.lowest(levels) + self.spacing(levels) * index

    def read(self, sums: Tensor, noise: Tensor, levels: int) -> Tensor:
        """What a layer makes of its weighted sums: noise is added, and its mean taken off; clipped, restored."""
        z = sums + noise * self.width if self.inside else sums + (noise - 0.5) * self.width
        if self.clipped:
            z = z.clamp_(-1, 1)
        if self.inside:
            z = z - self.width / 2
        return self.restore(z, levels) if self.restored else z

    def restore(self, z: Tensor, levels: int) -> Tensor:
        """The ramps. `clamp(u, 0, 1)` is relu(u) - relu(u - 1)."""
        steps, found = self.spacing(levels), torch.zeros_like(z)
        slope = self.steepness / (self.width or 1.0)
        for threshold in range(levels - 1):
            at = self.lowest(levels) + (threshold + 0.5) * steps
            found += (z - at).mul_(slope).add_(0.5).clamp_(0, 1)
        return found.mul_(steps).add_(self.lowest(levels))

    def nearest(self, x: Tensor, levels: int) -> Tensor:
        """Number of the nearest level."""
        return ((x - self.lowest(levels)) / self.spacing(levels)).round_().clamp_(0, levels - 1)


@dataclass(frozen=True)
class Recall:
    """One seed of a memory: its messages, weights and noise. Every draw is a function of the streams and the chunk."""

    memory: Memory
    levels: int
    messages: int
    streams: Streams

    @cached_property
    def orders_DN(self) -> Tensor:
        """[d, i]: the neuron whose value neuron i reads in layer d."""
        rng = self.streams.generator("permutations")
        rows = [torch.from_numpy(rng.permutation(self.memory.neurons)) for _ in range(self.memory.layers)]
        return torch.stack(rows)

    @cached_property
    def weights_DNN(self) -> Tensor:
        """The permutations as weights."""
        eye_NN = torch.eye(self.memory.neurons, dtype=torch.float64)
        return eye_NN[self.orders_DN]

    @cached_property
    def whole_order_N(self) -> Tensor:
        """The neuron whose stored level each neuron should hold at the end."""
        order_N = torch.arange(self.memory.neurons)
        for next_N in self.orders_DN:
            order_N = order_N[next_N]
        return order_N

    def chunks(self) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """(message_BN as numbers of levels, noise_BN of each layer in [0, 1)), a chunk of messages at a time."""
        for chunk, start in enumerate(range(0, self.messages, CHUNK)):
            shape = (min(CHUNK, self.messages - start), self.memory.neurons)
            stored = self.streams.generator("messages", self.levels, chunk).integers(0, self.levels, shape)
            rng = self.streams.generator("noise", chunk)  # the same for every number of levels
            noise = [torch.from_numpy(rng.random(shape)) for _ in range(self.memory.layers)]
            yield torch.from_numpy(stored).double(), noise

    def recalled(self, weights_DNN: Tensor, stored_BN: Tensor, noise: list[Tensor]) -> Iterator[Tensor]:
        """The values after each layer."""
        x_BN = self.memory.values(stored_BN, self.levels)
        for weights_NN, noise_BN in zip(weights_DNN, noise, strict=True):
            x_BN = self.memory.read(x_BN @ weights_NN.T, noise_BN, self.levels)
            yield x_BN

    def expected(self, stored_BN: Tensor) -> Tensor:
        """What should be recalled: the message, in the order to which the layers bring it."""
        return stored_BN[:, self.whole_order_N]

    def error(self) -> float:
        """Share of the neurons whose level is not recalled at the end, over all messages."""
        wrong = 0
        for stored_BN, noise in self.chunks():
            *_, last_BN = self.recalled(self.weights_DNN, stored_BN, noise)
            wrong += int((self.memory.nearest(last_BN, self.levels) != self.expected(stored_BN)).sum())
        return wrong / (self.messages * self.memory.neurons)
