"""Given: something that is in the model already."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from holdfast.errors import HoldfastError
from holdfast.implants.backdoor import Backdoor
from holdfast.implants.saliency import most_salient
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site

Reading = Callable[[nn.Module, Tensor, Tensor], float]
"""(network, inputs, targets) -> presence between 0 and 1"""


@dataclass(frozen=True, init=False)
class Given:
    """A backdoored or otherwise suspect checkpoint that somebody brings; nothing is planted.

    All seeds start from the same weights and differ in the pressure's randomness only, so the verdict is about this
    checkpoint, not about a way of planting. Without `clean` nothing says how much presence a model has that was never
    planted: no control limit and no re-activation test are claimed, and the verdict says so.
    """

    presence_of: Backdoor | Reading
    """What is measured: a backdoor whose trigger is known, or any function of the network. A function is shown the
    held-out examples, and should give 0 where there is nothing and 1 where all is there."""
    checkpoint: Path | None = None
    """The suspect weights: a safetensors file, keyed as the host's state dict. None: the host is built with them."""
    clean: Path | None = None
    """A reference without the thing: the same architecture, trained the same way."""

    def __init__(
        self,
        presence: Backdoor | Reading,
        *,
        checkpoint: str | Path | None = None,
        clean: str | Path | None = None,
    ):
        object.__setattr__(self, "presence_of", presence)
        object.__setattr__(self, "checkpoint", None if checkpoint is None else Path(checkpoint))
        object.__setattr__(self, "clean", None if clean is None else Path(clean))
        for path in (self.checkpoint, self.clean):
            if path is not None and not path.exists():
                raise HoldfastError(f"No file at {path}. Expected a safetensors file with weights of the host.")

    @property
    def label(self) -> str:
        return "given" if self.checkpoint is None else f"given ({self.checkpoint.name})"

    @property
    def costs_at_most(self) -> float | None:
        return None

    @property
    def has_control(self) -> bool:
        return self.clean is not None

    def plant(self, site: Site) -> Nets:
        """The suspect weights, once for each seed."""
        return site.started() if self.checkpoint is None else site.loaded(self.checkpoint)

    def control(self, site: Site) -> Nets:
        """The clean reference, once for each seed."""
        if self.clean is None:
            raise HoldfastError("This Given has no clean reference model; pass `clean=`.")
        return site.loaded(self.clean)

    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        return self.presence_of.sources(split) if isinstance(self.presence_of, Backdoor) else {}

    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        if isinstance(self.presence_of, Backdoor):
            return self.presence_of.presence(nets, split)
        finite = nets.finite().tolist()
        values = [_call(self.presence_of, nets.module(k), split) if finite[k] else torch.nan for k in range(nets.k)]
        return {"presence": torch.tensor(values, dtype=torch.float64)}

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        if isinstance(self.presence_of, Backdoor):
            return most_salient(self.presence_of.saliency(nets, split), 0.05)
        return {name: torch.ones_like(p, dtype=torch.bool) for name, p in nets.params.items()}


def _call(presence: Reading, net: nn.Module, split: Split) -> float:
    """The user's function on one net, held to its scale."""
    name = getattr(presence, "__name__", type(presence).__name__)
    try:
        with torch.no_grad():
            value = float(presence(net, split.x, split.y))
    except Exception as error:
        raise HoldfastError(
            f"The presence function {name} raised {type(error).__name__}: {error}. It is called with the network, "
            f"inputs of shape {tuple(split.x.shape)} and targets of shape {tuple(split.y.shape)}."
        ) from error
    if not -1 <= value <= 1:
        raise HoldfastError(f"The presence function {name} returned {value:g}; it must stay within 0 and 1.")
    return value
