"""Multi-layer perceptron of any widths.

Shapes: K networks, B examples, I inputs of a layer, O outputs of a layer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from holdfast.errors import UsageError, number, wholes
from holdfast.parts import Host
from holdfast.training.lanes import LANES
from holdfast.training.loss import cross_entropy_gradient


def _forward(x_KBI: Tensor, params: Sequence[Tensor], limit: float | None) -> tuple[Tensor, list[Tensor]]:
    """(logits_KBC, inputs of each layer) of K perceptrons: batched matrix products."""
    weights, biases = params[::2], params[1::2]
    inputs = [x_KBI]
    for depth, (w_KOI, b_KO) in enumerate(zip(weights, biases, strict=True)):
        out_KBO = torch.baddbmm(b_KO.unsqueeze(1), inputs[-1], w_KOI.mT)
        inputs.append(_units(out_KBO, limit) if depth < len(weights) - 1 else out_KBO)
    return inputs.pop(), inputs


def _units(sums: Tensor, limit: float | None) -> Tensor:
    """What hidden units make of their sums, in place."""
    return sums.relu_() if limit is None else sums.clamp_(0, limit)


def _backward(
    grad_KBO: Tensor, inputs: Sequence[Tensor], weights: Sequence[Tensor], limit: float | None, *, of_x: bool
) -> tuple[Tensor | None, list[Tensor]]:
    """(gradient of x where it is wanted, those of the parameters), by hand."""
    grads: list[Tensor] = []
    for layer in reversed(range(len(weights))):
        grads[:0] = [torch.bmm(grad_KBO.mT, inputs[layer]), grad_KBO.sum(1)]
        if layer > 0 or of_x:
            grad_KBO = torch.bmm(grad_KBO, weights[layer])
        if layer > 0:
            grad_KBO = torch.ops.aten.threshold_backward(grad_KBO, inputs[layer], 0)
            if limit is not None:
                grad_KBO.masked_fill_(inputs[layer] >= limit, 0)
    return grad_KBO if of_x else None, grads


class _Perceptron(torch.autograd.Function):
    # K perceptrons as one autograd node.

    @staticmethod
    def forward(ctx: Any, x_KBI: Tensor, limit: float | None, *params: Tensor) -> Tensor:
        logits_KBC, inputs = _forward(x_KBI, params, limit)
        ctx.save_for_backward(*inputs, *params[::2])
        ctx.limit = limit
        return logits_KBC

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_KBO: Tensor) -> tuple[Tensor | None, ...]:
        depth = len(ctx.saved_tensors) // 2
        inputs, weights = ctx.saved_tensors[:depth], ctx.saved_tensors[depth:]
        of_x, grads = _backward(grad_KBO, inputs, weights, ctx.limit, of_x=ctx.needs_input_grad[0])
        return (of_x, None, *grads)


def _perceptron(x_KBI: Tensor, params: Sequence[Tensor], limit: float | None) -> Tensor:
    logits: Tensor = _Perceptron.apply(x_KBI, limit, *params)  # type: ignore[no-untyped-call]
    return logits


def _layers(
    x_KBI: Tensor, params: Sequence[Tensor], limit: float | None, drop: Callable[[Tensor], Tensor] | None
) -> list[Tensor]:
    """Output of every layer, logits last: a layer at a time, so that something can be done between them."""
    outputs, depth = [x_KBI], len(params) // 2
    for layer in range(depth):
        sums_KBO = _perceptron(outputs[-1], params[2 * layer : 2 * layer + 2], limit)
        if layer < depth - 1:
            sums_KBO = drop(sums_KBO) if drop else sums_KBO
            sums_KBO = sums_KBO.relu() if limit is None else F.hardtanh(sums_KBO, 0, limit)
        outputs.append(sums_KBO)
    return outputs[1:]


def _pad(x: Tensor, last: int, before: int = 0) -> Tensor:
    """Zeros after the last axis and after the one before it."""
    return F.pad(x, (0, last, 0, before)) if last or before else x


def _spare(widths: Sequence[int], examples: int) -> list[int]:
    """How many units to add to each layer, so that whatever belongs to one net fills whole lanes (see LANES): what its
    layers give for the examples, and the gradients of its weights."""
    lanes = LANES // gcd(LANES, examples)
    padded = [-(-width // lanes) * lanes for width in widths]
    for layer in range(len(padded) - 2, -1, -1):
        is_first_hidden = layer == 1
        while padded[layer] * padded[layer + 1] % LANES or (is_first_hidden and padded[0] * padded[1] % LANES):
            padded[layer] += lanes
    return [after - before for after, before in zip(padded, widths, strict=True)]


class _Flat(nn.Sequential):
    # Flattens by itself, so that the layers keep the names they have in a plain Sequential of them: 0, 2, 4, ...
    def forward(self, x_B: Tensor) -> Tensor:
        logits: Tensor = super().forward(x_B.flatten(1))  # type: ignore[no-untyped-call]
        return logits


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Perceptron with ReLU between its layers and logits at its end.

    A net is an `nn.Sequential(Linear, ReLU, ..., Linear)` that flattens its input, with PyTorch's default
    initialisation, weights and biases U(-1/sqrt(fan_in), 1/sqrt(fan_in)), drawn from the seed's `init` stream.
    Parameters are named as PyTorch names them: `0.weight`, `0.bias`, `2.weight`, ... With a `limit` hidden units give
    min(relu(z), limit), as `nn.Hardtanh(0, limit)` does; 6 is ReLU6.
    """

    widths: tuple[int, ...] = (64, 64, 10)
    """Units of each layer, inputs first, classes last."""
    limit: float | None = None
    """The most that a hidden unit gives; None: no limit."""

    def __post_init__(self) -> None:
        wholes("widths", self.widths)
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise UsageError(f"MLP needs at least two widths of 1 or more, inputs first; got {self.widths}.")
        if self.limit is not None:
            number("MLP's limit", self.limit)
            if not 0 < self.limit < float("inf"):
                raise UsageError(f"MLP's limit is the most that a hidden unit gives, above 0; got {self.limit}.")

    @property
    def label(self) -> str:
        limit = "" if self.limit is None else f", units up to {self.limit:g}"
        return "MLP " + "-".join(map(str, self.widths)) + limit

    @property
    def layers(self) -> tuple[str, ...]:
        """Dotted paths of the linear layers, first to last."""
        return tuple(str(2 * i) for i in range(len(self.widths) - 1))

    def build(self) -> nn.Module:
        """One network, initialised from PyTorch's global generator (the caller seeds it)."""
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(self.widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU() if self.limit is None else nn.Hardtanh(0, self.limit)]
        return _Flat(*layers[:-1])

    def forward(
        self, params: Mapping[str, Tensor], x_KBI: Tensor, drop: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """logits_KBC of K networks at once; `params` as `build()` names them, each with a leading K.

        `drop` is applied to the sums of every hidden layer.
        """
        x_KBI, padded = self._padded(params, x_KBI)
        logits = _layers(x_KBI, padded, self.limit, drop)[-1] if drop else _perceptron(x_KBI, padded, self.limit)
        return logits[..., : self.widths[-1]]

    @torch.no_grad()
    def gradients(self, params: Mapping[str, Tensor], x_KBI: Tensor, y_KB: Tensor) -> dict[str, Tensor]:
        """Gradient of each net's mean cross-entropy, by parameter: autograd's to the bit, without its bookkeeping."""
        x_KBI, padded = self._padded(params, x_KBI)
        logits_KBC, inputs = _forward(x_KBI, padded, self.limit)
        grad_KBC = cross_entropy_gradient(logits_KBC[..., : self.widths[-1]], y_KB)
        grad_KBC = _pad(grad_KBC, logits_KBC.shape[2] - grad_KBC.shape[2])
        _, grads = _backward(grad_KBC, inputs, padded[::2], self.limit, of_x=False)
        return {name: grad[tuple(map(slice, p.shape))] for (name, p), grad in zip(params.items(), grads, strict=True)}

    def _padded(self, params: Mapping[str, Tensor], x_KBI: Tensor) -> tuple[Tensor, list[Tensor]]:
        # Spare units, which stay at zero. What is planted may have made hidden layers wider than the host's.
        spare = _spare([self.widths[0], *(params[f"{at}.bias"].shape[1] for at in self.layers)], x_KBI.shape[1])
        padded = []
        for layer, (inputs, outputs) in zip(self.layers, pairwise(spare), strict=True):
            padded += [_pad(params[f"{layer}.weight"], inputs, outputs), _pad(params[f"{layer}.bias"], outputs)]
        return _pad(x_KBI.flatten(2), spare[0]), padded

    def units(self, sums: Tensor) -> Tensor:
        """What hidden units make of their sums."""
        return sums.clamp(0, self.limit)

    def activations(
        self, params: Mapping[str, Tensor], x_KBI: Tensor, drop: Callable[[Tensor], Tensor] | None = None
    ) -> list[Tensor]:
        """Output of every layer (that of its units; logits last), each KBO; `drop` as in `forward`."""
        x_KBI, padded = self._padded(params, x_KBI)
        outputs = _layers(x_KBI, padded, self.limit, drop)
        return [out[..., : params[f"{at}.bias"].shape[1]] for at, out in zip(self.layers, outputs, strict=True)]


LENET_300_100 = MLP(widths=(784, 300, 100, 10))
"""LeNet-300-100 for images of 28 x 28 pixels: 266,200 weights and 410 biases.

LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition" (there with other
nonlinearities and loss); with ReLU, the net of the lottery-ticket literature (Frankle & Carbin 2019, arXiv 1803.03635).
"""


def one_hidden_layer(host: Host, who: str) -> MLP:
    """The host, if it is a perceptron with one hidden layer.

    Raises:
        UsageError: it is not.
    """
    if not isinstance(host, MLP) or len(host.widths) != 3:
        raise UsageError(f"{who} needs a perceptron with one hidden layer, MLP(widths=(a, b, c)); got {host.label}.")
    return host
