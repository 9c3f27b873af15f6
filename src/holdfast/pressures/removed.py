"""What terms share that remove weights.

Shapes: k nets of a part.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch

from holdfast.pressures.terms import Part, State, Term
from holdfast.pruning.masks import Masks
from holdfast.training.nets import Nets


@dataclass(frozen=True, kw_only=True)
class Removed(Term):
    """Weights are set to zero in rounds, and stay zero, to the bit.

    Round 1 is before the first step, after the look at step 0; the others `every` steps after the one before,
    each after the look that falls there. A look is thus at what training made of the round before. The
    optimiser goes on from round to round as if nothing had happened.
    """

    order: ClassVar[int] = 3
    """After `EarlyStopping`, which may bring back weights that were removed since."""

    rounds: int
    every: int

    @abstractmethod
    def removes(self, nets: Nets) -> tuple[str, ...]:
        """Names of the weights that may be removed."""

    @abstractmethod
    def keeps(self, part: Part, nets: Nets, masks: Masks, done: int) -> Masks:
        """What is kept from a round on.

        Args:
            part: where data and streams are.
            nets: the part's, a copy; of nets that diverged all weights are 0.
            masks: what was kept until now.
            done: rounds that have been before it.
        """

    def begin(self, part: Part) -> State:
        """Where weights are gone, by their name."""
        params = {name: part.nets.params[name][part.rows] for name in self.removes(part.nets)}
        return {name: [torch.zeros_like(value, dtype=torch.bool)] for name, value in params.items()}

    def ready(self, part: Part, state: State, step: int) -> None:
        done, within = divmod(step, self.every)
        if within or done >= self.rounds:
            return
        nets = part.nets.take(range(*part.rows.indices(part.nets.k)))
        diverged_k = ~nets.finite()  # has no scores, and is counted as diverged whatever is removed from it
        for row in nets.rows.values():
            row[diverged_k] = 0
        masks = self.keeps(part, nets, Masks({name: ~gone for name, (gone,) in state.items()}), done)
        for name, (gone,) in state.items():
            gone.copy_(~masks[name])
        self.after(part, state, step)

    def after(self, part: Part, state: State, step: int) -> None:
        for name, (gone,) in state.items():  # filled, not multiplied: minus zero has other bits than zero
            part.nets.params[name][part.rows].masked_fill_(gone, 0)
