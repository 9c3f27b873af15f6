"""Spare units: how many hidden units of a trained net can be replaced by their mean, all at once.

Shapes: S seeds, U units.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from holdfast.errors import UsageError, number, whole
from holdfast.parts import Host, Task
from holdfast.pressures.fit import Fit
from holdfast.pruning.ablation import Ablation
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

MEASURES = ("share", "share_random", "accuracy", "units")
POINTS = 32
"""How many numbers of units are tried, evenly, up to all of them."""


@dataclass(frozen=True, kw_only=True)
class SpareUnits:
    """Train a net; order its hidden units by how little the training loss rises when each alone gives its mean; ablate
    more and more of them in that order, without training, and look at the accuracy on test data.

    Measures: `share`, the largest share of the units that is ablated at an accuracy of at most `within` points under
    that of the whole net; `share_random`, the same in an order drawn at random; `accuracy`, of the whole net; `units`.
    With `labels="random"` the training labels are permuted (the same permutation for every seed), and accuracy is that
    on the training data. `labels="none"`: nothing is trained. A net that has diverged has no measures.

    When it misleads: units that do the same are counted as spare one after the other only as far as the rest can carry
    on; another order may do without more, so `share` is a lower bound. What is spare for accuracy may carry confidence.
    Resolution is the larger of a unit and 1 / 32 of them. With few test examples
    the largest share within the limit is picked among noisy ones, and is a little high.
    """

    host: Host
    task: Task
    training: Fit
    within: float = 0.5
    """Points of accuracy."""
    examples: int = 512
    """Training examples on which units are ordered, and means are taken."""
    labels: str = "true"

    def __post_init__(self) -> None:
        number("within", self.within)
        whole("examples", self.examples)
        if self.labels not in ("true", "random", "none"):
            raise UsageError(f"labels are 'true', 'random' or 'none'; got {self.labels!r}.")
        if not 0 <= self.within <= 100 or self.examples < 1:
            raise UsageError(
                f"SpareUnits needs points of 0 or more and an example or more; got {self.within}, {self.examples}."
            )

    @property
    def label(self) -> str:
        labels = {"true": "", "random": ", random labels", "none": ", untrained"}[self.labels]
        return f"spare units of {self.host.label}{labels}"

    @property
    def steps(self) -> int:
        """Optimiser steps of one seed."""
        return 0 if self.labels == "none" else self.training.steps

    @property
    def batch(self) -> int:
        return self.training.batch

    @property
    def together(self) -> int:
        """Seeds that train in one batch."""
        return 16

    def shortened(self) -> "SpareUnits":
        return replace(self, training=Fit(*self.training.terms, steps=4, batch=self.training.batch), examples=32)

    def measure(self, streams: Streams) -> Mapping[str, float]:
        return self.measure_together([streams], Slot(), lambda _: None)[0]

    def measure_together(
        self, each: Sequence[Streams], slot: Slot, tick: Callable[[int], None]
    ) -> Sequence[Mapping[str, float]]:
        """The measures of several seeds, which train in one batch; each is what it would be alone."""
        data = self._data()
        nets = Nets.initialised(self.host, tuple(each))
        site = Site(host=self.host, data=data, streams=tuple(each), slot=slot, tick=tick)
        if self.labels != "none":
            for _ in Fit.press([self.training] * nets.k, site, nets, [self.training.steps]):
                pass
        finite = nets.finite().tolist()
        return [
            self._measured(nets, k, data, streams) if finite[k] else dict.fromkeys(MEASURES, math.nan)
            for k, streams in enumerate(each)
        ]

    def _data(self) -> Data:
        data = self.task.load()
        if self.labels != "random":
            return data
        order = np.random.Generator(np.random.Philox(key=0)).permutation(len(data.train))
        return replace(data, train=replace(data.train, y=data.train.y[torch.from_numpy(order)]))

    def _measured(self, nets: Nets, k: int, data: Data, streams: Streams) -> dict[str, float]:
        few = Split(data.train.x[: self.examples], data.train.y[: self.examples], data.classes)
        judged = data.train if self.labels == "random" else data.test
        ablation = Ablation(nets.module(k), few)
        effects_U = torch.cat(list(ablation.effects(few).values()))
        by_effect: list[int] = effects_U.argsort(stable=True).tolist()
        at_random = streams.generator("spare units").permutation(ablation.units).tolist()
        whole = ablation.accuracy(judged, {})
        counts = sorted({round(ablation.units * i / POINTS) for i in range(1, POINTS + 1)} - {0})

        def share(order: Sequence[int]) -> float:
            least = whole - self.within / 100 - 1e-9
            spared = (c for c in reversed(counts) if ablation.accuracy(judged, ablation.first(order, c)) >= least)
            return next(spared, 0) / ablation.units

        found = share(by_effect), share(at_random), whole, float(ablation.units)
        return dict(zip(MEASURES, found, strict=True))
