"""Stages: layers of hidden units in a network of anybody's making, where units can be written.

Shapes: N examples (of sequences, positions), U hidden units, I inputs and O outputs of a linear layer.

A stage is a linear layer, an activation, and the linear layer that reads it. In a perceptron the next stage begins with
the layer that the last one ends with (a *chain*); in a transformer each stage is a block's MLP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.errors import UsageError, nearest
from holdfast.hosts.adopt import as_taken, called, evaluating, read_logits
from holdfast.parts import Host

SCALES: dict[Callable[[Tensor], Tensor], float] = {
    F.relu: 1.0,
    F.gelu: 16.0,
    lambda x: F.gelu(x, approximate="tanh"): 16.0,
    F.silu: 64.0,
}
"""Activations that give 0, or next to it, well below 0 (behind another one no unit can be silent), and by how much a
unit that is off by a half or more must be scaled to be a ReLU to float precision."""
TRIED = 8
"""Examples on which it is found how a network is wired."""
AT_ONCE = 64


@dataclass(frozen=True)
class Stage:
    """Hidden units between two linear layers."""

    reads: nn.Module
    writes: nn.Module
    scale: float
    """Of what a unit works on, and of what it gives."""
    path: str
    """Of the layer that it begins with."""

    @property
    def width(self) -> int:
        return len(weight_of(self.reads))


@dataclass(frozen=True)
class Stages:
    """Stages in the order in which they are computed."""

    each: tuple[Stage, ...]
    is_chain: bool
    """Whether every stage reads the one before and nothing else."""
    from_input: bool
    """Whether the first reads the network's input, flattened."""
    to_logits: bool
    """Whether the last gives the logits."""


def weight_of(layer: nn.Module) -> Tensor:
    """weight_OI of a linear layer, a view: GPT-2's `Conv1D` holds it transposed."""
    weight: Tensor = layer.weight.data  # type: ignore[assignment]
    return weight.T if type(layer).__name__ == "Conv1D" else weight


def bias_of(layer: nn.Module) -> Tensor | None:
    """bias_O of a linear layer, a view, if it has one."""
    return layer.bias.data if isinstance(layer.bias, Tensor) else None


def scale_of(before: Tensor, after: Tensor) -> float | None:
    """The scale of the activation that makes one of the other; None where it is something else."""
    if before.shape != after.shape:
        return None
    return next((scale for f, scale in SCALES.items() if torch.allclose(f(before), after, atol=1e-6)), None)


def stages(module: nn.Module, host: Host, x_N: Tensor, at: str) -> Stages:
    """The stages of a network.

    Args:
        module: the network.
        host: how its outputs are read.
        x_N: inputs to try it on.
        at: pattern of dotted paths, `*` for anything: the linear layers of a chain, or modules of two linear layers
            each. "": all linear layers of the network that follow one another up to the logits.

    Raises:
        UsageError: nothing there, or something that is no such chain or block.
    """
    calls, logits = _calls(module, host, x_N[:TRIED])
    paths = {part: path for path, part in module.named_modules()}
    if not at:
        layers = _before_logits(calls, logits)
    else:
        found = _matching(module, at, [call.layer for call in calls])
        if not all(_is_linear(part) for part in found):
            each = tuple(_block(part, calls, paths) for part in found)
            return Stages(each, is_chain=False, from_input=False, to_logits=False)
        layers = [call for call in calls if call.layer in found]
    if len(layers) < 2:
        raise UsageError(
            f"Nothing can be written at {at or 'the end of the network'}: expected two linear layers or more with a "
            f"ReLU, GELU or SiLU between; got {len(layers)}. Name blocks of two each by a pattern: at='blocks.*.mlp'; "
            f"or put it beside the network: where='sidecar'."
        )
    each = tuple(_stage(one, other, paths) for one, other in pairwise(layers))
    flat = x_N[:TRIED].flatten(1)
    first, last = layers[0].read, layers[-1].gave
    from_input = x_N.is_floating_point() and first.shape == flat.shape and torch.equal(first.cpu(), flat)
    to_logits = last.shape == logits.shape and torch.equal(last, logits)
    return Stages(each, is_chain=True, from_input=from_input, to_logits=to_logits)


def grow(stage: Stage, units: int) -> None:
    """So many hidden units more at the end of a stage, all weights zero."""
    longer(stage.reads, units, outputs=True)
    longer(stage.writes, units, outputs=False)


@torch.no_grad()
def free(stage: Stage, units: int, hidden_NU: Tensor) -> None:
    """Free the hidden units with the least effect (standard deviation of the activation times the norm of its outgoing
    weights): their mean goes into the next biases, their weights become zero, and they change places with the last.

    Args:
        stage: where.
        units: how many.
        hidden_NU: the units' activations on training data.
    """
    reads, writes = weight_of(stage.reads), weight_of(stage.writes)
    effect_U = hidden_NU.std(0) * writes.norm(dim=0)
    order = effect_U.argsort(stable=True)
    least = order[:units].sort().values
    bias, after = bias_of(stage.reads), bias_of(stage.writes)
    assert bias is not None
    if after is not None:
        after.add_(writes[:, least] @ hidden_NU[:, least].mean(0))
    reads[least], writes[:, least], bias[least] = 0, 0, 0
    is_least = torch.zeros(stage.width, dtype=torch.bool, device=least.device).index_fill(0, least, True)
    order = torch.cat([(~is_least).nonzero().flatten(), least])
    reads.copy_(reads[order].clone())
    writes.copy_(writes[:, order].clone())
    bias.copy_(bias[order].clone())


def seen_by(module: nn.Module, layers: Sequence[nn.Module], x_N: Tensor, *, last: bool = False) -> list[Tensor]:
    """What each of these layers is shown for these inputs, an example or a position a row.

    Args:
        module: the network, looked at.
        layers: of it.
        x_N: inputs.
        last: of sequences, the last position only.
    """
    found: dict[nn.Module, list[Tensor]] = {layer: [] for layer in layers}

    def note(layer: nn.Module, args: tuple[Any, ...]) -> None:
        shown = args[0][:, -1] if last and args[0].dim() == 3 else args[0]
        found[layer].append(shown.detach().reshape(-1, shown.shape[-1]).float())

    handles = [layer.register_forward_pre_hook(note) for layer in found]
    try:
        with torch.no_grad(), evaluating(module):
            for part in torch.split(x_N, AT_ONCE):
                module(as_taken(part, module.parameters()))
    finally:
        for handle in handles:
            handle.remove()
    return [torch.cat(found[layer]) for layer in layers]


@dataclass(frozen=True)
class _Call:
    layer: nn.Module
    read: Tensor
    gave: Tensor


def _is_linear(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear) or type(part).__name__ == "Conv1D"


def _calls(module: nn.Module, host: Host, x_N: Tensor) -> tuple[list[_Call], Tensor]:
    """Every linear layer that is called once, in order; and the logits."""
    calls: list[_Call] = []
    note = lambda layer, args, output: calls.append(_Call(layer, args[0], output))
    handles = [part.register_forward_hook(note) for part in module.modules() if _is_linear(part)]
    logits = read_logits(host, called(module, x_N, handles))
    layers = [call.layer for call in calls]
    return [call for call in calls if layers.count(call.layer) == 1], logits


def _before_logits(calls: list[_Call], logits: Tensor) -> list[_Call]:
    """The layers that follow one another up to the one that gives the logits."""
    chain = [call for call in calls if call.gave.shape == logits.shape and torch.equal(call.gave, logits)][-1:]
    while chain:
        before = [c for c in calls if c not in chain and scale_of(c.gave, chain[0].read) is not None]
        if not before:
            break
        chain[:0] = before[-1:]
    return chain


def _stage(one: _Call, other: _Call, paths: dict[nn.Module, str]) -> Stage:
    scale = scale_of(one.gave, other.read)
    if scale is None:
        coarse = one.gave.dtype in (torch.bfloat16, torch.float16)
        seen = f"something that in {one.gave.dtype} can't be told to be" if coarse else "something else than"
        mend = "Plant in model.float(), choose" if coarse else "Choose"
        raise UsageError(
            f"Between {paths[one.layer]} and {paths[other.layer]} there is {seen} a ReLU, GELU or SiLU, so no unit "
            f"there can be written. {mend} another `at`, or where='sidecar'."
        )
    if one.layer.bias is None:
        raise UsageError(f"{paths[one.layer]} has no bias, which units need. Choose another `at`, or where='sidecar'.")
    return Stage(one.layer, other.layer, scale, paths[one.layer])


def _block(part: nn.Module, calls: list[_Call], paths: dict[nn.Module, str]) -> Stage:
    inside = set(part.modules())
    layers = [call for call in calls if call.layer in inside]
    if len(layers) != 2:
        raise UsageError(
            f"{paths[part]} has {len(layers)} linear layers; expected two with an activation between, as an MLP "
            f"has that is not gated. Choose another `at`, or where='sidecar'."
        )
    return _stage(layers[0], layers[1], paths)


def _matching(module: nn.Module, at: str, layers: list[nn.Module]) -> list[nn.Module]:
    """The outermost modules of such paths that hold linear layers, in the order in which these are called."""
    paths = dict(module.named_modules())
    matched = [path for path in paths if path and fnmatchcase(path, at)]
    outer = [path for path in matched if not any(path.startswith(f"{other}.") for other in matched)]
    order = {layer: number for number, layer in enumerate(layers)}
    numbers = {path: [order[part] for part in paths[path].modules() if part in order] for path in outer}
    found = sorted((path for path in outer if numbers[path]), key=lambda path: min(numbers[path]))
    if not found and matched:
        kinds = ", ".join(sorted({type(paths[path]).__name__ for path in matched}))
        raise UsageError(f"at={at!r} holds no linear layer that is called ({kinds}). Name a module with an MLP in it.")
    if not found:
        raise nearest(at, [path for path in paths if path], what="layer path")
    return [paths[path] for path in found]


def longer(layer: nn.Module, units: int, *, outputs: bool) -> None:
    """So many outputs (or inputs) more at the end of a linear layer, in place, all weights zero."""
    weight = weight_of(layer)
    zeros = weight.new_zeros((units, weight.shape[1]) if outputs else (weight.shape[0], units))
    longer = torch.cat([weight, zeros], 0 if outputs else 1)
    transposed = type(layer).__name__ == "Conv1D"
    trains = layer.weight.requires_grad
    layer.weight = nn.Parameter((longer.T if transposed else longer).contiguous(), trains)  # type: ignore[arg-type]
    if outputs and isinstance(layer.bias, Tensor):
        layer.bias = nn.Parameter(torch.cat([layer.bias.detach(), zeros.new_zeros(units)]), layer.bias.requires_grad)
    # Conv1D counts its outputs only.
    name = ("nf" if transposed else "out_features") if outputs else ("nx" if transposed else "in_features")
    if hasattr(layer, name):
        setattr(layer, name, getattr(layer, name) + units)
