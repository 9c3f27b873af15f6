"""Layers as an ordinary `nn.Module` with trainable weights.

Shapes: B inputs at once, I input bits, O output bits, R rows (inputs first), E weights.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from holdfast.circuits.layers import MANTISSA, Layers
from holdfast.circuits.netlist import Port
from holdfast.circuits.passing import EXACT, Passing, rule
from holdfast.circuits.stages import compute, stages_of, stretches, sums
from holdfast.errors import HoldfastError, UsageError


class Network(nn.Module):
    """Bits in, bits out: (B, I) of 0 and 1 to (B, O), port after port, least significant bit first.

    `weight` and `bias` are the circuit's numbers, all trainable; what is not connected stays so. Values are held
    rows first, (R, B), so that a sum reads whole stretches of memory. Forward and backward take time and memory
    proportional to the weights, and not to the square of the width. There is no second derivative. Gradients are exact
    unless `passing` says otherwise.

    Exact in the dtypes that `exact_in` names, on every machine and in every order of summation. In another one, after
    `net.half()` for instance, its bits would be wrong, so `forward` refuses.
    """

    starts: Tensor
    indices: Tensor
    level: Tensor
    relu: Tensor
    outputs: Tensor
    offsets: Tensor
    reader_offsets: Tensor
    readers: Tensor
    reader_weights: Tensor

    def __init__(self, layers: Layers, dtype: torch.dtype = torch.float32, *, bound: float | None = None) -> None:
        """
        Args:
            layers: the circuit.
            dtype: of the weights.
            bound: `Layers.bound`, where the layers cannot say it.
        """
        super().__init__()
        self.bound = layers.bound if bound is None else bound
        self.exact_in = tuple(name for name, mantissa in MANTISSA.items() if self.bound <= 2.0**mantissa)
        self._exact = {getattr(torch, name) for name in self.exact_in}
        self.name, self.inputs, self.stages = layers.name, layers.inputs, layers.stages
        self.input_ports, self.output_ports = layers.input_ports, layers.output_ports
        self.weight = nn.Parameter(torch.from_numpy(layers.weights).to(dtype))
        self.bias = nn.Parameter(torch.from_numpy(layers.bias).to(dtype))
        outputs = np.array([row for port in layers.output_ports for row in port.bits], np.int64)
        self.again = False
        """Whether the backward pass computes the rows again, in the same memory each time, instead of keeping them. One
        tick of many is cheaper so: fresh memory takes longer than the rows do."""
        self._scratch = _Scratch()
        self._keep("outputs", outputs)
        self._keep("starts", layers.starts)
        self._keep("indices", layers.indices)
        self._keep("level", layers.level)
        self._keep("relu", layers.relu)
        # Who reads each row, for the backward pass: the same matrix by columns.
        order = np.argsort(layers.indices, kind="stable")
        counts = np.bincount(layers.indices, minlength=layers.inputs + layers.rows)
        readers = np.repeat(np.arange(layers.rows), np.diff(layers.starts))[order]
        # Where each stage's weights are, as plain numbers: to ask a tensor for them takes as long as a small stage.
        relu = layers.relu.tolist()
        self.stretches, offsets = stretches(layers.starts, layers.stages)
        self.relus = [relu[first] for first, _ in layers.stages]
        inputs_too = [(0, layers.inputs), *((layers.inputs + a, layers.inputs + b) for a, b in layers.stages)]
        self._backward, reader_offsets = stretches(np.concatenate([[0], np.cumsum(counts)]), inputs_too)
        self._keep("offsets", offsets, stored=False)
        self._keep("reader_offsets", reader_offsets, stored=False)
        self._keep("readers", readers, stored=False)
        self._keep("reader_weights", order, stored=False)

    def _keep(self, name: str, values: NDArray[Any], *, stored: bool = True) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)), persistent=stored)

    def forward(self, x_BI: Tensor) -> Tensor:
        """The output bits.

        Raises:
            UsageError: bits of another shape, or a dtype in which the circuit is not exact.
        """
        if x_BI.dim() != 2 or x_BI.shape[1] != self.inputs:
            raise UsageError(f"{self.name} takes bits of shape (B, {self.inputs}); got {tuple(x_BI.shape)}.")
        self.refuse_inexact()
        out_BO: Tensor = _Run.apply(x_BI.to(self.weight.dtype), self.weight, self.bias, self)  # type: ignore[no-untyped-call]
        return out_BO

    def refuse_inexact(self) -> None:
        """Refuse to compute in a dtype in which bits would be wrong.

        Raises:
            UsageError: the weights have such a dtype.
        """
        if self.weight.dtype not in self._exact:
            raise UsageError(
                f"{self.name} is not exact in {self.weight.dtype}: its sums reach {self.bound:.3g} steps. Keep it in "
                f"one of {', '.join(self.exact_in)}: net.to(torch.{self.exact_in[-1]})."
            )

    def rows_of_weights(self) -> Tensor:
        """Of each weight the row that sums it, of those behind the inputs."""
        return torch.repeat_interleave(
            torch.arange(len(self.starts) - 1, device=self.starts.device), self.starts.diff()
        )

    def sizes(self, weight: Tensor) -> Tensor:
        """Of each row the sum of its weights' sizes; 1 where it reads nothing."""
        total = weight.new_zeros(len(self.starts) - 1).index_add_(0, self.rows_of_weights(), weight.abs())
        return torch.where(total > 0, total, 1.0)

    def scratch(self, name: str, x_BI: Tensor) -> Tensor:
        """Memory for all rows (R, B), the same each time."""
        held = self._scratch.get(name)
        shape = self.inputs + len(self.bias), len(x_BI)
        if held is None or held.shape != shape or held.dtype != x_BI.dtype or held.device != x_BI.device:
            held = self._scratch[name] = x_BI.new_empty(shape)
        return held

    def rows(self, x_BI: Tensor, into: Tensor | None = None) -> Tensor:
        """What every row is, inputs first, as (R, B); without gradients.

        Args:
            x_BI: input bits.
            into: memory for it, (R, B) and contiguous. Who asks again and again saves half of the time: that is what
                fresh memory takes.
        """
        with torch.no_grad():
            values_RB = self.weight.new_empty(self.inputs + len(self.bias), len(x_BI)) if into is None else into
            _fill(values_RB, x_BI, self.weight, self.bias, self)
        return values_RB

    def extra_repr(self) -> str:
        units = int(self.relu.sum())
        return f"{self.name}: {self.inputs} bits -> {len(self.outputs)} bits, {units} units, {len(self.weight)} weights"

    def save(self, path: Path, **more: str) -> None:
        """Weights and structure in one safetensors file, which says that it is a planted circuit, and `more`."""
        ports = [[asdict(port) for port in side] for side in (self.input_ports, self.output_ports)]
        said = {
            "holdfast": "compiled circuit",
            "name": self.name,
            "inputs": str(self.inputs),
            "bound": repr(self.bound),
            "ports": json.dumps(ports),
            **more,
        }
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, path, metadata=said)

    @classmethod
    def load(cls, path: Path) -> "Network":
        """What `save` wrote.

        Raises:
            HoldfastError: no such file, or not one of these.
        """
        return cls.load_with(path)[0]

    @classmethod
    def load_with(cls, path: Path) -> "tuple[Network, dict[str, str]]":
        """The same, and what the file says of it."""
        try:
            with safe_open(path, framework="pt") as file:
                said = file.metadata() or {}
                held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            ports = [tuple(Port(p["name"], tuple(p["bits"])) for p in side) for side in json.loads(said["ports"])]
            layers = Layers(
                name=said["name"], input_ports=ports[0], output_ports=ports[1], inputs=int(said["inputs"]),
                level=held["level"].numpy(), relu=held["relu"].numpy(), starts=held["starts"].numpy(),
                indices=held["indices"].numpy(), weights=held["weight"].double().numpy(),
                bias=held["bias"].double().numpy(),
                most=np.ones(len(held["bias"])),
            )  # fmt: skip
            layers.check()
            bound = float(said.get("bound", 1))
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            raise HoldfastError(f"{path} is not a compiled circuit that `holdfast compile` wrote ({error}).") from None
        return cls(layers, held["weight"].dtype, bound=bound), said


class _Scratch(dict[str, Tensor]):
    """Memory that is used again and again; copies of a network have their own."""

    def __deepcopy__(self, memo: object) -> "_Scratch":
        return _Scratch()

    def __reduce__(self) -> tuple[type["_Scratch"], tuple[()]]:
        return _Scratch, ()


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BI: Tensor, weight: Tensor, bias: Tensor, net: Network) -> Tensor:
        by: Passing = rule()
        slopes: list[Tensor] = []
        kept = net.again and any(ctx.needs_input_grad)
        values_RB = net.scratch("values", x_BI) if kept else x_BI.new_empty(net.inputs + len(bias), len(x_BI))
        _fill(values_RB, x_BI, weight, bias, net, None if kept else _keeping(by, slopes))
        ctx.save_for_backward(x_BI if kept else values_RB, weight, bias)
        ctx.net, ctx.by, ctx.slopes, ctx.kept = net, by, slopes, kept
        return values_RB[net.outputs].T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BO: Tensor) -> tuple[Tensor | None, ...]:
        values_RB, weight, bias = ctx.saved_tensors
        net: Network = ctx.net
        by, slopes = ctx.by, list(ctx.slopes)
        if ctx.kept:
            x_BI, values_RB = values_RB, net.scratch("values", values_RB)
            _fill(values_RB, x_BI, weight, bias, net, _keeping(by, slopes))
            grad_RB = net.scratch("gradients", x_BI).zero_()
        else:
            grad_RB = torch.zeros_like(values_RB)
        grad_RB.index_add_(0, net.outputs, grad_BO.T.contiguous())
        # The gradient of each row's sum: what its readers hand back, where its unit is on.
        by_reader = weight[net.reader_weights]
        sizes_R1 = net.sizes(weight)[:, None] if by.normalised else None
        for (rows, at), relu in zip(reversed(net._backward), [*reversed(net.relus), False], strict=True):
            grad_RB[rows] += sums(grad_RB[net.inputs :], net.reader_offsets[rows], net.readers[at], by_reader[at])
            if relu:
                grad_RB[rows] *= slopes.pop() if slopes else EXACT.slopes(values_RB[rows])
            if relu and sizes_R1 is not None:
                grad_RB[rows] /= sizes_R1[rows.start - net.inputs : rows.stop - net.inputs]
        of_rows = grad_RB[net.inputs :]
        of_x = grad_RB[: net.inputs].T.clone() if ctx.needs_input_grad[0] else None
        of_weight = of_bias = None
        if ctx.needs_input_grad[1]:
            of_weight = torch.ops.aten._embedding_bag_per_sample_weights_backward(
                of_rows, values_RB, net.indices, net.starts[:-1], net.rows_of_weights(), 0
            )
        if ctx.needs_input_grad[2]:
            of_bias = of_rows.sum(1)
        return of_x, of_weight, of_bias, None


def _keeping(by: Passing, slopes: list[Tensor]) -> Callable[[Tensor], None] | None:
    """What keeps the slopes of each stage's units; of exact ones none, as the rows tell them."""
    return None if by.exact else lambda z: slopes.append(by.slopes(z))


def _fill(
    values_RB: Tensor,
    x_BI: Tensor,
    weight: Tensor,
    bias: Tensor,
    net: Network,
    summed: Callable[[Tensor], None] | None = None,
) -> None:
    """Every row, stage by stage."""
    values_RB[: net.inputs] = x_BI.T
    compute(values_RB, stages_of(net, values_RB, weight, bias), summed)
