"""A compiled circuit run by numba: the same sums as `Network` in one loop over its weights, without gradients.

Numba comes with the extra `encrypted`. It compiles in some seconds, once; the result is kept beside this file, or
in the user's cache.

Shapes: B inputs, I input bits, O output bits, R rows (inputs first), W weights.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.circuits.compiler import compiled, zeros
from holdfast.circuits.network import Network
from holdfast.errors import UsageError

BLOCK = 128
"""Inputs that go through the layers together: as many as leave their rows in a core's cache."""
Floats = NDArray[np.float32]


class Sums(NamedTuple):
    """What every row behind the inputs sums, as arrays for compiled functions."""

    starts: NDArray[np.int64]
    indices: NDArray[np.int32]
    weights: Floats
    bias: Floats
    relu: NDArray[np.bool_]


def sums_of(network: Network) -> Sums:
    """A network's, as they are now; what is trained later is not followed.

    Raises:
        UsageError: weights other than float32, in which the kernel computes, or not exact in it.
    """
    if network.weight.dtype != torch.float32:
        raise UsageError(f"The kernel computes in float32; {network.name} is in {network.weight.dtype}.")
    network.refuse_inexact()
    return Sums(
        network.starts.cpu().numpy(),
        network.indices.cpu().numpy().astype(np.int32),
        network.weight.detach().cpu().numpy().copy(),
        network.bias.detach().cpu().numpy().copy(),
        network.relu.cpu().numpy(),
    )


class Kernel:
    """A network's layers as they are now."""

    def __init__(self, network: Network) -> None:
        """
        Raises:
            UsageError: as `sums_of`.
        """
        self.network = network
        self._sums = sums_of(network)
        self._outputs = network.outputs.cpu().numpy()

    def __call__(self, x_BI: Tensor) -> Tensor:
        """out_BO, to the last digit what the network gives: all sums are exact.

        Raises:
            UsageError: bits of another shape.
        """
        if x_BI.dim() != 2 or x_BI.shape[1] != self.network.inputs:
            raise UsageError(
                f"{self.network.name} takes bits of shape (B, {self.network.inputs}); got {tuple(x_BI.shape)}."
            )
        x_IB = np.ascontiguousarray(x_BI.detach().to(torch.float32).cpu().numpy().T)
        inputs, count = x_IB.shape
        values_RB = zeros((inputs + len(self._sums.bias), 1 if count == 1 else BLOCK), np.float32)
        out_OB = np.empty((len(self._outputs), count), np.float32)
        for first in range(0, count, BLOCK):
            part = x_IB[:, first : first + BLOCK]
            values_RB[:inputs, : part.shape[1]] = part
            compute(values_RB, self._sums)
            out_OB[:, first : first + BLOCK] = values_RB[self._outputs, : part.shape[1]]
        return torch.from_numpy(out_OB.T)


@compiled
def compute(values_RB: Floats, sums: Any) -> None:
    """Every row behind the inputs, which stand in the first.

    Args:
        values_RB: the rows, B being 1 or `BLOCK`.
        sums: `Sums`.
    """
    if values_RB.shape[1] == 1:
        _one(values_RB[:, 0], sums)
    else:
        _block(values_RB, sums)


@compiled
def _one(values: Floats, sums: Any) -> None:
    inputs = len(values) - len(sums.bias)
    for row in range(len(sums.bias)):
        z = sums.bias[row]
        for j in range(sums.starts[row], sums.starts[row + 1]):
            z += sums.weights[j] * values[sums.indices[j]]
        values[inputs + row] = max(z, np.float32(0)) if sums.relu[row] else z


@compiled
def _block(values: Floats, sums: Any) -> None:
    inputs = len(values) - len(sums.bias)
    for row in range(len(sums.bias)):
        z = values[inputs + row]
        for lane in range(BLOCK):
            z[lane] = sums.bias[row]
        for j in range(sums.starts[row], sums.starts[row + 1]):
            w, read = sums.weights[j], values[sums.indices[j]]
            for lane in range(BLOCK):
                z[lane] += w * read[lane]
        if sums.relu[row]:
            for lane in range(BLOCK):
                z[lane] = max(z[lane], np.float32(0))
