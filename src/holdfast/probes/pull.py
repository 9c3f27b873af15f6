"""How hard clean and triggered examples pull at the weights.

Shapes: K nets, P weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.probes.base import Look
from holdfast.training.draws import PROBE_EXAMPLES
from holdfast.training.gradients import gradients

NAMES = ("clean_pull", "trigger_pull", "pull_cosine")


@dataclass(frozen=True)
class Pull:
    """The mean loss gradient of clean examples, g_c, and of the same ones with the trigger and their true label, g_t.

    `clean_pull` |g_c|, `trigger_pull` |g_t|, and `pull_cosine` between them; over all weights, on the first 512
    training examples (of sequences so many positions, in whole sequences). From these the share of the trigger's part
    in the gradient follows for any firing rate p: p |g_t| / |(1 - p) g_c + p g_t| (`pull_share`).

    Undefined (stored as null) where the implant has no triggered examples. A gradient is no update: Adam and sign
    descent rescale it, weight by weight.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        sources = look.implant.sources(look.train)
        if "triggered" not in sources:
            return dict.fromkeys(NAMES, torch.full((look.nets.k,), torch.nan))
        clean_KP = self._gradient(look, look.train.x, look.train.y)
        trigger_KP = self._gradient(look, *sources["triggered"])
        clean_K, trigger_K = clean_KP.norm(dim=1), trigger_KP.norm(dim=1)
        return {
            "clean_pull": clean_K,
            "trigger_pull": trigger_K,
            "pull_cosine": (clean_KP * trigger_KP).sum(1) / (clean_K * trigger_K),
        }

    @staticmethod
    def _gradient(look: Look, x_N: Tensor, y_N: Tensor) -> Tensor:
        count = max(1, PROBE_EXAMPLES // y_N[0].numel())
        found = gradients(look.nets, look.nets.shared(x_N[:count]), look.nets.shared(y_N[:count]))
        return torch.cat([g.flatten(1).double() for g in found.values()], 1)


def pull_share(clean: float, trigger: float, cosine: float, rate: float) -> float:
    """p |g_t| / |(1 - p) g_c + p g_t| at firing rate p."""
    c, t = (1 - rate) * clean, rate * trigger
    whole = (c * c + t * t + 2 * c * t * cosine) ** 0.5
    return t / whole if whole > 0 else float("nan")
