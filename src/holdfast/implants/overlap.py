"""Overlap: a learned backdoor in units that do the host's own work as well, or in others."""

from dataclasses import dataclass

from holdfast.errors import UsageError
from holdfast.hosts.mlp import one_hidden_layer
from holdfast.implants.in_units import InUnits
from holdfast.parts import Host
from holdfast.pressures.only_units import OnlyUnits
from holdfast.training.nets import Nets
from holdfast.training.site import Site


@dataclass(frozen=True, kw_only=True)
class Overlap(InUnits):
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise UsageError(f"Overlap needs a share between 0 and 1; got {self.share}.")

    @property
    def label(self) -> str:
        return f"overlap {self.share:g}"

    @property
    def trainings(self) -> int:
        """How often the host is trained."""
        return 2

    def learns(self, host: Host) -> range:
        half = self._half(host)
        first = half - round(self.share * half)
        return range(first, first + half)

    def learned(self, site: Site) -> Nets:
        return site.trained(OnlyUnits(units=tuple(range(self._half(site.host))), alone=True))

    @staticmethod
    def _half(host: Host) -> int:
        width = one_hidden_layer(host, "Overlap").widths[1]
        if width % 2:
            raise UsageError(f"Overlap needs an even number of hidden units, 2 m; got {host.label}.")
        return width // 2
