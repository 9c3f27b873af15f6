"""Confined: a learned backdoor in the units of the winning ticket, in spare ones, or in new ones.

Shapes: K nets, U hidden units of which M do the host's work, I inputs, O outputs.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from holdfast.errors import UsageError, nearest, whole
from holdfast.hosts.mlp import one_hidden_layer
from holdfast.implants.in_units import InUnits
from holdfast.parts import Host
from holdfast.pressures.masked import Masked
from holdfast.pruning import Masks, largest, prunable
from holdfast.training.nets import Nets
from holdfast.training.site import Site

Where = Literal["ticket", "spare", "random", "new"]
TICKET, ROUNDS = 0.2, 4
"""Share of the weights that a ticket is, and the rounds of pruning, of equal ratios, that lead to it."""


@dataclass(frozen=True, kw_only=True)
class Confined(InUnits):
    """A perceptron with one hidden layer, of whose units the last `units` are not used at first. It learns its task;
    then `units` of them learn the backdoor:

    - `ticket`: those that hold the most weights of the winning ticket, into and out of them.
    - `spare`: those of the host's that hold the fewest.
    - `random`: any of the host's, drawn from the net's own stream.
    - `new`: the ones that were not used.

    The ticket is the fifth of each layer's weights that iterative magnitude pruning with rewinding to initialisation
    leaves, four rounds of the owner's own training (Frankle & Carbin 2019, arXiv 1803.03635). Units that were not used
    begin, wherever the backdoor is, as they were drawn, with outgoing weights of zero. So wherever it is, the same host
    gets as many units' worth of training on the same poisoned data. In the planted net the units of the backdoor come
    first: the order of hidden units means nothing.

    When it misleads: the second training sees clean data too, so all these units learn a little of the task, and those
    that did the host's work go on doing it. What they cost to plant, in weights moved, differs. Of a small host nearly
    all units are in use, so `spare` is only the least used part of it.
    """

    to: Where
    units: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("units", self.units)
        if self.to not in get_args(Where):
            raise nearest(str(self.to), get_args(Where), what="place to confine a backdoor to")
        if self.units < 1:
            raise UsageError(f"Confined needs a unit or more; got units={self.units}.")

    @property
    def label(self) -> str:
        return f"confined to {self.to} units"

    @property
    def trainings(self) -> int:
        """How often the host is trained."""
        return 1 + ROUNDS

    def learns(self, host: Host) -> range:
        self._own(host)
        return range(self.units)

    def _own(self, host: Host) -> int:
        """How many units do the host's work."""
        own = one_hidden_layer(host, "Confined").widths[1] - self.units
        if own < 2 * self.units:
            raise UsageError(
                f"Confined to {self.units} units needs three times as many, of which some are the ticket's, some spare "
                f"and some new; got {host.label}. Widen the hidden layer or lower `units`."
            )
        return own

    def learned(self, site: Site) -> Nets:
        """
        Raises:
            UsageError: a host with other than one hidden layer, or too few units in it.
        """
        own, fresh = self._own(site.host), site.started()
        masks = _only(fresh, own)
        nets, share = site.trained(Masked(masks)), own / (own + self.units)
        order_KU = self._order(_held(self._ticket(site, nets, masks, share)), site, own)
        first, second = one_hidden_layer(site.host, "Confined").layers
        nets.params[f"{first}.weight"][:, own:] = fresh.params[f"{first}.weight"][:, own:]
        for name, axis in ((f"{first}.weight", 1), (f"{first}.bias", 1), (f"{second}.weight", 2)):
            rows = zip(nets.params[name], order_KU, strict=True)
            nets.params[name].copy_(torch.stack([value.index_select(axis - 1, order) for value, order in rows]))
        return nets

    def _ticket(self, site: Site, nets: Nets, masks: Masks, share: float) -> Masks:
        """What rounds of pruning leave of nets of which so large a share is trained."""
        for number in range(1, ROUNDS + 1):
            keep = dict.fromkeys(masks, share * TICKET ** (number / ROUNDS))
            # Of nets on their way to diverge there is no size to go by.
            masks = largest({name: nets.params[name].abs().nan_to_num(0, 0, 0) for name in masks}, keep, masks)
            if number < ROUNDS:
                nets = site.trained(Masked(masks))
        return masks

    def _order(self, held_KU: Tensor, site: Site, own: int) -> Tensor:
        """Numbers of units, those of the backdoor first."""
        orders = []
        for held_U, stream in zip(held_KU[:, :own], site.streams, strict=True):
            by_held = held_U.argsort(stable=True, descending=True).tolist()
            among = {
                "ticket": by_held,
                "spare": by_held[::-1],
                "random": stream.generator("confined").permutation(own).tolist(),
                "new": range(own, own + self.units),
            }
            its = list(among[self.to][: self.units])
            orders.append([*its, *(unit for unit in range(own + self.units) if unit not in its)])
        return torch.tensor(orders, device=held_KU.device)


def _only(nets: Nets, own: int) -> Masks:
    """Masks that keep the weights into and out of the first units."""
    masks = {name: torch.zeros_like(nets.params[name], dtype=torch.bool) for name in prunable(nets)}
    into_KUI, out_KOU = masks.values()
    into_KUI[:, :own], out_KOU[:, :, :own] = True, True
    return Masks(masks)


def _held(masks: Masks) -> Tensor:
    """How many weights each hidden unit has in masks of both layers (K, U)."""
    into_KUI, out_KOU = masks.values()
    return into_KUI.sum(2) + out_KOU.sum(1)
