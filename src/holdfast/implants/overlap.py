"""Overlap: a learned backdoor in units that do the host's own work as well, or in others.

Shapes: K nets.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.hosts.mlp import MLP
from holdfast.implants.backdoor import BackdoorImplant
from holdfast.parts import Host
from holdfast.pressures.mixes import Poison
from holdfast.pressures.only_units import OnlyUnits
from holdfast.pressures.terms import Term
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site


@dataclass(frozen=True, kw_only=True)
class Overlap(BackdoorImplant):
    """A perceptron with one hidden layer of 2 m units: the first m learn the task, then m learn the backdoor, of which
    `share` x m are among the first.

    First the host is trained on clean data with its first m units alone (`OnlyUnits`); then, for as long again, on
    poisoned data, of which a tenth carries the trigger, with nothing trained but the weights into and out of the m
    units of the backdoor. Those that the host has not used begin as they were drawn, with outgoing weights of zero. So
    at every share the same number of units does the same two things; the never-planted control trains as long on clean
    data.

    When it misleads: the second training sees clean data too, so units of the backdoor learn a little of the task, also
    where they are none of the first. A share of 0 is disjoint in units and not in what a layer sums up.
    """

    share: float = 1.0
    """Of the backdoor's units, how many are the host's: 0 disjoint, 1 the same."""
    poison_ratio: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise UsageError(f"Overlap needs a share between 0 and 1; got {self.share}.")
        Poison(rate=self.poison_ratio)

    @property
    def label(self) -> str:
        return f"overlap {self.share:g}"

    @property
    def costs_at_most(self) -> float | None:
        return None

    @property
    def trainings(self) -> int:
        """How often the host is trained."""
        return 2

    def units(self, host: Host) -> tuple[range, range]:
        """(the host's, the backdoor's)

        Raises:
            UsageError: a host that is no perceptron with one hidden layer of an even number of units.
        """
        if not isinstance(host, MLP) or len(host.widths) != 3 or host.widths[1] % 2:
            raise UsageError(f"Overlap needs a perceptron with one hidden layer of 2 m units; got {host.label}.")
        half = host.widths[1] // 2
        first = half - round(self.share * half)
        return range(half), range(first, first + half)

    def plant(self, site: Site) -> Nets:
        return self._taught(site, Poison(rate=self.poison_ratio))

    def control(self, site: Site) -> Nets:
        return self._taught(site)

    def _taught(self, site: Site, *terms: Term) -> Nets:
        own, its = self.units(site.host)
        nets = site.trained(OnlyUnits(units=tuple(own), alone=True))
        assert site.training is not None
        owner = site.training.with_terms(*terms, OnlyUnits(units=tuple(its)))
        phase = site.at("overlap" if terms else "overlap-control")
        for _ in owner.press([owner] * nets.k, phase, nets, (0, owner.steps)):
            pass
        return nets

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """Weights into and out of the backdoor's units."""
        _, its = self.units(nets.host)
        first, second = nets.host.layers  # type: ignore[attr-defined]
        masks = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in nets.params.items()}
        masks[f"{first}.weight"][:, its.start : its.stop] = True
        masks[f"{first}.bias"][:, its.start : its.stop] = True
        masks[f"{second}.weight"][:, :, its.start : its.stop] = True
        return masks
