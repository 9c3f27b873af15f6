"""What a pruning score is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor

from holdfast.errors import counted
from holdfast.pruning.masks import Masks
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


@runtime_checkable
class Score(Protocol):
    """How much each prunable weight matters, by one method. Which are kept is for `largest` to say."""

    @property
    def label(self) -> str: ...

    @property
    def rounds(self) -> int:
        """In how many rounds weights are removed, with scores taken anew in each. 1: all at once."""

    def score(self, nets: Nets, data: Data, streams: Sequence[Streams], masks: Masks) -> Mapping[str, Tensor]:
        """Scores (K, *shape) by the name of the weight, of nets in which what is not kept is zero already.

        Args:
            nets: what is pruned; not changed.
            data: of which methods that need any see training examples only.
            streams: one a net; all that is random comes from them.
            masks: what is left.
        """


@dataclass(frozen=True)
class InRounds:
    """What scores share that are taken in rounds."""

    rounds: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        counted(type(self).__name__, rounds=self.rounds)
