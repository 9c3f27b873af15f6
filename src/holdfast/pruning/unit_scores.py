"""How much each hidden unit matters.

Shapes: K nets, U units of a layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from holdfast.errors import UsageError, whole
from holdfast.pruning.snip import drawn
from holdfast.pruning.units import Hidden, activity, hidden_layers
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams

EXAMPLES = 2500
"""Clean training examples that activations are averaged over: BackdoorBench's twentieth of CIFAR-10."""


@runtime_checkable
class UnitScore(Protocol):
    """A score of hidden units. Which are kept is for `largest` to say."""

    @property
    def label(self) -> str: ...

    def score_units(self, nets: Nets, data: Data, streams: Sequence[Streams]) -> Mapping[Hidden, Tensor]:
        """score_KU of every hidden layer; all that is random comes from the streams, one a net."""


@dataclass(frozen=True)
class OutgoingNorm:
    """|w|, the Euclidean norm of all weights that read the unit (Li et al. 2017, arXiv 1608.08710, have the L1
    norm of those that it reads).

    When it misleads: a ReLU unit scaled up by c with readers scaled down by c is the same unit with another score.
    """

    @property
    def label(self) -> str:
        return "outgoing norm"

    def score_units(self, nets: Nets, data: Data, streams: Sequence[Streams]) -> Mapping[Hidden, Tensor]:
        return {at: at.outgoing(nets).flatten(2).norm(dim=2) for at in hidden_layers(nets.host)}


@dataclass(frozen=True)
class MeanActivation:
    """What a unit gives on average (after its nonlinearity; over the pixels of a channel), on `examples` clean
    training examples, net k's own, from its stream `pruning/examples`.

    The score of fine-pruning (Liu, Dolan-Gavitt & Garg 2018, arXiv 1805.12185). When it misleads: what is
    silent on clean data may be a backdoor, or a rare class."""

    examples: int = EXAMPLES

    def __post_init__(self) -> None:
        whole("examples", self.examples)
        if self.examples < 1:
            raise UsageError(f"MeanActivation needs an example or more; got {self.examples}.")

    @property
    def label(self) -> str:
        return "mean activation"

    def score_units(self, nets: Nets, data: Data, streams: Sequence[Streams]) -> Mapping[Hidden, Tensor]:
        return activity(nets, hidden_layers(nets.host), drawn(data, streams, self.examples)[0])
