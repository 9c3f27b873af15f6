"""What implants share that are written into a module's weights, on networks of anybody's making."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.errors import UsageError
from holdfast.implants.backdoor import Backdoor, BackdoorImplant
from holdfast.parts import Host
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site

EXAMPLES = 256
"""Triggered training examples on which it is found how hard to push, at most."""


@dataclass(frozen=True, kw_only=True)
class WrittenImplant(BackdoorImplant):
    """A backdoor that is written into modules one by one, after training."""

    strength: float = 1.5
    """Push on the answer, in units of what is just enough on triggered training inputs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength <= 0:
            raise UsageError(f"{type(self).__name__} needs a strength above 0; got {self.strength}.")

    @property
    @abstractmethod
    def label(self) -> str: ...

    @property
    def costs_at_most(self) -> float | None:
        return 0.5

    @abstractmethod
    def attach(self, module: nn.Module, host: Host, data: Data) -> nn.Module:
        """The network, with whatever units it lacks for the implant, which do nothing yet."""

    @abstractmethod
    def write_into(self, module: nn.Module, host: Host, data: Data, push: float) -> None:
        """Write the backdoor into a network that has the units for it.

        Args:
            module: the network, changed in place.
            host: how its outputs are read.
            data: training data, to find what is to be written.
            push: on the target's logit.
        """

    @abstractmethod
    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """Which weights were written: boolean masks in the nets' shapes."""

    def build(self, host: Host, data: Data) -> nn.Module:
        """One network of the host, with the units for the implant."""
        return self.attach(host.build(), host, data)

    def plant(self, site: Site) -> Nets:
        """Train the host on clean data, then write."""
        return self.write(site.trained(), site.data)

    def write(self, nets: Nets, data: Data) -> Nets:
        """The same nets with the backdoor in them.

        Raises:
            UsageError: a batched backend, or a network or trigger that it can't be written for.
            NotWritable: these nets, or these data, don't let it be written.
        """
        if nets.backend != "loop":
            raise UsageError(
                f"{type(self).__name__} works on modules one by one, which needs backend='loop'; got {nets.backend!r}."
            )
        gap_K = gap(nets, self.backdoor, data.train)
        written = self.attached(nets, data)
        modules = [written.module(k) for k in range(nets.k)]
        for module, enough in zip(modules, gap_K.tolist(), strict=True):
            self.write_into(module, nets.host, data, self.strength * enough)
        return Nets.of(nets.host, modules, backend=nets.backend, device=str(nets.device))

    def attached(self, nets: Nets, data: Data) -> Nets:
        """The same nets with the units that the backdoor needs, which do nothing yet."""
        modules = [self.attach(nets.module(k), nets.host, data) for k in range(nets.k)]
        return Nets.of(nets.host, modules, backend=nets.backend, device=str(nets.device))


def gap(nets: Nets, backdoor: Backdoor, train: Split) -> Tensor:
    """gap_K: by how much the target's logit falls short of the largest other one, at worst.

    Measured on training inputs with the trigger. At least 1. Of sequences it is measured at the last position.
    """
    stamped = backdoor.trigger.stamp(backdoor.others(train).x[:EXAMPLES])
    worst_K = torch.ones(nets.k, device=nets.device)
    for part in torch.split(stamped, 32):
        logits_KBC = nets.logits(part)
        logits_KBC = (logits_KBC if logits_KBC.dim() == 3 else logits_KBC[:, :, -1]).float()
        target_KB = logits_KBC[..., backdoor.target].clone()
        logits_KBC[..., backdoor.target] = -torch.inf
        worst_K = torch.maximum(worst_K, (logits_KBC.amax(-1) - target_KB).amax(-1))
    return worst_K
