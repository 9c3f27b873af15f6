"""Fit: step-level training, put together from terms."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.errors import HoldfastError, UsageError, whole
from holdfast.pressures.base import Checkpoint
from holdfast.pressures.mixes import Mix
from holdfast.pressures.optimisers import SGD, Adam, Optimiser, State
from holdfast.pressures.weight_decay import WeightDecay
from holdfast.training.draws import Draws
from holdfast.training.loss import cross_entropy
from holdfast.training.nets import Nets
from holdfast.training.site import Site

Term = Optimiser | Mix | WeightDecay
BATCH = 64
"""Examples a step, where nothing else is said."""


@dataclass(frozen=True)
class _Slice:
    """Nets that stand side by side in a batch and are stepped alike."""

    rows: slice
    optimiser: Optimiser
    decays: tuple[WeightDecay, ...]
    state: State


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
            terms: exactly one optimiser (`SGD`, `Adam`, `Sign`), and any of `Unlearn`, `Poison`, `WeightDecay`.
            steps: the budget, in optimiser steps.
            batch: examples a step.

        Raises:
            UsageError: no optimiser or several, something that is no term, no steps.
        """
        whole("steps", steps)
        whole("batch", batch)
        for term in terms:
            if not isinstance(term, Term):
                raise UsageError(f"{term!r} is no term of Fit: expected an optimiser, a mix or a weight decay.")
        if sum(isinstance(t, Optimiser) for t in terms) != 1:
            raise UsageError(f"Fit needs exactly one optimiser among its terms; got {[t.label for t in terms]}.")
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
    def decays(self) -> tuple[WeightDecay, ...]:
        return tuple(t for t in self.terms if isinstance(t, WeightDecay))

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
        """Optimiser, rates and mixes may differ within a batch; its size may not."""
        return self.batch

    @classmethod
    def press(cls, each: Sequence[Self], site: Site, nets: Nets, looks: Sequence[int]) -> Iterator[Checkpoint]:
        """Train nets[k] under each[k], in place, and stop at every step of `looks` (ascending).

        A checkpoint's state is saved when the next one is asked for, that is once it has been recorded.
        """
        draws = Draws(site, [fit.mixes for fit in each], each[0].batch)
        slices = _slices(each, nets)
        step = _resume(site, nets, slices)

        def gradient() -> Mapping[str, Tensor]:
            return gradients(nets, *draws.probe())

        if step is None:
            step = 0
            if looks[0] == 0:
                yield Checkpoint(0, nets, nets, gradient)
        for look in looks:
            if look <= step:
                continue
            previous = nets.copy()
            for now in range(step, look):
                _step(nets, slices, *draws.at(now))
            site.tick((look - step) * nets.k)
            step = look
            yield Checkpoint(look, nets, previous, gradient)
            site.slot.save(step, _state(nets, slices))


def gradients(nets: Nets, x_KB: Tensor, y_KB: Tensor) -> dict[str, Tensor]:
    """Gradient of each net's own loss, by parameter, in the nets' shapes (K, ...); zero where a parameter is frozen."""
    by_hand = getattr(nets.host, "gradients", None)
    if by_hand is not None and nets.backend == "batched" and not nets.frozen:
        found: dict[str, Tensor] = by_hand(nets.params, x_KB, y_KB)
        return found
    params = {name: p.detach().requires_grad_(name not in nets.frozen) for name, p in nets.params.items()}
    free = [name for name in params if name not in nets.frozen]
    loss_K = cross_entropy(nets.forward(params, x_KB), y_KB)
    weights = [params[name] for name in free]
    grads = torch.autograd.grad(loss_K, weights, torch.ones_like(loss_K), materialize_grads=True)
    found = dict(zip(free, grads, strict=True))
    return found if len(free) == len(params) else {n: found.get(n, torch.zeros_like(p)) for n, p in params.items()}


def _step(nets: Nets, slices: Sequence[_Slice], x_KB: Tensor, y_KB: Tensor) -> None:
    grads = gradients(nets, x_KB, y_KB)
    widths = [row.shape[1] for row in nets.rows.values()]
    padded = [_pad(g.reshape(nets.k, -1), width) for g, width in zip(grads.values(), widths, strict=True)]
    for part in slices:
        params = [row[part.rows] for row in nets.rows.values()]
        for decay in part.decays:
            decay.shrink(params, part.optimiser.lr)
        part.optimiser.step(params, [g[part.rows] for g in padded], part.state)


def _pad(grad_KP: Tensor, width: int) -> Tensor:
    # Contiguous, as fused optimisers take a gradient for: a slice of a larger one, or an expanded one, may not be.
    return grad_KP.contiguous() if grad_KP.shape[1] == width else F.pad(grad_KP, (0, width - grad_KP.shape[1]))


def _slices(each: Sequence[Fit], nets: Nets) -> list[_Slice]:
    slices, start = [], 0
    for (optimiser, decays), run in groupby(each, key=lambda fit: (fit.optimiser, fit.decays)):
        rows = slice(start, start + len(list(run)))
        state = optimiser.begin([row[rows] for row in nets.rows.values()])
        slices.append(_Slice(rows, optimiser, decays, state))
        start = rows.stop
    return slices


def _state(nets: Nets, slices: Sequence[_Slice]) -> dict[str, Tensor]:
    """All that the next step depends on, by name."""
    state = {f"nets/{name}": row for name, row in nets.rows.items()}
    state |= {f"buffers/{name}": value for name, value in nets.buffers.items()}
    for i, part in enumerate(slices):
        for key, tensors in part.state.items():
            state |= {f"{i}/{key}/{j}": tensor for j, tensor in enumerate(tensors)}
    return state


def _resume(site: Site, nets: Nets, slices: Sequence[_Slice]) -> int | None:
    """Put nets and optimisers where the slot says they stood; the step, or None where there is nothing saved."""
    saved = site.slot.load()
    if saved is None:
        return None
    step, tensors = saved
    state = _state(nets, slices)
    if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in tensors.items()}:
        raise HoldfastError(f"{site.slot.path} is not a state of this batch. Delete it and run again.")
    for key, value in state.items():
        value.copy_(tensors[key])
    return step


SGD_RATES = (1e-3, 10**-2.25, 10**-1.5, 10**-0.75, 1.0)
ADAM_RATES = (1e-4, 10**-3.25, 10**-2.5, 10**-1.75, 1e-1)


def attackers(
    *terms: Mix | WeightDecay,
    steps: int,
    batch: int = 64,
    sgd_rates: Sequence[float] = SGD_RATES,
    adam_rates: Sequence[float] = ADAM_RATES,
) -> tuple[Fit, ...]:
    """A declared grid: these terms under SGD with momentum .9 and under Adam, each at several learning rates.

    The default rates span three decades. They are scaled to weights of a root mean square near .07, which is what a
    layer of 64 inputs starts with: one Adam step moves a weight by .1 % to 140 % of that. For other hosts scale them:
    "survives" means against the best of these, and a grid whose strongest setting sits at its edge is too narrow.
    """
    optimisers = [*(SGD(lr=lr, momentum=0.9) for lr in sgd_rates), *(Adam(lr=lr) for lr in adam_rates)]
    return tuple(Fit(optimiser, *terms, steps=steps, batch=batch) for optimiser in optimisers)
