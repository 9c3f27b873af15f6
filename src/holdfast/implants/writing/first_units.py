"""A program as the first units of each hidden layer of a perceptron: written, run alone, ablated.

Shapes: K nets, N examples, I inputs and O outputs of a layer, U units of the program in one layer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.circuits.chain import Chain
from holdfast.hosts.mlp import MLP
from holdfast.training.nets import Nets


@torch.no_grad()
def write_chain(nets: Nets, host: MLP, chain: Chain, entries: Sequence[int]) -> None:
    """Write level i into the first units of hidden layer i; what the chain calls live is always 1.

    All other weights into these units, and from them into others, become 0.

    Args:
        nets: changed in place.
        host: theirs, with as many hidden layers as the chain has levels.
        chain: the program.
        entries: of each input bit, the number of the input that it reads.
    """
    (first, *later), (reads, *sums) = chain.levels, map(torch.from_numpy, chain.sums)
    weight_KOI, bias_KO = _of(nets, host.layers[0])
    weight_KOI[:, : first.units] = 0
    weight_KOI[:, : first.units, list(entries)] = reads[:, 1:].to(weight_KOI)
    bias_KO[:, : first.units] = (torch.from_numpy(first.bias_U) + reads[:, 0]).to(bias_KO)
    for layer, before, level, sums_UU in zip(host.layers[1:], chain.levels, later, sums, strict=False):
        weight_KOI, bias_KO = _of(nets, layer)
        weight_KOI[:, : level.units] = 0
        weight_KOI[:, :, : before.units] = 0
        weight_KOI[:, : level.units, : before.units] = sums_UU.to(weight_KOI)
        bias_KO[:, : level.units] = torch.from_numpy(level.bias_U).to(bias_KO)


def inside(nets: Nets, host: MLP, units: Sequence[int]) -> dict[str, Tensor]:
    """Masks of all that so many first units of each hidden layer read, and of their biases."""
    masks = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in nets.params.items()}
    for layer, count in zip(host.layers[:-1], units, strict=True):
        masks[f"{layer}.weight"][:, :count] = True
        masks[f"{layer}.bias"][:, :count] = True
    return masks


def alone(nets: Nets, host: MLP, units: Sequence[int], x_NI: Tensor) -> Tensor:
    """values_KNU of the last of these units, where all others are cut off."""
    values_KNU, before = nets.shared(x_NI), x_NI.shape[1]
    for layer, count in zip(host.layers[:-1], units, strict=True):
        weight_KOI, bias_KO = _of(nets, layer)
        sums_KNU = torch.baddbmm(bias_KO[:, None, :count], values_KNU, weight_KOI[:, :count, :before].mT)
        values_KNU, before = host.units(sums_KNU), count
    return values_KNU


def ablated(nets: Nets, host: MLP, units: Sequence[int], x_NI: Tensor, whole: Sequence[Tensor]) -> Tensor:
    """logits_KNC where each of these units gives its mean.

    Args:
        nets: looked at.
        host: theirs.
        units: how many in each hidden layer.
        x_NI: examples.
        whole: what the layers give for them with nothing ablated.
    """
    values_KNO = nets.shared(x_NI)
    for layer, count, seen_KNO in zip(host.layers, (*units, 0), whole, strict=True):
        weight_KOI, bias_KO = _of(nets, layer)
        values_KNO = torch.baddbmm(bias_KO.unsqueeze(1), values_KNO, weight_KOI.mT)
        if count:
            values_KNO = host.units(values_KNO)
            values_KNO[..., :count] = seen_KNO[..., :count].mean(1, keepdim=True)
    return values_KNO


def _of(nets: Nets, layer: str) -> tuple[Tensor, Tensor]:
    return nets.params[f"{layer}.weight"], nets.params[f"{layer}.bias"]
