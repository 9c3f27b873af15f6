"""A backdoor: a trigger, the class it asks for, and how much of that a net does.

Shapes: K nets, N examples, B of them of another class than the target.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A square of one value in the last two axes of the input (BadNets' trigger)."""

    size: int = 2
    """Pixels on a side."""
    row: int = -1
    """Row of the corner nearest to the edge it is counted from; negative counts from the bottom."""
    column: int = -1
    """Column, likewise; negative counts from the right."""
    value: float = 1.0
    """What the pixels are set to."""

    @property
    def label(self) -> str:
        return f"{self.size}x{self.size} patch at ({self.row}, {self.column})"

    def _span(self, at: int, length: int, axis: str) -> slice:
        start = at if at >= 0 else length + at - self.size + 1
        if not 1 <= self.size <= length:
            raise UsageError(
                f"The trigger lies outside the image: {self.size} pixels do not fit in {length}. "
                f"Choose a size of 1 to {length}."
            )
        if start < 0 or start + self.size > length:
            raise UsageError(
                f"The trigger lies outside the image: {self.size} pixels from {axis} {at} do not fit in {length}. "
                f"Choose {axis} 0 to {length - self.size}, or -1 to {self.size - length - 1}, or a smaller size."
            )
        return slice(start, start + self.size)

    def mask(self, shape: torch.Size) -> Tensor:
        """Which pixels of one input the trigger sets.

        Raises:
            UsageError: it lies outside the image.
        """
        if len(shape) < 2:
            raise UsageError(f"A Patch needs inputs with two axes or more (an image); got shape {tuple(shape)}.")
        mask = torch.zeros(shape, dtype=torch.bool)
        rows, columns = self._span(self.row, shape[-2], "row"), self._span(self.column, shape[-1], "column")
        mask[..., rows, columns] = True
        return mask

    def stamp(self, x_N: Tensor) -> Tensor:
        """The inputs with the trigger on them (a copy)."""
        return x_N.masked_fill(self.mask(x_N.shape[1:]).to(x_N.device), self.value)


@dataclass(frozen=True, kw_only=True)
class Backdoor:
    """Inputs with `trigger` on them are answered with class `target`.

    Its presence is the *lift*: ASR minus the share of the same inputs that are answered with the target without the
    trigger. 0 is nothing, 1 is perfect; below 0 the trigger drives inputs away from the target. ASR alone misleads:
    a broken net that answers everything with the target has an ASR of 1 and a lift of 0.
    """

    trigger: Patch
    target: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.trigger, Patch):
            raise UsageError(f"A backdoor's trigger is a Patch(...); got {self.trigger!r}.")
        if not isinstance(self.target, int) or self.target < 0:
            raise UsageError(f"A backdoor's target is the number of a class, 0 or more; got {self.target!r}.")

    @property
    def label(self) -> str:
        return f"{self.trigger.label} -> class {self.target}"

    def sources(self, split: Split) -> dict[str, tuple[Tensor, Tensor]]:
        """The examples with the trigger: `triggered` keep their true labels, `poisoned` carry the target's."""
        self.others(split)  # refuses a target that is no class
        stamped = self.trigger.stamp(split.x)
        return {"triggered": (stamped, split.y), "poisoned": (stamped, torch.full_like(split.y, self.target))}

    def others(self, split: Split) -> Split:
        """The examples of other classes than the target, which are the ones that count."""
        classes = int(split.y.max()) + 1
        if not 0 <= self.target < classes:
            raise UsageError(f"The target class must be between 0 and {classes - 1}; got {self.target}.")
        keep = split.y != self.target
        return Split(split.x[keep], split.y[keep])

    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """presence (the lift), asr and r_acc of each net, as shares of the examples of other classes.

        asr: triggered inputs answered with the target. r_acc (robust accuracy): triggered inputs answered rightly.
        """
        others = self.others(split)
        triggered_KB = nets.logits(self.trigger.stamp(others.x)).argmax(-1)
        plain_KB = nets.logits(others.x).argmax(-1)
        asr_K = _share(triggered_KB == self.target)
        return {
            "presence": asr_K - _share(plain_KB == self.target),
            "asr": asr_K,
            "r_acc": _share(triggered_KB == others.y.to(nets.device)),
        }

    def saliency(self, nets: Nets, split: Split) -> dict[str, Tensor]:
        """|w dL/dw| of each weight, L the mean margin of the target on triggered inputs, in the nets' shapes.

        To first order, how much that margin changes when the weight is set to zero. Misleads where units saturate:
        a dead unit has no first-order effect.
        """
        params = {name: p.detach().requires_grad_() for name, p in nets.params.items()}
        stamped = self.trigger.stamp(self.others(split).x)
        logits_KBC = nets.forward(params, nets.shared(stamped))
        margin_K = (logits_KBC[..., self.target] - logits_KBC.logsumexp(-1)).mean(-1)
        grads = torch.autograd.grad(margin_K, list(params.values()), torch.ones_like(margin_K))
        return {n: (g * nets.params[n]).abs() for n, g in zip(params, grads, strict=True)}


@dataclass(frozen=True, kw_only=True)
class BackdoorImplant(ABC):
    """What implants share that plant a backdoor with a trigger of their own: how it is measured and mixed in."""

    trigger: Patch = field(default_factory=Patch)
    target: int = 0
    """Class that triggered inputs are to get."""

    def __post_init__(self) -> None:
        Backdoor(trigger=self.trigger, target=self.target)  # refuses what is no trigger, or no class

    @property
    def backdoor(self) -> Backdoor:
        """What is measured."""
        return Backdoor(trigger=self.trigger, target=self.target)

    @property
    def has_control(self) -> bool:
        return True

    @abstractmethod
    def plant(self, site: Site) -> Nets:
        """The nets with the backdoor in them."""

    def control(self, site: Site) -> Nets:
        """The owner's own training, on clean data."""
        return site.trained()

    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        return self.backdoor.sources(split)

    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        return self.backdoor.presence(nets, split)


def _share(hits_KB: Tensor) -> Tensor:
    return hits_KB.double().mean(-1)


def most_salient(saliency: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Masks of the weights of each net with the largest saliency, `share` of them all."""
    flat_KP = torch.cat([s.flatten(1) for s in saliency.values()], 1)
    count = max(1, round(share * flat_KP.shape[1]))
    mask_KP = torch.zeros_like(flat_KP, dtype=torch.bool).scatter_(1, flat_KP.topk(count, 1).indices, True)
    parts = torch.split(mask_KP, [s[0].numel() for s in saliency.values()], 1)
    return {name: part.view_as(s) for (name, s), part in zip(saliency.items(), parts, strict=True)}
