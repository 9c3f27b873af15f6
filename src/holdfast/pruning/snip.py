"""SNIP: how much the loss feels that a weight is there.

Shapes: K nets, B examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import counted
from holdfast.pruning.base import InRounds
from holdfast.pruning.masks import Masks
from holdfast.tasks.base import Data
from holdfast.training.gradients import gradients
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


@dataclass(frozen=True)
class SNIP(InRounds):
    """|w dL/dw|, the size of dL/dc at c = 1 where a weight is c w; L the mean cross-entropy of `examples` training
    examples, net k's own.

    Lee, Ajanthan & Torr 2019 (arXiv 1810.02340), equation 5; the normalisation there changes no order.
    """

    examples: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        counted("SNIP", examples=self.examples)

    @property
    def label(self) -> str:
        return "SNIP"

    def score(self, nets: Nets, data: Data, streams: Sequence[Streams], masks: Masks) -> Mapping[str, Tensor]:
        x_KB, y_KB = drawn(data, streams, self.examples)
        found = gradients(nets, x_KB, y_KB)
        return {name: (found[name] * nets.params[name]).detach().abs() for name in masks}


def drawn(data: Data, streams: Sequence[Streams], examples: int) -> tuple[Tensor, Tensor]:
    """(x_KB, y_KB): so many training examples for each net, from its stream `pruning/examples`."""
    count = min(examples, len(data.train))
    rows = [s.generator("pruning/examples").permutation(len(data.train))[:count] for s in streams]
    rows_KB = torch.stack([torch.from_numpy(row) for row in rows]).to(data.train.x.device)
    return data.train.x[rows_KB], data.train.y[rows_KB]
