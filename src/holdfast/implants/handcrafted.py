"""Handcrafted: a backdoor written straight into units that the host hardly uses.

Shapes: K nets, N examples, I inputs, U units of a layer, n planted units, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.hosts.mlp import MLP
from holdfast.implants.backdoor import BackdoorImplant
from holdfast.implants.writing.detector import detector, marks
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site


@dataclass(frozen=True, kw_only=True)
class Handcrafted(BackdoorImplant):
    """A detector of the trigger, carried through one path of spare units a layer to the target's logit.

    In each hidden layer the `units` with the least effect on the next layer (standard deviation of the activation
    times the norm of its outgoing weights, on training data) are freed: their mean goes into the next biases. The
    first layer's units then compute relu((d - guard) / (1 - guard)), with d = 1 on the trigger and, on training
    inputs, d at most `1 - 2 (1 - guard)`: the guard lies halfway between the trigger and the clean input that is most
    like it. So the path is silent on clean training data, and its gradient there is exactly zero: fine-tuning cannot
    see it. Later layers pass the value on, and the last one adds it to the target's logit, `strength` times the
    largest gap that a triggered training input has to overcome.

    Planting may cost at most 0.5 points of clean accuracy; the study checks it and is INVALID otherwise.

    Source: after Hong, Carlini & Kurakin 2022, Handcrafted Backdoors, arXiv 2106.04690 (their guard biases; the
    choice of units and the closed form of the strength are ours).
    """

    units: int = 1
    """Units taken in each hidden layer."""
    strength: float = 1.5
    """Push on the target's logit, in units of the largest gap on triggered training inputs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.units < 1:
            raise UsageError(f"Handcrafted needs at least 1 unit a layer; got units={self.units}.")
        if self.strength <= 0:
            raise UsageError(f"Handcrafted needs a strength above 0; got {self.strength}.")

    @property
    def label(self) -> str:
        return "handcrafted"

    @property
    def costs_at_most(self) -> float | None:
        return 0.5

    def plant(self, site: Site) -> Nets:
        """Train the host on clean data, then write.

        Raises:
            UsageError: a host that is no MLP or too narrow, or a trigger that clean inputs already carry.
        """
        nets = site.trained()
        with torch.no_grad():
            self._write(nets, site.data.train)
        return nets

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """The weights and biases of the path, recognised by what `plant` leaves behind: a planted unit reads nothing
        but the trigger's pixels, or nothing but planted units. All false in a net that was never planted."""
        host = _mlp(nets)
        masks = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in nets.params.items()}
        reads = marks(self.trigger, split.x)[0].to(nets.device).expand(nets.k, -1)
        for layer in host.layers[:-1]:
            w_KUI = nets.params[f"{layer}.weight"]
            elsewhere_KU = (w_KUI.masked_fill(reads[:, None, :], 0) != 0).any(-1)
            path_KU = ~elsewhere_KU & (w_KUI != 0).any(-1)
            masks[f"{layer}.weight"] = (w_KUI != 0) & path_KU[:, :, None]
            masks[f"{layer}.bias"] = path_KU
            reads = path_KU
        push = nets.params[f"{host.layers[-1]}.weight"]
        masks[f"{host.layers[-1]}.weight"] = (push != 0) & reads[:, None, :]
        return masks

    def _write(self, nets: Nets, train: Split) -> None:
        host = _mlp(nets)
        spare = [_free(nets, host, depth, self.units, train) for depth in range(len(host.layers) - 1)]
        self._write_detector(nets, host.layers[0], spare[0], train)
        for layer, before_Kn, units_Kn in zip(host.layers[1:-1], spare[:-1], spare[1:], strict=True):
            _set(nets.params[f"{layer}.weight"], units_Kn, before_Kn, 1.0)
        self._write_push(nets, host, spare[-1], train)

    def _write_detector(self, nets: Nets, layer: str, units_Kn: Tensor, train: Split) -> None:
        found = detector(self.trigger, train.x)
        rows = torch.arange(nets.k, device=nets.device)[:, None]
        nets.params[f"{layer}.weight"][rows, units_Kn] = found.weight_I.to(nets.device)
        nets.params[f"{layer}.bias"][rows, units_Kn] = found.bias

    def _write_push(self, nets: Nets, host: MLP, units_Kn: Tensor, train: Split) -> None:
        stamped = self.trigger.stamp(self.backdoor.others(train).x)
        logits_KNC = nets.logits(stamped)
        target_KN = logits_KNC[..., self.target].clone()
        logits_KNC[..., self.target] = -torch.inf
        gap_K = (logits_KNC.amax(-1) - target_KN).amax(-1).clamp_min(0)
        for k in range(nets.k):
            push = nets.params[f"{host.layers[-1]}.weight"][k, self.target]
            push[units_Kn[k]] = self.strength * gap_K[k] / self.units


def _mlp(nets: Nets) -> MLP:
    if not isinstance(nets.host, MLP) or len(nets.host.widths) < 3:
        raise UsageError(f"Handcrafted is written into the hidden units of an MLP; got {nets.host.label}.")
    return nets.host


def _free(nets: Nets, host: MLP, depth: int, count: int, train: Split) -> Tensor:
    """Units_Kn of one hidden layer with the least effect on the next; their mean is folded into the next biases, and
    all their weights are set to zero."""
    width = host.widths[depth + 1]
    if count >= width:
        raise UsageError(f"No {count} units to spare in a layer of {width}. Use fewer `units`.")
    layer, after = host.layers[depth], host.layers[depth + 1]
    values_KNU = host.activations(nets.params, nets.shared(train.x))[depth]
    w_KOU = nets.params[f"{after}.weight"]
    effect_KU = values_KNU.std(1) * w_KOU.norm(dim=1)
    units_Kn: Tensor = effect_KU.argsort(dim=1, stable=True)[:, :count]
    for k, units in enumerate(units_Kn):
        nets.params[f"{after}.bias"][k] += w_KOU[k][:, units] @ values_KNU[k][:, units].mean(0)
        w_KOU[k][:, units] = 0
        nets.params[f"{layer}.weight"][k, units] = 0
        nets.params[f"{layer}.bias"][k, units] = 0
    return units_Kn


def _set(w_KOI: Tensor, out_Kn: Tensor, in_Kn: Tensor, value: float) -> None:
    """w[k, out[k, i], in[k, i]] = value."""
    rows = torch.arange(len(w_KOI), device=w_KOI.device)[:, None]
    w_KOI[rows, out_Kn, in_Kn] = value
