"""Lottery tickets: iterative magnitude pruning with rewinding, beside its controls, for many seeds at once.

Shapes: S seeds, A arms, K = S x A nets, N examples, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from holdfast.errors import UsageError, number, whole
from holdfast.parts import Host, Task
from holdfast.pressures.fit import Fit
from holdfast.pressures.masked import Masked
from holdfast.pruning import Masks, largest, prunable
from holdfast.tasks.base import Split
from holdfast.training.evaluate import evaluate, of_finite
from holdfast.training.nets import Nets
from holdfast.training.randomness import seeded
from holdfast.training.site import Site
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

ARMS = ("ticket", "reinitialised", "shuffled", "random")
NUMBERS = 4_000_000
"""Weights of the nets that train at once: more leave a core's cache."""


@dataclass(frozen=True, kw_only=True)
class Tickets:
    """Train, remove the smallest weights, go back to where training began, train what is left; round after round.

    Of each seed, in round r = 1, 2, ... up to four nets (`arms`) are trained on the same batches in the same order:

    - `ticket`: the mask that magnitude pruning of the round before left, on the weights of initialisation (or of step
      `rewind` of the dense net's training).
    - `reinitialised`: the same mask on weights drawn anew.
    - `shuffled`: as many weights of every layer, at random places; the ticket's weights there.
    - `random`: as many weights of the net, at random places in all layers.

    Every round removes `rate` of what is left of each layer, `last_rate` of the last (`scope="layer"`), or `rate` of
    what is left of the net by one threshold (`scope="global"`).

    Measures, `<arm>/<round>/<what>` (round 0: `dense`): `step`, the look of least validation loss (early stopping);
    `accuracy`, on test data with the weights of that look; `final`, with the last ones; `start`, with those before the
    first step. `kept/<round>`, the share of weights left. `moved/<round>/start` and `/end`: what removing the rest from
    the dense net changes, |f(w) - f(m w)| / |f(w)| over the validation examples that are looked at (Euclidean, all
    logits), before and after its training.

    Frankle & Carbin 2019 (arXiv 1803.03635); rewinding: Frankle et al. 2020 (arXiv 1912.05671); shuffling: Frankle et
    al. 2021 (arXiv 2009.08576).

    When it misleads: early stopping at looks `every` steps apart, on as many validation examples as are looked at. A
    ticket is one of a host, a task and a training. Rewound nets see the batches from the start again.
    """

    host: Host
    task: Task
    training: Fit
    rounds: int = 12
    rate: float = 0.2
    last_rate: float = 0.1
    scope: str = "layer"
    rewind: int = 0
    arms: tuple[str, ...] = ARMS
    """Which of the four are trained; `ticket` first."""
    every: int = 100
    """Steps between looks at validation data."""
    examples: int = 1000
    """Validation examples that are looked at."""

    def __post_init__(self) -> None:
        for field in ("rounds", "rewind", "every", "examples"):
            whole(field, getattr(self, field))
        for field in ("rate", "last_rate"):
            number(field, getattr(self, field))
            if not 0 < getattr(self, field) < 1:
                raise UsageError(
                    f"Tickets removes a share between 0 and 1 a round; got {field}={getattr(self, field)}."
                )
        object.__setattr__(self, "arms", tuple(self.arms))
        if self.arms[:1] != ARMS[:1] or len(set(self.arms)) < len(self.arms) or not set(self.arms) <= set(ARMS):
            raise UsageError(f"arms are the ticket, and any of {', '.join(ARMS[1:])}; got {self.arms}.")
        if not isinstance(self.training, Fit):
            raise UsageError(f"Tickets trains by a Fit; got training={self.training!r}.")
        if self.scope not in ("layer", "global"):
            raise UsageError(f"scope is 'layer' or 'global'; got {self.scope!r}.")
        if self.rounds < 1 or self.every < 1 or self.examples < 1 or not 0 <= self.rewind < self.training.steps:
            raise UsageError(
                f"Tickets needs a round, a look and an example or more, and rewinds to a step of its training; got "
                f"rounds={self.rounds}, every={self.every}, examples={self.examples}, rewind={self.rewind} of "
                f"{self.training.steps}."
            )

    @property
    def label(self) -> str:
        return f"tickets of {self.host.label}, {self.training.label}"

    @property
    def steps(self) -> int:
        """Optimiser steps of one seed."""
        return self.training.steps * (1 + len(self.arms) * self.rounds)

    @property
    def batch(self) -> int:
        return self.training.batch

    @cached_property
    def together(self) -> int:
        """Seeds that train in one batch."""
        with seeded(0):
            weights = sum(p.numel() for p in self.host.build().parameters())
        return max(1, min(16, NUMBERS // (weights * len(self.arms))))

    def shortened(self) -> "Tickets":
        training = Fit(*self.training.terms, steps=4, batch=self.training.batch)
        return replace(self, training=training, rounds=2, rewind=min(self.rewind, 2), every=2)

    def measure(self, streams: Streams) -> Mapping[str, float]:
        return self.measure_together([streams], Slot(), lambda _: None)[0]

    def measure_together(
        self, each: Sequence[Streams], slot: Slot, tick: Callable[[int], None]
    ) -> Sequence[Mapping[str, float]]:
        """The measures of several seeds, which train in one batch; each is what it would be alone."""
        return _Ladder(self, tuple(each), slot, tick).measures()


class _Ladder:
    """All rounds of some seeds."""

    def __init__(self, asked: Tickets, streams: tuple[Streams, ...], slot: Slot, tick: Callable[[int], None]) -> None:
        self.asked, self.streams, self.slot, self.tick = asked, streams, slot, tick
        self.data = asked.task.load()
        few = self.data.validation
        self.looked = Split(few.x[: asked.examples], few.y[: asked.examples], few.classes)
        self.found: dict[str, Tensor] = {}
        """Measures by name, one entry a seed."""
        self.origin = Nets.initialised(asked.host, streams)
        """The dense nets where tickets go back to."""
        self.ended = self.origin.copy()
        """The dense nets after their training."""
        self.masks = Masks.full(self.origin)

    def measures(self) -> Sequence[Mapping[str, float]]:
        done = self._resume()
        if done is None:
            self._dense()
            done = 0
            self._save(done)
        for at in range(done + 1, self.asked.rounds + 1):
            self._round(at)
            self._save(at)
        return [{name: float(self.found[name][s]) for name in sorted(self.found)} for s in range(len(self.streams))]

    def _dense(self) -> None:
        nets = self.origin.copy()
        self.found |= {f"dense/0/{what}": v for what, v in self._train(nets, self.streams, None).items()}
        self.ended = nets
        self._remove(nets, 1)

    def _round(self, number: int) -> None:
        count, arms = len(self.streams), self.asked.arms
        self.found[f"kept/{number}"] = self.masks.kept_K
        for when, dense in (("start", self.origin), ("end", self.ended)):
            self.found[f"moved/{number}/{when}"] = self._moved(dense)
        nets = self.origin.take([*range(count)] * len(arms))
        if "reinitialised" in arms:
            fresh = Nets.initialised(self.asked.host, self.streams, "reinitialised", number)
            for s in range(count):
                nets.load(arms.index("reinitialised") * count + s, fresh.state(s))
        each = {
            "ticket": self.masks,
            "reinitialised": self.masks,
            "shuffled": self.masks.shuffled(self.streams, f"shuffled/{number}"),
            "random": self.masks.scattered(self.streams, f"random/{number}"),
        }
        joined = Masks.joined([each[arm] for arm in arms])
        for what, value_K in self._train(nets, self.streams * len(arms), joined).items():
            for arm, value in zip(arms, torch.split(value_K, count), strict=True):
                self.found[f"{arm}/{number}/{what}"] = value
        self._remove(nets.take(range(count)), number + 1)

    def _remove(self, nets: Nets, number: int) -> None:
        """The masks of a round, from trained nets."""
        names, asked = prunable(nets), self.asked
        keep = dict.fromkeys(names, (1 - asked.rate) ** number)
        keep[names[-1]] = (1 - asked.last_rate) ** number
        # A net that has diverged has no sizes to go by, and no measures either.
        scores = {name: nets.params[name].abs().nan_to_num(0, 0, 0) for name in names}
        self.masks = largest(scores, keep if asked.scope == "layer" else (1 - asked.rate) ** number, self.masks)

    def _moved(self, dense: Nets) -> Tensor:
        cut = dense.copy()
        self.masks.apply(cut)
        whole, left = dense.logits(self.looked.x).flatten(1), cut.logits(self.looked.x).flatten(1)
        moved: Tensor = (whole - left).norm(dim=1) / whole.norm(dim=1)
        return moved.double()

    def _train(self, nets: Nets, streams: tuple[Streams, ...], masks: Masks | None) -> dict[str, Tensor]:
        """Train nets in place; step, accuracy, final and start of each."""
        fit, asked = self.asked.training, self.asked
        if masks is not None:
            masks.apply(nets)
            fit = fit.with_terms(Masked(masks))
        start_K = evaluate(nets, self.data.test)[1]
        best, lowest_K = nets.copy(), torch.full((nets.k,), torch.inf, dtype=torch.float64)
        step_K = torch.full_like(lowest_K, torch.nan)
        site = Site(host=asked.host, data=self.data, streams=streams, tick=self.tick)
        back = {asked.rewind} - {0} if masks is None else set()
        for point in Fit.press(
            [fit] * nets.k, site, nets, sorted({*range(asked.every, fit.steps, asked.every), fit.steps, *back})
        ):
            if masks is None and point.step == asked.rewind:
                self.origin = nets.copy()
            loss_K = evaluate(nets, self.looked)[0]
            better_K = loss_K < lowest_K
            lowest_K, step_K = torch.where(better_K, loss_K, lowest_K), step_K.masked_fill(better_K, point.step)
            for name, row in nets.rows.items():
                best.rows[name][better_K] = row[better_K]
        accuracy_K, final_K = evaluate(best, self.data.test)[1], evaluate(nets, self.data.test)[1]
        found = {"step": step_K, "accuracy": accuracy_K, "final": final_K, "start": start_K}
        return {what: of_finite(nets, value_K) for what, value_K in found.items()}

    def _save(self, number: int) -> None:
        tensors = {f"found/{name}": value for name, value in self.found.items()}
        for what, nets in (("origin", self.origin), ("ended", self.ended)):
            tensors |= {f"{what}/{name}": row for name, row in nets.rows.items()}
        self.slot.save(number, tensors | {f"masks/{name}": mask for name, mask in self.masks.items()})

    def _resume(self) -> int | None:
        """Go on where a killed run stood; the rounds that are done, or None."""
        saved = self.slot.load()
        if saved is None:
            return None
        number, tensors = saved
        parts: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            what, _, name = key.partition("/")
            parts.setdefault(what, {})[name] = value
        self.found, self.masks = parts["found"], Masks(parts["masks"])
        for nets, rows in ((self.origin, parts["origin"]), (self.ended, parts["ended"])):
            for name, row in rows.items():
                nets.rows[name].copy_(row)
        return number
