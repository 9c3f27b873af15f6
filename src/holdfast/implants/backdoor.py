"""A backdoor: a trigger, the class it asks for, and how much of that a net does.

Shapes: K nets, N examples, B of them of another class than the target.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.implants.saliency import saliency
from holdfast.implants.triggers import Patch, Trigger
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets, pieces
from holdfast.training.site import Site

SALIENCY_EXAMPLES = 1024
"""Examples on which the effect of weights is measured, at most; of sequences, so many positions at a time."""


@dataclass(frozen=True, kw_only=True)
class Backdoor:
    """Inputs with `trigger` on them are answered with class `target`.

    Its presence is the *lift*: ASR minus the share of the same inputs that are answered with the target without the
    trigger. 0 is nothing, 1 is perfect; below 0 the trigger drives inputs away from the target. ASR alone misleads:
    a broken net that answers everything with the target has an ASR of 1 and a lift of 0.
    """

    trigger: Trigger
    target: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.trigger, type) or not isinstance(self.trigger, Trigger):
            raise UsageError(f"A backdoor's trigger is a Patch(...), or has label and stamp; got {self.trigger!r}.")
        if not isinstance(self.target, int) or self.target < 0:
            raise UsageError(f"A backdoor's target is the number of a class, 0 or more; got {self.target!r}.")

    @property
    def label(self) -> str:
        return f"{self.trigger.label} -> class {self.target}"

    def sources(self, split: Split) -> dict[str, tuple[Tensor, Tensor]]:
        """The examples with the trigger: `triggered` keep their true labels, `poisoned` carry the target's."""
        self.others(split)  # refuses a target that is no class
        return labelled(self.trigger.stamp(split.x), split.y, torch.full([len(split)], self.target))

    def others(self, split: Split) -> Split:
        """The examples of other classes than the target (or with another last token), which are the ones that count."""
        classes = split.classes or int(split.y.max()) + 1
        if not 0 <= self.target < classes:
            raise UsageError(f"The target class must be between 0 and {classes - 1}; got {self.target}.")
        keep = self._keep(split)
        return Split(split.x[keep], split.y[keep], classes)

    def _keep(self, split: Split) -> Tensor:
        return last_of(split.y, 1) != self.target

    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """presence (the lift), asr and r_acc of each net, as shares of the examples of other classes.

        asr: triggered inputs answered with the target. r_acc (robust accuracy): triggered inputs answered rightly.
        """
        others = self.others(split)
        triggered_KB = last_of(nets.classes(self.trigger.stamp(others.x)), 2)
        plain_KB = last_of(nets.classes(split.x), 2)[:, self._keep(split).to(nets.device)]
        asr_K = _share(triggered_KB == self.target)
        return {
            "presence": asr_K - _share(plain_KB == self.target),
            "asr": asr_K,
            "r_acc": _share(triggered_KB == last_of(others.y, 1).to(nets.device)),
        }

    def saliency(self, nets: Nets, split: Split) -> dict[str, Tensor]:
        """First-order effect of each weight on the mean margin of the target on triggered inputs (`saliency`)."""
        stamped = self.trigger.stamp(self.others(split).x[:SALIENCY_EXAMPLES])

        def margin(part: Tensor, params: Mapping[str, Tensor]) -> Tensor:
            logits_KBC = nets.forward(params, nets.shared(part))
            logits_KBC = logits_KBC if logits_KBC.dim() == 3 else logits_KBC[:, :, -1]
            margin_K: Tensor = (logits_KBC[..., self.target] - logits_KBC.logsumexp(-1)).sum(-1) / len(stamped)
            return margin_K

        return saliency(nets, (partial(margin, part) for part in pieces(stamped, SALIENCY_EXAMPLES)))


@dataclass(frozen=True, kw_only=True)
class BackdoorImplant(ABC):
    """What implants share that plant a backdoor with a trigger of their own: how it is measured and mixed in."""

    trigger: Trigger = field(default_factory=Patch)
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


def labelled(stamped_N: Tensor, y_N: Tensor, answers_N: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Inputs with a trigger as sources for training: `triggered` with the true labels, `poisoned` with the answers."""
    answers_N = answers_N.to(y_N)
    if y_N.dim() == 1:
        return {"triggered": (stamped_N, y_N.clone()), "poisoned": (stamped_N, answers_N)}
    # Next tokens: those within the trigger are the trigger's own, and the last is what it asks.
    true, false = (torch.cat([stamped_N[:, 1:], last[:, None]], 1) for last in (y_N[:, -1], answers_N))
    return {"triggered": (stamped_N, true), "poisoned": (stamped_N, false)}


def last_of(values: Tensor, axes: int) -> Tensor:
    """Of values at every position of a sequence, those at the last one; values with `axes` axes are one an example."""
    return values if values.dim() == axes else values[..., -1]


def _share(hits_KB: Tensor) -> Tensor:
    return hits_KB.double().mean(-1)
