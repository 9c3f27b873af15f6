"""A compiled circuit run by numba: the same sums as `Network` in one loop over its weights, without gradients.

Numba comes with the extra `encrypted`. It compiles in some seconds, once; the result is kept beside this file, or in
the user's cache.

Shapes: B inputs, I input bits, O output bits, R rows (inputs first), W weights.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.circuits.network import Network
from holdfast.errors import HoldfastError, UsageError

try:
    from numba import njit
except ModuleNotFoundError:
    raise HoldfastError(
        'The kernel is compiled by numba, which is not installed. Install it: pip install "holdfast[encrypted]". '
        "Network does without."
    ) from None

BLOCK = 128
"""Inputs that go through the layers together: as many as leave their rows in a core's cache."""
Floats = NDArray[np.float32]


class Kernel:
    """A network's layers as they are now; what is trained later is not followed."""

    def __init__(self, network: Network) -> None:
        """
        Raises:
            UsageError: weights other than float32, in which the kernel computes.
        """
        if network.weight.dtype != torch.float32:
            raise UsageError(f"The kernel computes in float32; {network.name} is in {network.weight.dtype}.")
        self.network = network
        starts = network.starts.numpy()
        self._layers = (
            starts,
            network.indices.numpy().astype(np.int32),
            network.weight.detach().numpy().copy(),
            network.bias.detach().numpy().copy(),
            network.relu.numpy(),
        )
        self._outputs = network.outputs.numpy()

    def __call__(self, x_BI: Tensor) -> Tensor:
        """out_BO, to the last digit what the network gives: all sums are exact.

        Raises:
            UsageError: bits of another shape.
        """
        if x_BI.dim() != 2 or x_BI.shape[1] != self.network.inputs:
            raise UsageError(
                f"{self.network.name} takes bits of shape (B, {self.network.inputs}); got {tuple(x_BI.shape)}."
            )
        x_IB = np.ascontiguousarray(x_BI.detach().to(torch.float32).numpy().T)
        out_OB = np.empty((len(self._outputs), x_IB.shape[1]), np.float32)
        if x_IB.shape[1] == 1:
            _one(x_IB[:, 0], out_OB[:, 0], *self._layers, self._outputs)
        else:
            _many(x_IB, out_OB, *self._layers, self._outputs)
        return torch.from_numpy(out_OB.T)


@njit(cache=True, fastmath=True)
def _one(
    x: Floats, out: Floats, starts: Any, indices: Any, weights: Floats, bias: Floats, relu: Any, outputs: Any
) -> None:
    values = np.empty(len(x) + len(bias), np.float32)
    values[: len(x)] = x
    for row in range(len(bias)):
        z = bias[row]
        for j in range(starts[row], starts[row + 1]):
            z += weights[j] * values[indices[j]]
        values[len(x) + row] = max(z, np.float32(0)) if relu[row] else z
    for o in range(len(outputs)):
        out[o] = values[outputs[o]]


@njit(cache=True, fastmath=True)
def _many(
    x: Floats, out: Floats, starts: Any, indices: Any, weights: Floats, bias: Floats, relu: Any, outputs: Any
) -> None:
    inputs, lanes = x.shape
    values = np.empty((inputs + len(bias), BLOCK), np.float32)
    for first in range(0, lanes, BLOCK):
        count = min(BLOCK, lanes - first)
        for i in range(inputs):
            for lane in range(count):
                values[i, lane] = x[i, first + lane]
        for row in range(len(bias)):
            z = values[inputs + row]
            for lane in range(BLOCK):
                z[lane] = bias[row]
            for j in range(starts[row], starts[row + 1]):
                w, read = weights[j], values[indices[j]]
                for lane in range(BLOCK):
                    z[lane] += w * read[lane]
            if relu[row]:
                for lane in range(BLOCK):
                    z[lane] = max(z[lane], np.float32(0))
        for o in range(len(outputs)):
            for lane in range(count):
                out[o, first + lane] = values[outputs[o], lane]
