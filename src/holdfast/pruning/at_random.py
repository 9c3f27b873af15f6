"""Random scores: the control of every other method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.pruning.base import InRounds
from holdfast.pruning.masks import Masks
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


@dataclass(frozen=True)
class AtRandom(InRounds):
    """Uniform in [0, 1), from net k's own stream `pruning/random`."""

    @property
    def label(self) -> str:
        return "random"

    def score(self, nets: Nets, data: Data, streams: Sequence[Streams], masks: Masks) -> Mapping[str, Tensor]:
        found = {}
        for at, name in enumerate(masks):
            rows = [s.generator("pruning/random", at).random(nets.params[name].shape[1:], "float32") for s in streams]
            found[name] = torch.stack([torch.from_numpy(row) for row in rows]).to(nets.device)
        return found
