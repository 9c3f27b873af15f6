"""How often training has met the trigger.

Shapes: K nets, S batches.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.probes.base import Look

VERSIONS = ("triggered", "poisoned")
"""Versions of the data that carry the trigger."""


@dataclass(frozen=True)
class TriggerRate:
    """What training has been shown of the trigger since the look before.

    - `trigger_batches`: share of the batches in which at least one example carried it. With independent draws at rate p
      and B examples a batch it is 1 - (1 - p)^B on average: 99.9 % at p = .1 and B = 64.
    - `trigger_examples`: share of the examples that carried it.

    Counted from the pressure's own draws, exactly: the examples that it mixed in as `triggered` or `poisoned`. 0 where
    nothing is mixed in. Undefined (stored as null) at step 0, and where the draws are not known (a user's training).

    Misleads where clean examples carry the trigger by themselves: those are not counted.
    """

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        if look.checkpoint.shown is None:
            unknown_K = torch.full((look.nets.k,), torch.nan)
            return {"trigger_batches": unknown_K, "trigger_examples": unknown_K}
        shown = look.checkpoint.shown()
        all_KS = torch.stack(list(shown.values())).sum(0)
        none_KS = torch.zeros_like(all_KS)
        with_KS = none_KS + sum(shown.get(name, none_KS) for name in VERSIONS)
        return {
            "trigger_batches": (with_KS > 0).double().mean(1),
            "trigger_examples": with_KS.sum(1).double() / all_KS.sum(1),
        }
