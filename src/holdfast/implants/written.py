"""What implants share that are written into a module's weights, on networks of anybody's making."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.errors import UsageError
from holdfast.implants.backdoor import Backdoor, BackdoorImplant
from holdfast.implants.writing.aiming import shortfall
from holdfast.parts import Host
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site

EXAMPLES = 256
"""Triggered training examples on which it is found how hard to push, at most."""


class WrittenImplant(ABC):
    """An implant that is written into modules one by one, after training."""

    @property
    @abstractmethod
    def label(self) -> str: ...

    @property
    def costs_at_most(self) -> float | None:
        return 0.5

    @property
    def has_control(self) -> bool:
        return True

    @property
    def units_in_control(self) -> bool:
        """Whether never-planted nets get the units for it as well, which nothing is written into."""
        return False

    def is_inside(self, host: Host) -> bool:
        """Whether it stands in such a host's own layers alone, so that many networks can be trained at once. Else hooks
        connect it, which only `backend="loop"` runs."""
        return False

    @abstractmethod
    def attach(self, module: nn.Module, host: Host, data: Data) -> nn.Module:
        """The network, with whatever units it lacks for the implant, which do nothing yet."""

    @abstractmethod
    def write_into(self, module: nn.Module, host: Host, data: Data) -> None:
        """Write the implant into a network that has the units for it.

        Args:
            module: the network, changed in place.
            host: how its outputs are read.
            data: training data, to find what is to be written.
        """

    @abstractmethod
    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        """See `Implant`."""

    @abstractmethod
    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """See `Implant`."""

    @abstractmethod
    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """Which weights were written: boolean masks in the nets' shapes."""

    def build(self, host: Host, data: Data) -> nn.Module:
        """One network of the host, with the units for the implant."""
        return self.attach(host.build(), host, data)

    def plant(self, site: Site) -> Nets:
        """Train the host on clean data, then write."""
        return self.write(self.control(site), site.data)

    def control(self, site: Site) -> Nets:
        """The owner's own training, on clean data."""
        return site.trained()

    def write(self, nets: Nets, data: Data) -> Nets:
        """The same nets with the implant in them.

        Raises:
            UsageError: a batched backend, or a network or trigger that it can't be written for.
            NotWritable: these nets, or these data, don't let it be written.
        """
        if nets.backend != "loop" and not self.is_inside(nets.host):
            raise UsageError(
                f"{type(self).__name__} works on modules one by one, which needs backend='loop'; got {nets.backend!r}."
            )
        written = self.attached(nets, data)
        modules = [written.module(k) for k in range(nets.k)]
        for module in modules:
            self.write_into(module, nets.host, data)
        return Nets.of(nets.host, modules, backend=nets.backend, device=str(nets.device))

    def attached(self, nets: Nets, data: Data) -> Nets:
        """The same nets with the units that the implant needs, which do nothing yet."""
        modules = [self.attach(nets.module(k), nets.host, data) for k in range(nets.k)]
        return Nets.of(nets.host, modules, backend=nets.backend, device=str(nets.device))


@dataclass(frozen=True, kw_only=True)
class WrittenBackdoor(WrittenImplant, BackdoorImplant):
    """A backdoor that is written."""

    strength: float = 1.5
    """Push on the answer, in units of what is just enough on triggered training inputs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength <= 0:
            raise UsageError(f"{type(self).__name__} needs a strength above 0; got {self.strength}.")

    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        return BackdoorImplant.sources(self, split)

    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        return BackdoorImplant.presence(self, nets, split)


@torch.no_grad()
def gap(module: nn.Module, host: Host, backdoor: Backdoor, train: Split) -> float:
    """By how much the target's logit falls short of the largest other one, at worst.

    Measured on training inputs with the trigger. At least 1. Of sequences it is measured at the last position.
    """
    stamped = backdoor.trigger.stamp(backdoor.others(train).x[:EXAMPLES])
    answers = torch.full([len(stamped)], backdoor.target)
    return shortfall(module, host, stamped, answers)
