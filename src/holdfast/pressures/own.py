"""Own: the user's own training, as it stands."""

import signal
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from holdfast.errors import HoldfastError, UsageError
from holdfast.pressures.base import Checkpoint
from holdfast.training.nets import Nets
from holdfast.training.randomness import put_back, seeded, untouched
from holdfast.training.site import Site

Train = Callable[[nn.Module, int], object]
"""(model, seed): trains the model in place, by whatever loop"""
DENSITY = 4
"""Looks before their spacing doubles for the first time; half as many in every doubling that follows."""
WARM_UP_SEED = 1000
"""Added to the seed of a warm-up, so that the training that is judged doesn't see its batches once more."""


@dataclass(frozen=True, kw_only=True)
class Own:
    """A function that trains a model: a loop, a Hugging Face Trainer, anything. It is called, and watched.

    The global generators are seeded, `train(model, seed)` is called `calls` times, and optimiser steps are counted by
    hooks that PyTorch offers for it (`register_optimizer_step_post_hook`); only steps of optimisers that hold weights
    of this model count, and optimisers of different weights, taking turns, count once. How many there will be is not
    known, so looks are at steps 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: four, then two in every doubling; each just before
    the step that follows. A last look is at the model as `train` left it. Looking leaves the global generators and the
    modules' modes as they were, so a watched training ends in the bits of an unwatched one. Where no optimiser is seen
    (updates by hand), looks are between calls, and the dose is counted in calls. What `train` sets for all of PyTorch
    (gradients off, the default type), and the working directory, are put back after it.

    The gradient at a look is the one that the next step is about to use (`p.grad`), clipped or scaled as the user's
    loop has it; at the last look it is what is left of it. Before the first step, and where nothing is left, it is not
    known.

    A training may change the network's structure (adapters, pruning masks, fake or real quantisation, another layer):
    what is measured then is the network as it stands. A weight that only got another name is still followed for its
    gradient; how far weights have moved is not known.

    A training that was cut off is run anew from its start: nothing of a user's loop can be resumed.
    """

    train: Train
    calls: int = 1
    """How often `train` is called, for one that trains an epoch at a time."""
    max_steps: int | None = None
    """Optimiser steps after which training is cut off. None: as many as it takes."""
    max_seconds: float | None = None
    """Seconds of one training after which it is cut off with an error. None: as many as it takes."""

    steps = None
    """Not known before it is run."""
    resumes = False

    def __post_init__(self) -> None:
        if not callable(self.train):
            raise UsageError(f"train must be a function (model, seed); got {self.train!r}.")
        if self.calls < 1:
            raise UsageError(f"train must be called once or more; got calls={self.calls}.")
        if self.max_steps is not None and self.max_steps < 1:
            raise UsageError(f"max_steps must be 1 or more; got {self.max_steps}.")
        if self.max_seconds is not None and not 0 < self.max_seconds < float("inf"):
            raise UsageError(f"max_seconds must be a number above 0; got {self.max_seconds}.")

    @property
    def name(self) -> str:
        return "own training"

    @property
    def label(self) -> str:
        name = getattr(self.train, "__name__", type(self.train).__name__)
        return f"own training ({name})" if self.calls == 1 else f"own training ({name}, {self.calls} calls)"

    def batch_key(self) -> Hashable:
        return self

    @classmethod
    def press(cls, each: Sequence[Self], site: Site, nets: Nets, looks: Sequence[int]) -> Iterator[Checkpoint]:
        """Train the one net. Looks on the way are shown through `site.see`, the first and the last are yielded."""
        if nets.k != 1:
            raise UsageError(f"A user's training takes one net at a time; got {nets.k}.")
        own = each[0]
        yield Checkpoint(0, nets, nets, lambda: _gradient({}, nets))
        with untouched():
            module = nets.module(0)
        watched = _Watched(own, site, nets, module)
        seed = site.streams[0].seed + (WARM_UP_SEED if site.phase == "warm-up" else 0)
        with seeded(seed), put_back(), watched.counting(), _limited(own):
            for call in range(own.calls):
                watched.since.clear()
                _call(own.train, module, seed)
                if not watched.steps and call + 1 < own.calls:
                    watched.look(call + 1)
        yield watched.last(own.calls)


class _Watched:
    """Counts the optimiser steps of one training and looks in on the way."""

    def __init__(self, own: Own, site: Site, nets: Nets, module: nn.Module) -> None:
        self.own, self.site, self.nets, self.module = own, site, nets, module
        self.previous = nets.copy()
        self.named = {id(p): (name, p) for name, p in module.named_parameters()}
        """Weights by identity, as they are called at step 0. (Kept, so that ids stay theirs.)"""
        self.listening: list[Any] = [part for part in module.modules() if hasattr(part, "heard")]
        for part in self.listening:
            part.heard = 0
        self.steps, self.others, self.looked = 0, 0, 0
        self.since: set[int] = set()
        """Weights that were stepped since the count went up. Optimisers of other weights take turns with those."""

    @contextmanager
    def counting(self) -> Iterator[None]:
        handles = [register_optimizer_step_pre_hook(self._steps), register_optimizer_step_post_hook(self._stepped)]
        try:
            yield
        except _Enough:
            pass
        finally:
            for handle in handles:
                handle.remove()

    def _ours(self, optimiser: torch.optim.Optimizer) -> set[int]:
        """Those of the model's weights that an optimiser steps."""
        ours = {id(p) for p in self.module.parameters()}
        return ours & {id(p) for group in optimiser.param_groups for p in group["params"]}

    def _steps(self, optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """A look falls before the step that follows it, so that the last one is never taken twice."""
        if self.steps > self.looked and is_look(self.steps):
            ours = self._ours(optimiser)
            if ours and (ours & self.since or not self.since):
                self.look(self.steps)

    def _stepped(self, optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        ours = self._ours(optimiser)
        if not ours:
            self.others += 1
            return
        if ours & self.since or not self.since:
            self.steps += 1
            self.since.clear()
        self.since |= ours
        if self.own.max_steps is not None and self.steps >= self.own.max_steps:
            raise _Enough

    def look(self, step: int) -> None:
        """Show the net as it is now."""
        self.looked = step
        with untouched(), torch.no_grad():
            self.site.see(self._checkpoint(step))

    def last(self, calls: int) -> Checkpoint:
        """The net as training left it."""
        if not self.steps and not self._moved():
            raise HoldfastError(
                f"{self.own.label} left the model as it was"
                + (f", though {self.others} optimiser steps were taken on other weights" if self.others else "")
                + ". It must train the model that it is given, in place; does it train a copy, or build one of its own?"
            )
        if self.steps and any(part.heard == 0 for part in self.listening):
            raise HoldfastError(
                f"{self.own.label} calls neither the model nor its first part, so units beside the network never see "
                f"an input. Call model(x), or leave Beside out of the canaries."
            )
        return self._checkpoint(self.steps or calls)

    def _moved(self) -> bool:
        now = self.module.state_dict(keep_vars=True)
        before = {**self.nets.params, **self.nets.buffers}
        return any(not torch.equal(p[0], now[n].detach().to(p.device)) for n, p in before.items() if n in now)

    def _checkpoint(self, step: int) -> Checkpoint:
        nets = self.nets
        if any(p.is_meta for p in self.module.parameters()):
            raise HoldfastError(f"{self.own.label} left the model on the meta device: it has no weights to look at.")
        if not nets.fits(self.module):
            nets = Nets(nets.host, self.module, 1, backend=nets.backend, device=_device(self.module))
        nets.load_module(0, self.module)
        previous, self.previous = self.previous, nets.copy()
        gradient = lambda: _gradient(self._gradients(), self.nets)
        return Checkpoint(step, nets, previous, gradient, counted="steps" if self.steps else "calls")

    def _gradients(self) -> dict[str, Tensor]:
        """What stands in `p.grad`, by the name that the weight had at step 0, or else by the one that it has."""
        held = {self.named.get(id(p), (name, p))[0]: p.grad for name, p in self.module.named_parameters()}
        return {name: grad for name, grad in held.items() if grad is not None}


class _Enough(BaseException):
    """Ends a training at its step budget. Not an Exception, so that a user's `except Exception` lets it through."""


class _Overdue(BaseException):
    """Ends a training at its time budget."""


def is_look(step: int) -> bool:
    """Whether looks fall on this step: 1, 2, 3, 4, 6, 8, 12, 16, 24, ..."""
    spacing = 1
    while step > DENSITY * spacing:
        spacing *= 2
    return step % spacing == 0


def _gradient(held: Mapping[str, Tensor], nets: Nets) -> Mapping[str, Tensor]:
    """The gradient on these nets' weights, then on what else has one; zero for weights without, NaN if all are."""
    if not held:
        return {name: torch.full_like(p, torch.nan, dtype=torch.float32) for name, p in nets.params.items()}
    found = {name: torch.zeros_like(p) for name, p in nets.params.items()}
    for name, grad in held.items():
        like = nets.params[name][0] if name in nets.params else grad
        if like.shape == grad.shape:  # or else it is another weight under an old name
            found[name] = grad.detach().to_dense().to(nets.device, like.dtype)[None]
    return found


def _device(module: nn.Module) -> str:
    held = next(iter((*module.parameters(), *module.buffers())), None)
    return "cpu" if held is None else str(held.device)


@contextmanager
def _limited(own: Own) -> Iterator[None]:
    """Interrupt what runs longer than it may. Only the main thread of a process can be interrupted."""
    if own.max_seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: object) -> None:
        raise _Overdue

    began, before = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    # Rung again and again: what catches everything may have caught the first.
    signal.setitimer(signal.ITIMER_REAL, own.max_seconds, 1.0)
    try:
        yield
    except _Overdue:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise HoldfastError(
            f"{own.label} had not ended after {time.monotonic() - began:.0f} s and was stopped (max_seconds). What "
            f"other trainings measured is kept. Give it more time, or let max_steps cut it off and judge what there is."
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _call(train: Train, module: nn.Module, seed: int) -> None:
    try:
        train(module, seed)
    except HoldfastError:
        raise
    except (Exception, SystemExit) as error:
        file = getattr(getattr(train, "__code__", None), "co_filename", "")
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        where = f" (its line {lines[-1]})" if lines else ""
        name = getattr(train, "__name__", type(train).__name__)
        hint = " The data ran out: start the iterator anew inside train()." if isinstance(error, StopIteration) else ""
        if "holdfast_" in str(error):
            hint = (
                " The canaries' units are among the weights of the model that train() is given, and a fresh network "
                "has no place for them: train that model in place, or leave Beside out of the canaries."
            )
        raise HoldfastError(
            f"{name}(model, {seed}) raised {type(error).__name__}{where}: {error}.{hint} "
            f"What other trainings measured is kept."
        ) from error
