"""How many bits a neuron of a memory holds at zero error."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.samples.memory import Memory, Recall
from holdfast.training.streams import Streams


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """log2 of the most levels at which nothing is recalled wrongly; 0 where two are too many.

    Tried are 2 to `most` levels, each with so many messages; every seed draws messages, permutations and noise. Beside
    it `error_L`: the share of the neurons that are recalled wrongly at L levels.

    When it misleads: errors that are rarer than one in messages x neurons are not seen.
    """

    memory: Memory
    messages: int
    most: int = 8

    @property
    def label(self) -> str:
        return f"bits at zero error over {self.messages:,} messages"

    def measure(self, streams: Streams) -> Mapping[str, float]:
        tried = range(2, self.most + 1)
        errors = {levels: Recall(self.memory, levels, self.messages, streams).error() for levels in tried}
        free = [1, *(levels for levels, error in errors.items() if error == 0)]
        return {"bits": math.log2(max(free)), **{f"error_{levels}": error for levels, error in errors.items()}}
