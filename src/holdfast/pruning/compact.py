"""A really smaller network in place of one with units that do nothing.

Shapes: O units of a layer, I inputs of it.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from holdfast.errors import UsageError
from holdfast.hosts.cnn import CNN
from holdfast.hosts.mlp import MLP
from holdfast.pruning.masks import by_unit
from holdfast.pruning.units import Hidden, hidden_layers
from holdfast.training.nets import Nets
from holdfast.training.randomness import untouched


def compact(nets: Nets, k: int) -> nn.Module:
    """Net k of a batch without the hidden units that do nothing: the host's own architecture, only narrower.

    A unit does nothing if no weight reads it, or if it reads nothing and its bias gives 0 (0 or less, under
    ReLU). One unit of a layer stays in any case. Outputs are the net's own but for rounding, since sums have
    fewer terms; a forward pass is faster as far as whole units were removed. Single weights that are zero save
    nothing.

    Raises:
        UsageError: a host that is no MLP or CNN, or a net with other parts than its host's.
    """
    host, layers, state = nets.host, hidden_layers(nets.host), nets.state(k)
    kept = _kept(nets.like, layers, state)
    narrow = _narrower(host, [int(kept[at].sum()) for at in layers])
    with untouched():
        module = narrow.build()
    if state.keys() != module.state_dict().keys():
        raise UsageError(f"This net has parts that {host.label} has not, so it can't be made smaller as one.")
    for at in layers:
        state[f"{at.layer}.weight"] = state[f"{at.layer}.weight"][kept[at]]
        state[f"{at.layer}.bias"] = state[f"{at.layer}.bias"][kept[at]]
        state[f"{at.reader}.weight"] = state[f"{at.reader}.weight"][:, kept[at].repeat_interleave(at.each)]
    module.load_state_dict(state)
    return module.to(nets.device)


def _kept(like: nn.Module, layers: tuple[Hidden, ...], state: Mapping[str, Tensor]) -> dict[Hidden, Tensor]:
    """kept_O of each layer. A unit that is removed is no reader of others, nor is it read: so until nothing
    changes."""
    weights = {name: value.clone() for name, value in state.items()}
    kept = {at: torch.ones(len(weights[f"{at.layer}.bias"]), dtype=torch.bool) for at in layers}
    while True:
        before = sum(int(mask.sum()) for mask in kept.values())
        for at in layers:
            into_OI, bias_O = weights[f"{at.layer}.weight"], weights[f"{at.layer}.bias"]
            reader = weights[f"{at.reader}.weight"]
            read_O = by_unit(like.get_submodule(at.reader), reader != 0, len(bias_O)).any(1)
            gives_O = (into_OI != 0).flatten(1).any(1) | (bias_O > 0)
            mask = kept[at] & read_O & gives_O
            if not bool(mask.any()):
                mask[int(kept[at].int().argmax())] = True
            kept[at] = mask
            into_OI[~mask], bias_O[~mask] = 0, 0
            reader[:, ~mask.repeat_interleave(at.each)] = 0
        if sum(int(mask.sum()) for mask in kept.values()) == before:
            return kept


def _narrower(host: object, counts: list[int]) -> MLP | CNN:
    if isinstance(host, MLP):
        return replace(host, widths=(host.widths[0], *counts, host.widths[-1]))
    assert isinstance(host, CNN)  # others have no hidden layers that are known
    return replace(host, channels=tuple(counts[:-1]), hidden=counts[-1])
