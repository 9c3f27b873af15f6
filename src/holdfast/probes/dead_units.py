"""Hidden units that are off on everything they are shown.

Shapes: N examples, U units of a layer.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import UsageError, number, whole
from holdfast.hosts.adopt import evaluating
from holdfast.probes.base import Look
from holdfast.training.nets import ALONE_EXAMPLES

CUT, SMOOTH = (nn.ReLU, nn.ReLU6), (nn.GELU, nn.SiLU)
NAMED = ("GELUActivation", "GELUTanh", "SiLUActivation")
"""Ends of the names of other people's GELU and SiLU modules (transformers')."""


@dataclass(frozen=True, kw_only=True)
class DeadUnits:
    """`dead_units`: share of the hidden units that are off on all held-out examples, at all their positions.

    Units are the outputs of ReLU, GELU and SiLU modules: the last axis of what they put out, or channels (axis 1) where
    that has four axes or more. A ReLU is off where it is exactly 0; GELU and SiLU, which never are, where |output| <=
    `threshold`. A module that is called several times counts each time.

    A dead ReLU gets no gradient from these data, so it is spare room: what is written there, fine-tuning on such data
    cannot see. Undefined (stored as null) where no such module runs; activations that are called as functions (F.relu)
    are not seen. Misleads with few examples, on which a rare unit looks dead; one-dimensional convolutions have their
    positions counted as units.

    Source: Lu, Shin, Su & Karniadakis 2020, Dying ReLU and Initialization, arXiv 1903.06733.
    """

    examples: int | None = None
    """Held-out examples, the first so many. None: all."""
    threshold: float = 1e-3
    """Size of the output of a GELU or SiLU up to which it counts as off."""

    def __post_init__(self) -> None:
        if self.examples is not None:
            whole("examples", self.examples)
        number("threshold", self.threshold)
        if (self.examples is not None and self.examples < 1) or not self.threshold >= 0:
            raise UsageError(
                f"DeadUnits needs 1 example or more and a threshold of 0 or more; got examples={self.examples}, "
                f"threshold={self.threshold}."
            )

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        x_N = look.split.x[: self.examples].to(look.nets.device)
        shares = [self._share(look.nets.module(k), x_N) for k in range(look.nets.k)]
        return {"dead_units": torch.tensor(shares, dtype=torch.float64)}

    def _share(self, module: nn.Module, x_N: Tensor) -> float:
        alive: dict[tuple[str, int], Tensor] = {}
        calls: Counter[str] = Counter()

        def listen(name: str, off: float) -> Callable[..., None]:
            def hook(part: nn.Module, args: Any, output: Tensor) -> None:
                key, alive_U = (name, calls[name]), _size(output) > off
                alive[key] = alive[key] | alive_U if key in alive else alive_U
                calls[name] += 1

            return hook

        for name, part in module.named_modules():  # a copy's, so that no hook has to be taken off again
            smooth = isinstance(part, SMOOTH) or type(part).__name__.endswith(NAMED)
            if smooth or isinstance(part, CUT):
                part.register_forward_hook(listen(name, self.threshold if smooth else 0.0))
        with torch.no_grad(), evaluating(module):
            for part_N in torch.split(x_N, ALONE_EXAMPLES):
                calls.clear()
                module(part_N)
        return float((~torch.cat(list(alive.values()))).double().mean()) if alive else torch.nan


def _size(output: Tensor) -> Tensor:
    """Largest |output| of each unit, size_U."""
    axis = 1 if output.dim() > 3 else -1
    return output.detach().abs().movedim(axis, -1).flatten(0, -2).amax(0)
