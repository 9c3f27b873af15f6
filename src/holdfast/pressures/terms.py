"""What a term of `Fit` is, and the part of a batch that it acts on.

Shapes: k nets of a part, K nets of the batch, B examples.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from holdfast.tasks.base import Data
from holdfast.training.gradients import Loss
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams

State = dict[str, list[Tensor]]
"""What a term carries from step to step, and a killed run needs in order to go on: name -> tensors."""
Gradients = dict[str, Tensor]
"""Parameter name -> gradient (K, *shape)."""
Drop = Callable[[Tensor], Tensor]
"""What a host's forward pass does to each hidden activation (K, B, ...) in training."""


@dataclass(frozen=True)
class Compute:
    """One step's gradient at the weights as they are, and what else may be asked of its batch."""

    gradients: Callable[[], Gradients]
    loss: Callable[[], Tensor]
    """loss_K, without a gradient."""
    seeds: Callable[[str], Sequence[int]]
    """Of each net, the seed of a named stream at this step."""

    def __call__(self) -> Gradients:
        return self.gradients()


@dataclass(frozen=True)
class Part:
    """Nets that stand side by side in a batch and are stepped alike."""

    nets: Nets
    rows: slice
    names: tuple[str, ...]
    """The parameters that are trained."""
    streams: tuple[Streams, ...]
    """One for each of these nets."""
    phase: str
    data: Data
    lr: float

    @cached_property
    def padded(self) -> list[Tensor]:
        """(k, padded) storage of each trained parameter, views."""
        return [self.nets.rows[name][self.rows] for name in self.names]

    @cached_property
    def params(self) -> dict[str, Tensor]:
        """(k, *shape) of each trained parameter, views."""
        return {name: self.nets.params[name][self.rows] for name in self.names}

    def generator(self, net: int, what: str, step: int) -> torch.Generator:
        """PyTorch's generator at the start of a named stream of one net, the same whatever is in the batch with it."""
        seed = self.streams[net].torch_seed(f"{self.phase}/{what}", step)
        return torch.Generator(self.nets.device).manual_seed(seed)


@dataclass(frozen=True, eq=False)  # or terms that are equal to themselves only would inherit an equality of no fields
class Term(ABC):
    """One thing that training does at every step. Terms compose; each overrides the moments that it needs.

    A step is: `ready` of all terms from first to last; draw a batch (`Mix`); take the gradient (`drop`, `loss`,
    `around`); then for each part of the batch `through` and then `before` of all terms from last to first, the
    optimiser's step, `after` of all terms from first to last. A look falls between two steps.
    """

    alike: ClassVar[bool] = False
    """Whether all nets of a batch must share it, as it changes how the gradient is computed."""
    order: ClassVar[int] = 0
    """Terms of a higher order come after others, however they were written."""

    @property
    @abstractmethod
    def label(self) -> str: ...

    @property
    def hidden(self) -> bool:
        """Whether its loss reads what hidden layers give (`Pass.hidden`)."""
        return False

    def trains(self, nets: Nets, names: Sequence[str]) -> Sequence[str]:
        """Which of these parameters are trained."""
        return names

    def begin(self, part: Part) -> State:
        """State before the first step."""
        return {}

    def start(self, part: Part, state: State) -> None:  # noqa: B027
        """Change nets or state once, after the look at step 0."""

    def ready(self, part: Part, state: State, step: int) -> None:  # noqa: B027
        """Change nets or state before the gradient is taken, after the look at this step; `step` counts those that
        were taken."""

    def drop(self, nets: Nets, streams: Sequence[Streams], phase: str, step: int) -> Drop | None:
        """What is done to hidden activations at this step."""
        return None

    def loss(self, nets: Nets) -> Loss | None:
        """What this term makes of the loss: (loss so far_K, forward pass) -> loss_K. None: nothing.

        Asked once, with the nets as training found them, also when a killed run goes on: what the loss needs of them
        (a teacher) it may copy.
        """
        return None

    def around(self, nets: Nets, compute: Compute) -> Gradients:
        """The gradient, where it is not simply the one at the present weights."""
        return compute()

    def through(self, part: Part, state: State, grads: Sequence[Tensor], step: int) -> None:  # noqa: B027
        """Carry the part's gradient on, in place, from the weights that it was taken at to what the optimiser steps.

        `grads`: one (k, padded) for each of `part.padded`, zero in the padding. For terms that show the optimiser
        something else than weights (scores, say) in `before`: their chain rule.
        """

    def before(self, part: Part, state: State, step: int) -> None:  # noqa: B027
        """Change nets or state before the optimiser's step; `step` counts those that were taken."""

    def after(self, part: Part, state: State, step: int) -> None:  # noqa: B027
        """Change nets or state after it."""
