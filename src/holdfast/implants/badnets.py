"""BadNets: a backdoor that the host learns from poisoned training data."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from holdfast.implants.backdoor import BackdoorImplant
from holdfast.implants.saliency import most_salient
from holdfast.pressures.mixes import Poison
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site


@dataclass(frozen=True, kw_only=True)
class BadNets(BackdoorImplant):
    """The owner's own training, on data of which a share carries the trigger and the target's label.

    Nothing says where in the net such a backdoor sits, so its "weights" are the 5 % with the largest first-order
    effect on triggered inputs at step 0 (`Backdoor.saliency`): they are shared with the host, so a gradient on them
    is not a gradient *against* the backdoor.

    Source: Gu, Dolan-Gavitt & Garg 2017, BadNets, arXiv 1708.06733.
    """

    poison_ratio: float = 0.1
    """Share of the training examples that is poisoned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.poison  # refuses a ratio that is none

    @property
    def label(self) -> str:
        return "BadNets"

    @property
    def costs_at_most(self) -> float | None:
        return None

    @property
    def poison(self) -> Poison:
        """The term that plants it."""
        return Poison(rate=self.poison_ratio)

    def plant(self, site: Site) -> Nets:
        """Train from initialisation on the poisoned data.

        Raises:
            UsageError: a trigger outside the image, or a ratio that poisons nothing.
        """
        return site.trained(self.poison)

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        return most_salient(self.backdoor.saliency(nets, split), 0.05)
