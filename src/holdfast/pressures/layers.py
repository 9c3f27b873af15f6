"""Which layers are trained, and which begin anew."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from holdfast.errors import UsageError
from holdfast.pressures.terms import Part, State, Term
from holdfast.training.nets import Nets
from holdfast.training.randomness import seeded


@dataclass(frozen=True, kw_only=True)
class LastLayer(Term):
    """Only the last layer is trained; all else stays as it is, to the bit (decay, noise and clipping too).

    With it, `Fit` is what the watermark literature calls FTLL, without it FTAL; with `Reinitialise` RTLL and RTAL
    (Adi et al. 2018, arXiv 1802.04633).

    The last layer is the last module, in the order of PyTorch's `named_parameters`, that holds parameters.
    """

    alike: ClassVar[bool] = True

    @property
    def label(self) -> str:
        return "last layer only"

    def trains(self, nets: Nets, names: Sequence[str]) -> Sequence[str]:
        layer = last_layer(nets)
        return [name for name in names if name.rpartition(".")[0] == layer]


@dataclass(frozen=True, kw_only=True)
class Reinitialise(Term):
    """Before the first step the last layer is drawn anew, by its own `reset_parameters` (PyTorch's default).

    The look at step 0 is before that.
    """

    @property
    def label(self) -> str:
        return "last layer re-initialised"

    def start(self, part: Part, state: State) -> None:
        path = last_layer(part.nets)
        fresh = copy.deepcopy(part.nets.like.get_submodule(path))
        reset: Any = getattr(fresh, "reset_parameters", None)
        if reset is None:
            raise UsageError(f"{path} ({type(fresh).__name__}) has no reset_parameters, so it can't be drawn anew.")
        for k, stream in enumerate(part.streams):
            with seeded(stream.torch_seed(f"{part.phase}/reinitialise")):
                reset()
            for name, p in fresh.named_parameters():
                part.nets.params[f"{path}.{name}" if path else name][part.rows][k].copy_(p.detach())


def last_layer(nets: Nets) -> str:
    """Dotted path of the last module that holds parameters."""
    return list(nets.params)[-1].rpartition(".")[0]
