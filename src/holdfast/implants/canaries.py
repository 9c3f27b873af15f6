"""Canaries: several implants in one network, each with a trigger of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from holdfast.errors import NotWritable, UsageError
from holdfast.implants.badnets import BadNets
from holdfast.implants.given import Given
from holdfast.implants.written import WrittenImplant
from holdfast.parts import Host, Implant
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site

if TYPE_CHECKING:
    from holdfast.pressures.mixes import Poison

Canary = BadNets | Given | WrittenImplant


@dataclass(frozen=True)
class Canaries:
    """Implants that share a network: one training tells of them all.

    What is learned is planted first, then what is written; `Given` is there already. Their measures carry the canary's
    label (`presence/BadNets`). Whether one disturbs another is for a control to show: each planted alone.
    """

    each: tuple[Canary, ...]
    """From the easiest to remove to the hardest."""

    def __post_init__(self) -> None:
        if not isinstance(self.each, tuple) or not all(isinstance(canary, Canary) for canary in self.each):
            raise UsageError(f"Canaries are a tuple of BadNets, Head, Beside, Circuit or Given; got {self.each!r}.")
        labels = [canary.label for canary in self.each]
        if not labels or len(set(labels)) < len(labels):
            raise UsageError(f"Canaries need one implant or more, each with a label of its own; got {labels}.")

    @property
    def label(self) -> str:
        return " + ".join(canary.label for canary in self.each)

    @property
    def parts(self) -> Mapping[str, Implant]:
        """Each canary, by the ending of its measures."""
        return {f"/{canary.label}": canary for canary in self.each}

    @property
    def costs_at_most(self) -> float | None:
        return None

    @property
    def has_control(self) -> bool:
        return True

    def build(self, host: Host, data: Data) -> nn.Module:
        """One network of the host with the units that canaries add, which do nothing yet."""
        module = host.build()
        for canary in self.each:
            if isinstance(canary, WrittenImplant):
                module = canary.attach(module, host, data)
        return module

    def plant(self, site: Site) -> Nets:
        """The owner's network, further trained on data with every learned canary's poison, then written to."""
        nets = site.trained(*self._learned()) if self._learned() else site.started()
        for canary in self.each:
            if isinstance(canary, WrittenImplant):
                nets = _written(canary, nets, site.data)
        return nets

    def control(self, site: Site) -> Nets:
        """The owner's network, further trained on clean data for as long, if that is what planting does."""
        return site.trained() if self._learned() else site.started()

    def _learned(self) -> tuple["Poison", ...]:
        return tuple(canary.poison for canary in self.each if isinstance(canary, BadNets))

    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        return next((canary.sources(split) for canary in self.each if isinstance(canary, BadNets)), {})

    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        return {
            f"{name}{ending}": value
            for ending, canary in self.parts.items()
            for name, value in canary.presence(nets, split).items()
        }

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        found = [canary.weights(nets, split) for canary in self.each]
        return {name: sum((masks[name] for masks in found[1:]), found[0][name]).bool() for name in found[0]}

    def alone(self, canary: Canary) -> "Canaries":
        """The same with one canary only."""
        return replace(self, each=(canary,))


def _written(canary: WrittenImplant, nets: Nets, data: Data) -> Nets:
    """The nets with this canary in them. One that can't be written counts as not planted: its units do nothing."""
    try:
        return canary.write(nets, data)
    except NotWritable:
        return canary.attached(nets, data)
