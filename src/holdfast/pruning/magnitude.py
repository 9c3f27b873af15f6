"""Magnitude: the weights that are near zero are removed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from holdfast.pruning.base import InRounds
from holdfast.pruning.masks import Masks
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


@dataclass(frozen=True)
class Magnitude(InRounds):
    """|w|.

    Han et al. 2015 (arXiv 1506.02626). Over a whole net it compares layers of different scales: what is small in a wide
    layer may be large in a narrow one.
    """

    @property
    def label(self) -> str:
        return "magnitude"

    def score(self, nets: Nets, data: Data, streams: Sequence[Streams], masks: Masks) -> Mapping[str, Tensor]:
        return {name: nets.params[name].abs() for name in masks}
