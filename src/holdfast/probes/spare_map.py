"""Where the implant sits in what a net could do without.

Shapes: K nets, U hidden units, P prunable weights of one net.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from holdfast.errors import UsageError, number, whole
from holdfast.hosts.adopt import read_logits
from holdfast.probes.base import Look
from holdfast.pruning.ablation import Ablation
from holdfast.pruning.largest import largest
from holdfast.pruning.masks import by_unit, prunable
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets

BLANK = 1e-3
"""Nats of loss up to which a unit counts as one that could go."""


@dataclass(frozen=True, kw_only=True)
class SpareMap:
    """Which weights pruning would take first, and which units the loss would miss: the implant's, and the host's.

    - `rank_implant`: where the implant's weights stand among all prunable ones by size, on average: 0 is the first that
      magnitude pruning removes, 1 the last; one half, were they drawn at random. Equal sizes share a rank.
    - `ticket_implant`, `ticket_host`: share of the implant's weights, and of the others, that are among the `keep`
      largest of the net now, zeros left out.
    - `effect_implant`, `effect_host`: by how much the loss on clean data rises, in nats, when one unit alone gives its
      mean; of units with a weight of the implant behind them, and of the others.
    - `spare_units`: of the hidden units that some weight reads, the share whose ablation raises it by less than .001.

    Prunable are the weights of linear and convolutional layers (`pruning/masks.py`); units are what such layers read
    behind the first one (`pruning/ablation.py`). Looked at over steps they say who gets out of the way. Of an implant
    in several parts each part has measures with its ending. Null in nets that were never planted.

    When it misleads: size is not use, and layers differ in scale. A unit that answers to the trigger alone has no
    effect on clean data, however much it does on others; that is the point, and it says nothing about whether it
    matters. A forward pass a unit and a net: slow for wide nets.
    """

    keep: float = 0.2
    """Share of the prunable weights that counts as the ticket."""
    examples: int = 256
    """Held-out examples on which units are ablated, the first so many."""

    def __post_init__(self) -> None:
        number("keep", self.keep)
        whole("examples", self.examples)
        if not 0 < self.keep < 1 or self.examples < 1:
            raise UsageError(
                f"SpareMap keeps a share between 0 and 1 and looks at an example or more; got {self.keep}, "
                f"{self.examples}."
            )

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        nets, names = look.nets, prunable(look.nets)
        size_KP = torch.cat([nets.params[name].detach().abs().flatten(1) for name in names], 1)
        finite_K = nets.finite()
        size_KP = torch.where(finite_K[:, None], size_KP, 0.0)
        kept_KP = largest({"all": size_KP}, self.keep)["all"] & (size_KP > 0)
        rank_KP = torch.from_numpy(rankdata(size_KP.numpy(force=True), axis=1) - 1) / max(1, size_KP.shape[1] - 1)
        few = Split(look.split.x[: self.examples], look.split.y[: self.examples], look.split.classes)
        each = [self._effects(look, k, few) if bool(finite_K[k]) else None for k in range(nets.k)]
        found = {"spare_units": torch.stack([_blank(nets, k, effects) for k, effects in enumerate(each)])}
        for ending, masks in look.masks.items():
            written_KP = torch.cat([masks[name].flatten(1) for name in names], 1)
            found |= {
                f"rank_implant{ending}": _mean(rank_KP, written_KP),
                f"ticket_implant{ending}": _mean(kept_KP.double(), written_KP),
                f"ticket_host{ending}": _mean(kept_KP.double(), ~written_KP),
            }
            for who, is_implant in (("implant", True), ("host", False)):
                found[f"effect_{who}{ending}"] = torch.stack(
                    [_effect(nets.like, effects, masks, k, is_implant) for k, effects in enumerate(each)]
                )
        return found

    @staticmethod
    def _effects(look: Look, k: int, few: Split) -> dict[str, Tensor]:
        host = look.nets.host
        return Ablation(look.nets.module(k), few, lambda output: read_logits(host, output)).effects(few)


NOTHING = torch.tensor(torch.nan, dtype=torch.float64)


def _blank(nets: Nets, k: int, effects: Mapping[str, Tensor] | None) -> Tensor:
    """Of the units that some weight reads, the share that could go; NaN where there are none, and of a net that has
    diverged."""
    if effects is None:
        return NOTHING
    there = [
        effect_U[_is_read(nets, k, path, len(effect_U))] if f"{path}.weight" in nets.params else effect_U
        for path, effect_U in effects.items()
    ]
    return (torch.cat(there) < BLANK).double().mean()


def _is_read(nets: Nets, k: int, path: str, units: int) -> Tensor:
    """Whether a weight of net k that is not zero reads each unit."""
    weight = nets.params[f"{path}.weight"][k].detach().cpu()
    return by_unit(nets.like.get_submodule(path), weight != 0, units).any(1)


def _mean(value_KP: Tensor, of_KP: Tensor) -> Tensor:
    """Mean over the named weights of each net; NaN where there are none."""
    return (value_KP * of_KP).sum(1) / of_KP.sum(1)


def _effect(
    like: nn.Module, effects: Mapping[str, Tensor] | None, masks: Mapping[str, Tensor], k: int, is_implant: bool
) -> Tensor:
    """Mean effect of the units that carry the implant, or of the others; NaN where there are none."""
    if effects is None:
        return NOTHING
    chosen = [
        effect_U[
            by_unit(like.get_submodule(path), masks[f"{path}.weight"][k].cpu(), len(effect_U)).any(1) == is_implant
        ]
        for path, effect_U in effects.items()
        if f"{path}.weight" in masks
    ]
    return torch.cat(chosen).double().mean() if chosen else NOTHING
