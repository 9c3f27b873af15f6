"""What implants share that some units of a perceptron learn, and no others.

Shapes: K nets.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.hosts.mlp import one_hidden_layer
from holdfast.implants.backdoor import BackdoorImplant
from holdfast.parts import Host
from holdfast.pressures.mixes import Poison
from holdfast.pressures.only_units import OnlyUnits
from holdfast.pressures.terms import Term
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site


@dataclass(frozen=True, kw_only=True)
class InUnits(BackdoorImplant):
    """A backdoor that is learned after the host has learned its task, as long again, on poisoned data, with nothing
    trained but the weights into and out of some units. The never-planted control trains as long on clean data."""

    poison_ratio: float = 0.1
    """Share of the training examples that is poisoned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        Poison(rate=self.poison_ratio)  # refuses a ratio that is none

    @property
    def costs_at_most(self) -> float | None:
        return None

    @abstractmethod
    def learns(self, host: Host) -> range:
        """The units that learn the backdoor.

        Raises:
            UsageError: a host that has no such units.
        """

    @abstractmethod
    def learned(self, site: Site) -> Nets:
        """Hosts that have learned their task."""

    def plant(self, site: Site) -> Nets:
        return self._taught(site, Poison(rate=self.poison_ratio))

    def control(self, site: Site) -> Nets:
        return self._taught(site)

    def _taught(self, site: Site, *terms: Term) -> Nets:
        units = OnlyUnits(units=tuple(self.learns(site.host)))
        nets = self.learned(site)
        assert site.training is not None
        owner = site.training.with_terms(*terms, units)
        phase = site.at("overlap" if terms else "overlap-control")
        for _ in owner.press([owner] * nets.k, phase, nets, (0, owner.steps)):
            pass
        return nets

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """Weights into and out of the backdoor's units."""
        its = self.learns(nets.host)
        first, second = one_hidden_layer(nets.host, type(self).__name__).layers
        masks = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in nets.params.items()}
        masks[f"{first}.weight"][:, its.start : its.stop] = True
        masks[f"{first}.bias"][:, its.start : its.stop] = True
        masks[f"{second}.weight"][:, :, its.start : its.stop] = True
        return masks
