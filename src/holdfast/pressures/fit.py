"""Fit: step-level training, put together from terms.

Shapes: K nets of a batch, k of a part of it.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from itertools import groupby
from typing import Self

import torch.nn.functional as F
from torch import Tensor

from holdfast.errors import UsageError, whole
from holdfast.pressures.base import Checkpoint
from holdfast.pressures.distil import Distil
from holdfast.pressures.edge_popup import EdgePopup
from holdfast.pressures.kept import Kept
from holdfast.pressures.label_smoothing import LabelSmoothing
from holdfast.pressures.layers import Reinitialise
from holdfast.pressures.masked import Masked
from holdfast.pressures.mixes import Fired, Mix
from holdfast.pressures.optimisers import Optimiser
from holdfast.pressures.quantise import Quantise
from holdfast.pressures.subset import Subset
from holdfast.pressures.terms import Compute, Drop, Gradients, Part, State, Term
from holdfast.pressures.weight_decay import WeightDecay
from holdfast.training.draws import Draws
from holdfast.training.gradients import gradients, loss_at
from holdfast.training.nets import Nets
from holdfast.training.site import Site

BATCH = 64
"""Examples a step, where nothing else is said."""


@dataclass(frozen=True, init=False)
class Fit:
    """Training by steps: an optimiser and the terms that go with it.

        Fit(SGD(lr=0.1, momentum=0.9), Unlearn(rate=0.1), steps=1000, batch=64)

    Without further terms this is fine-tuning on clean data. Loss: mean cross-entropy of each net. Each net draws its
    own batches, without replacement within an epoch. The dose is counted in optimiser steps; a step of `batch`
    examples out of n is batch/n epochs. With a slot to save in, a killed run goes on from its last look and ends in
    the same bits (on CPU).
    """

    terms: tuple[Term, ...]
    steps: int
    batch: int

    def __init__(self, *terms: Term, steps: int, batch: int = BATCH) -> None:
        """
        Args:
            terms: exactly one optimiser (`SGD`, `Adam`, `Sign`), and any others; see `pressures/terms.py`.
            steps: the budget, in optimiser steps.
            batch: examples a step.

        Raises:
            UsageError: no optimiser or several, something that is no term, no steps.
        """
        whole("steps", steps)
        whole("batch", batch)
        for term in terms:
            if not isinstance(term, Term):
                raise UsageError(f"{term!r} is no term of Fit: expected an optimiser, a mix or another Term.")
        if sum(isinstance(t, Optimiser) for t in terms) != 1:
            raise UsageError(f"Fit needs exactly one optimiser among its terms; got {[t.label for t in terms]}.")
        _refuse_rivals(terms)
        if steps < 1 or batch < 1:
            raise UsageError(f"Fit needs at least 1 step and 1 example a step; got steps={steps}, batch={batch}.")
        for decay in (term for term in terms if isinstance(term, WeightDecay)):
            lr = next(term.lr for term in terms if isinstance(term, Optimiser))
            if lr * decay.rate >= 1:
                raise UsageError(
                    f"Weight decay {decay.rate:g} at learning rate {lr:g} would turn weights over: lower one of them."
                )
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "batch", batch)

    @property
    def optimiser(self) -> Optimiser:
        return next(t for t in self.terms if isinstance(t, Optimiser))

    @property
    def mixes(self) -> tuple[Mix, ...]:
        return tuple(t for t in self.terms if isinstance(t, Mix))

    @property
    def share(self) -> float:
        """Of the training data, which is drawn from."""
        return next((t.share for t in self.terms if isinstance(t, Subset)), 1.0)

    @cached_property
    def others(self) -> tuple[Term, ...]:
        """The terms beside optimiser and mixes, in the order in which they act."""
        return tuple(sorted((t for t in self.terms if not isinstance(t, Optimiser | Mix)), key=lambda t: t.order))

    @cached_property
    def alike(self) -> tuple[Term, ...]:
        """Those that all nets of a batch must share."""
        return tuple(t for t in self.others if t.alike)

    @property
    def name(self) -> str:
        """What it does beside descending the clean loss; the same for a whole grid of learning rates."""
        return ", ".join(t.label for t in self.terms if not isinstance(t, Optimiser)) or "fine-tuning"

    @property
    def label(self) -> str:
        batch = "" if self.batch == BATCH else f", batch {self.batch}"
        return f"{self.name}, {self.optimiser.label}{batch}"

    def with_terms(self, *terms: Term) -> Self:
        """The same training with more terms."""
        return type(self)(*self.terms, *terms, steps=self.steps, batch=self.batch)

    def batch_key(self) -> Hashable:
        """Optimiser, rates and mixes may differ within a batch; its size, and how the gradient is computed, may not."""
        return self.batch, self.alike

    @classmethod
    def press(cls, each: Sequence[Self], site: Site, nets: Nets, looks: Sequence[int]) -> Iterator[Checkpoint]:
        """Train nets[k] under each[k], in place, and stop at every step of `looks` (ascending).

        A checkpoint's state is saved when the next one is asked for, that is once it has been recorded.
        """
        draws = Draws(site, [fit.mixes for fit in each], each[0].batch, each[0].share)
        training = _Training(each, site, nets)
        step = training.resume()
        if step is None:
            step = 0
            if looks[0] == 0:
                yield Checkpoint(0, nets, nets, lambda: training.gradient(draws))
        for look in looks:
            if look <= step:
                continue
            previous = nets.copy()
            if step == 0:
                training.start()
            for now in range(step, look):
                training.step(draws, now)
            site.tick((look - step) * nets.k)
            shown = partial(draws.versions, step, look)
            step = look
            yield Checkpoint(look, nets, previous, lambda: training.gradient(draws), shown=shown)
            site.slot.save(step, training.state)


def _refuse_rivals(terms: Sequence[Term]) -> None:
    """Refuse terms of which one would undo or hide another, without a word, in what is trained.

    Raises:
        UsageError: names them.
    """
    mixes = [t for t in terms if isinstance(t, Mix)]
    names = [type(t).__name__ for t in terms if t.alike]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"Fit takes one {twice} at most; got {names.count(twice)}.")
    if len({mix.source for mix in mixes}) < len(mixes):
        raise UsageError(
            f"Two mixes show the same examples ({mixes[0].source}): {', '.join(m.label for m in mixes)}. Write one, "
            f"with the rate of both."
        )
    fired = [mix.label for mix in mixes if isinstance(mix, Fired)]
    if len(fired) > 1:
        raise UsageError(f"Two mixes would fire on the same draws: {', '.join(fired)}. Write one of them.")
    even = next((t for t in terms if isinstance(t, LabelSmoothing | Distil)), None)
    if even and any(mix.weight != 1 for mix in mixes):
        raise UsageError(
            f"{type(even).__name__} takes all draws alike, so it can't go with a mix that has a weight. Leave one out."
        )
    distil = next((t for t in terms if isinstance(t, Distil)), None)
    if distil and distil.init != "teacher" and any(isinstance(t, Reinitialise) for t in terms):
        raise UsageError(
            f"Reinitialise would hide how the student begins ({distil.label}): leave it out, or take init='teacher'."
        )
    popup = any(isinstance(t, EdgePopup) for t in terms)
    rival = next((t for t in terms if isinstance(t, Quantise | Masked | Kept)), None)
    if popup and rival:
        raise UsageError(
            f"EdgePopup can't go with {type(rival).__name__}: the one trains scores and leaves weights as they are, "
            f"the other says what weights are after a step, and would take scores for them. Leave one out."
        )


class _Training:
    """A batch of nets on their way: its parts, and what their terms carry from step to step."""

    def __init__(self, each: Sequence[Fit], site: Site, nets: Nets) -> None:
        self.site, self.nets, self.alike = site, nets, each[0].alike
        self.names: tuple[str, ...] = tuple(name for name in nets.params if name not in nets.frozen)
        for term in self.alike:
            self.names = tuple(term.trains(nets, self.names))
        losses = [loss for term in self.alike if (loss := term.loss(nets)) is not None]
        hidden = any(term.hidden for term in self.alike)
        self.gradients = partial(gradients, nets, names=self.names, losses=losses, hidden=hidden)
        self.loss = partial(loss_at, nets, losses=losses, hidden=hidden)
        self.parts = [(part, fit, self._begin(part, fit)) for part, fit in self._parts(each)]
        self.widths = {name: nets.rows[name].shape[1] for name in self.names}

    def _parts(self, each: Sequence[Fit]) -> Iterator[tuple[Part, Fit]]:
        start = 0
        for _, run in groupby(each, key=lambda fit: (fit.optimiser, fit.others)):
            alike = list(run)
            rows = slice(start, start + len(alike))
            start = rows.stop
            streams, data, lr = self.site.streams[rows], self.site.data, alike[0].optimiser.lr
            yield Part(self.nets, rows, self.names, streams, self.site.phase, data, lr), alike[0]

    @staticmethod
    def _begin(part: Part, fit: Fit) -> list[State]:
        """State of the optimiser, then of each other term."""
        return [term.begin(part) for term in (fit.optimiser, *fit.others)]

    def start(self) -> None:
        """What terms do once, before the first step."""
        for part, fit, (_, *states) in self.parts:
            for term, state in zip(fit.others, states, strict=True):
                term.start(part, state)

    def step(self, draws: Draws, now: int) -> None:
        """One optimiser step of every net, after `now` of them."""
        for part, fit, (_, *states) in self.parts:
            for term, its in zip(fit.others, states, strict=True):
                term.ready(part, its, now)
        grads = self._gradients(draws, now)
        padded = [_pad(grads[name].reshape(self.nets.k, -1), width) for name, width in self.widths.items()]
        for part, fit, (state, *states) in self.parts:
            mine = [g[part.rows] for g in padded]
            for term, its in zip(reversed(fit.others), reversed(states), strict=True):
                term.through(part, its, mine, now)
            for term, its in zip(reversed(fit.others), reversed(states), strict=True):
                term.before(part, its, now)
            fit.optimiser.step(part.padded, mine, state)
            for term, its in zip(fit.others, states, strict=True):
                term.after(part, its, now)

    def _gradients(self, draws: Draws, now: int) -> Gradients:
        (x_KB, y_KB), weights_KB = draws.at(now), draws.weights_at(now)
        drops = [term.drop(self.nets, self.site.streams, self.site.phase, now) for term in self.alike]
        drop = _one_after_another([d for d in drops if d is not None])
        batch = {"drop": drop, "weights_KB": weights_KB}

        def seeds(what: str) -> list[int]:
            return [stream.torch_seed(f"{self.site.phase}/{what}", now) for stream in self.site.streams]

        compute = Compute(partial(self.gradients, x_KB, y_KB, **batch), partial(self.loss, x_KB, y_KB, **batch), seeds)
        for term in self.alike:
            compute = replace(compute, gradients=partial(term.around, self.nets, compute))
        return compute()

    def gradient(self, draws: Draws) -> Mapping[str, Tensor]:
        """The loss gradient at the present weights, without dropout, on a fixed set of draws."""
        x_KB, y_KB, weights_KB = draws.probe()
        return self.gradients(x_KB, y_KB, weights_KB=weights_KB)

    @property
    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, by name."""
        state = {f"nets/{name}": row for name, row in self.nets.rows.items()}
        state |= {f"buffers/{name}": value for name, value in self.nets.buffers.items()}
        for i, (_, _, states) in enumerate(self.parts):
            for j, its in enumerate(states):
                for key, tensors in its.items():
                    state |= {f"{i}/{j}/{key}/{n}": tensor for n, tensor in enumerate(tensors)}
        return state

    def resume(self) -> int | None:
        """Put nets and terms where the slot says they stood; the step, or None where there is nothing saved."""
        return self.site.slot.restore(self.state)


def _one_after_another(drops: Sequence[Drop]) -> Drop | None:
    """All that is done to hidden sums; None where that is nothing."""
    return (lambda sums: reduce(lambda done, drop: drop(done), drops, sums)) if drops else None


def _pad(grad_KP: Tensor, width: int) -> Tensor:
    # Contiguous, as fused optimisers take a gradient for: a slice of a larger one, or an expanded one, may not be.
    return grad_KP.contiguous() if grad_KP.shape[1] == width else F.pad(grad_KP, (0, width - grad_KP.shape[1]))
