"""Early stopping.

Shapes: k nets of a part, K nets of the batch.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.errors import UsageError, whole
from holdfast.pressures.terms import Part, State, Term
from holdfast.training.evaluate import evaluate


@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Term):
    """A net whose loss on validation data has not fallen for `patience` looks in a row goes back to its best weights
    and stays there.

    The weights at the start count too. A look is every `every` steps, at the mean cross-entropy over the validation
    data. The dose goes on being counted: what follows a stop are steps that change nothing. A net that is not stopped
    keeps its last weights.
    """

    order: ClassVar[int] = 2

    every: int = 50
    patience: int = 3

    def __post_init__(self) -> None:
        for field in ("every", "patience"):
            whole(field, getattr(self, field))
            if getattr(self, field) < 1:
                raise UsageError(f"EarlyStopping needs {field} of 1 or more; got {getattr(self, field)}.")

    @property
    def label(self) -> str:
        return f"early stopping after {self.patience} x {self.every} steps"

    def begin(self, part: Part) -> State:
        count = len(part.streams)
        none = torch.full((count,), torch.inf, device=part.nets.device)
        return {
            "best": [row.clone() for row in part.padded],
            "looks": [none, torch.zeros_like(none), torch.zeros_like(none)],
        }

    def start(self, part: Part, state: State) -> None:
        lowest_k = state["looks"][0]
        lowest_k.copy_(self._loss(part))
        for best, row in zip(state["best"], part.padded, strict=True):
            best.copy_(row)  # other terms may have changed it since `begin`

    @staticmethod
    def _loss(part: Part) -> Tensor:
        """Mean cross-entropy of each net over the validation data."""
        return evaluate(part.nets, part.data.validation)[0][part.rows].float()

    def after(self, part: Part, state: State, step: int) -> None:
        lowest_k, waited_k, stopped_k = state["looks"]
        if (step + 1) % self.every == 0:
            loss_k = self._loss(part)
            better_k = (loss_k < lowest_k) & (stopped_k == 0)
            for best, row in zip(state["best"], part.padded, strict=True):
                best[better_k] = row[better_k]
            lowest_k[better_k] = loss_k[better_k]
            waited_k.add_(1).masked_fill_(better_k, 0)
            stopped_k.masked_fill_(waited_k >= self.patience, 1)
        stop_k = stopped_k > 0
        if bool(stop_k.any()):
            for best, row in zip(state["best"], part.padded, strict=True):
                row[stop_k] = best[stop_k]
