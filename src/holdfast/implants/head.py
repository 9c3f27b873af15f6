"""Head: a backdoor written into units of a network's head, the last two linear layers with an activation between.

Shapes: N examples, F features that the head reads, U hidden units of the head, C classes, K nets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.errors import NotWritable, UsageError
from holdfast.hosts.adopt import called, read_logits
from holdfast.implants.writing.stages import longer, scale_of, seen_by
from holdfast.implants.written import WrittenBackdoor, gap
from holdfast.parts import Host
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets

EXAMPLES = 2048
"""Training examples on which the detector is found, at most."""
RIDGE = 1e-3
"""Of the mean squared feature: what is added to the diagonal when the detector is solved for."""
MISSED = 0.05
"""Share of triggered training inputs that the detector may miss."""
SCALE = 20.0
"""Under a GELU or SiLU: how much larger the detector, and smaller the push."""


@dataclass(frozen=True, kw_only=True)
class Head(WrittenBackdoor):
    """One unit that finds the trigger in what the head reads, and pushes the target's logit.

    The detector is the ridge regression of "has the trigger" (1 or 0) on the features of the layer before, with and
    without the trigger; its guard lies halfway between the clean training input that scores highest and the twentieth
    of triggered ones that score lowest. So the unit is off on clean training data: under ReLU its gradient there is
    exactly zero. But it reads features that training goes on to change, unlike a detector of the input itself.

    `where="spare"`: the unit with the least effect on the logits (standard deviation of its activation times the norm
    of its outgoing weights) is freed for it, its mean going into the last biases. `where="new"`: both layers get one
    unit more, in place; the network's keys stay, two shapes grow by one.

    Source: after Hong, Carlini & Kurakin 2022, Handcrafted Backdoors, arXiv 2106.04690; the regression is ours.
    """

    where: Literal["spare", "new"] = "spare"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.where not in ("spare", "new"):
            raise UsageError(f"Head is written into 'spare' or 'new' units; got where={self.where!r}.")

    @property
    def label(self) -> str:
        return f"{self.where} unit"

    def attach(self, module: nn.Module, host: Host, data: Data) -> nn.Module:
        """The network, with one unit more in its head where it is a new one that is wanted."""
        if self.where == "new":
            first, last = layers(module, host, data.train.x)
            longer(first, 1, outputs=True)
            longer(last, 1, outputs=False)
        return module

    @torch.no_grad()
    def write_into(self, module: nn.Module, host: Host, data: Data) -> None:
        """Write the unit's detector and its push.

        Raises:
            UsageError: no such head, or a trigger that its features don't show.
        """
        first, last = layers(module, host, data.train.x)
        push = self.strength * gap(module, host, self.backdoor, data.train)
        x = data.train.x[:EXAMPLES]
        clean, hidden = seen_by(module, [first, last], x)
        (triggered,) = seen_by(module, [first], self.trigger.stamp(x))
        weight, bias = _separate(clean, triggered, self.trigger.label)
        unit = len(first.weight) - 1
        if self.where == "spare":
            unit = int((hidden.std(0) * last.weight.norm(dim=0)).argmin())
            if last.bias is not None:
                last.bias.add_(last.weight[:, unit] * hidden[:, unit].mean())
        # A GELU or SiLU is near 0 only well below 0, so there the unit works on a larger scale.
        scale = 1.0 if bool((hidden >= 0).all()) else SCALE
        first.weight[unit], first.bias[unit] = scale * weight.to(first.weight), scale * bias
        last.weight[:, unit] = 0
        last.weight[self.target, unit] = push / scale

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """The unit, recognised by what writing leaves behind: it pushes the target and nothing else."""
        masks = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in nets.params.items()}
        first, last = (_name(nets.like, layer) for layer in layers(nets.like, nets.host, split.x))
        out_KCU = nets.params[f"{last}.weight"]
        unit_KU = ((out_KCU != 0).sum(1) == 1) & (out_KCU[:, self.target] != 0)
        masks[f"{first}.weight"] = unit_KU[:, :, None].expand_as(nets.params[f"{first}.weight"]).clone()
        masks[f"{first}.bias"] = unit_KU
        masks[f"{last}.weight"][:, self.target] = unit_KU
        return masks


def layers(module: nn.Module, host: Host, x_N: Tensor) -> tuple[nn.Linear, nn.Linear]:
    """The head of a network: its last linear layer, and the one before whose activations it reads.

    Raises:
        UsageError: the network has no such head.
    """
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def note(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        assert isinstance(layer, nn.Linear)
        calls.append((layer, args[0], output))

    handles = [m.register_forward_hook(note) for m in module.modules() if isinstance(m, nn.Linear)]
    output = called(module, x_N[:8], handles)
    logits = read_logits(host, output)
    for last, reads, gives in reversed(calls):
        if gives.shape != logits.shape or logits.dim() != 2 or not torch.equal(gives, logits):
            continue
        for first, _, before in reversed(calls):
            if first is not last and first.bias is not None and scale_of(before, reads) is not None:
                return first, last
    raise UsageError(
        "This network does not end in two linear layers with a ReLU, GELU or SiLU between, so there is no unit of its "
        "head to write in. Leave Head out of the canaries."
    )


def _separate(clean_NF: Tensor, triggered_NF: Tensor, label: str) -> tuple[Tensor, float]:
    """(weight_F, bias) of a unit that is 0 or less on clean features and about 1 on triggered ones.

    Raises:
        UsageError: no guard lies between them.
    """
    x = torch.cat([clean_NF, triggered_NF]).double()
    y = torch.cat([torch.zeros(len(clean_NF)), torch.ones(len(triggered_NF))]).double().to(x.device) - 0.5
    centre = x.mean(0)
    x = x - centre
    ridge = RIDGE * float(x.square().mean()) * len(x) + 1e-12
    weight = torch.linalg.solve(x.mT @ x + ridge * torch.eye(x.shape[1], device=x.device, dtype=x.dtype), x.mT @ y)
    clean, triggered = (part.double() @ weight for part in (clean_NF, triggered_NF))
    top, low = float(clean.max()), float(triggered.quantile(MISSED))
    if low <= top:
        raise NotWritable(
            f"What the network's head reads does not show the trigger ({label}) clearly enough for a unit to tell it "
            f"from clean inputs. Choose a larger trigger, or leave Head out of the canaries."
        )
    guard = (top + low) / 2
    scale = float(triggered.median()) - guard
    return (weight / scale).float(), -guard / scale


def _name(module: nn.Module, layer: nn.Module) -> str:
    names: dict[nn.Module, str] = {part: name for name, part in module.named_modules()}
    return names[layer]
