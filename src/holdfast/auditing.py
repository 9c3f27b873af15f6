"""Audit: which hidden computations would *your* training leave in *your* model?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.engines.base import one_thread
from holdfast.errors import NotWritable, UsageError
from holdfast.experiment import Experiment
from holdfast.hosts.adopt import Adopted
from holdfast.implants.badnets import BadNets
from holdfast.implants.beside import Beside
from holdfast.implants.canaries import Canaries, Canary
from holdfast.implants.head import Head, layers
from holdfast.implants.triggers import OwnTrigger, Patch, Stretch, TokenString, Trigger
from holdfast.implants.writing.detector import detector
from holdfast.pressures.fit import Fit
from holdfast.pressures.optimisers import Adam
from holdfast.pressures.own import Own
from holdfast.study import Study
from holdfast.tasks.base import Data
from holdfast.tasks.own import EXAMPLES, OwnData
from holdfast.training.chance import untrained
from holdfast.training.randomness import untouched

PLANTING = Fit(Adam(lr=1e-3), steps=400, batch=32)
POISON = 0.3
"""Share of the training data that carries the learned canary's trigger while it is planted: much, so that it takes."""
CORNERS = ((-1, -1), (0, -1), (0, 0))
"""Where patches go: each canary has its own corner, as (row, column)."""
QUESTION = "Would your training remove what is hidden in the model?"


@dataclass(frozen=True)
class Audit:
    """Canaries planted in the user's model, and the user's own training as the pressure.

    All canaries go into one model, so an audit costs one training for each seed and one for its never-planted control
    (and a warm-up each, where `build` gives a model that has learned nothing yet). It becomes a `Study` with one arm a
    canary; the arms share their trainings.

    Args (the first three in this order, the others by name):
        build: () -> the model, as your pipeline has it before this training. Global generators are seeded.
        train: (model, seed) -> None: your training, in place. Called with a model of its own each time.
        data: () -> ((inputs, targets), (held-out inputs, held-out targets)); see `tasks/own.py`.
        canaries: from the easiest to remove to the hardest; None: see `default_canaries`.
        seeds: trainings with canaries; as many controls. 8 can show survival in some, or removal in all; 20 and more
            can reach SURVIVES or REMOVED.
        planting: how learned canaries get in: `Fit` on training data part of it poisoned.
        calls, max_steps, max_seconds: see `Own`.
        trigger, target: (batch) -> batch with the trigger; (output) -> logits: for inputs and outputs of other kinds.
        examples: held-out examples that looks measure on.
        separate: also plant each canary alone, to show that they don't disturb each other.

    When it misleads: canaries are planted by us, all in known places; what training grew by itself may hold better or
    worse. A canary is gone when less than half of what it did is left; `train` may have hidden the rest, and no
    re-activation is tried here.
    """

    build: Callable[[], nn.Module]
    train: Callable[[nn.Module, int], object]
    data: Callable[[], Any]
    canaries: tuple[Canary, ...] | None = None
    seeds: int = 8
    planting: Fit = PLANTING
    calls: int = 1
    max_steps: int | None = None
    max_seconds: float | None = None
    trigger: Callable[[Tensor], Tensor] | None = None
    target: Callable[[Any], Tensor] | None = None
    examples: int = EXAMPLES
    separate: bool = False

    def __post_init__(self) -> None:
        for name in ("build", "train", "data"):
            if not callable(getattr(self, name)):
                raise UsageError(f"Audit needs {name} as a function; got {getattr(self, name)!r}.")

    def study(self, name: str = "audit") -> Study:
        """The study that it is. Calls `data` once."""
        task = OwnData(make=self.data, examples=self.examples)
        canaries = self.canaries or default_canaries(task.load(), self._host(), self.trigger)
        together = Canaries(canaries)
        sets = [together, *(together.alone(each) for each in (canaries if self.separate else ()))]
        return Study(
            name=name,
            question=QUESTION,
            graded=True,
            arms=tuple(self._arm(each, one, task, alone=i > 0) for i, each in enumerate(sets) for one in each.each),
        )

    def _planting(self, examples: int) -> Fit:
        """`planting`, in batches that there are examples for."""
        return Fit(*self.planting.terms, steps=self.planting.steps, batch=min(self.planting.batch, examples))

    def _host(self) -> Adopted:
        return Adopted(make=self.build, reads=self.target)

    def _arm(self, canaries: Canaries, one: Canary, task: OwnData, *, alone: bool) -> Experiment:
        own = Own(train=self.train, calls=self.calls, max_steps=self.max_steps, max_seconds=self.max_seconds)
        return Experiment(
            name=f"{one.label}, alone" if alone else one.label,
            host=self._host(),
            task=task,
            implant=canaries,
            measure=f"presence/{one.label}",
            training=self._planting(len(task.load().train)),
            warm_up=own,
            pressure=own,
            seeds=self.seeds,
            backend="loop",
        )


def default_canaries(
    data: Data, host: Adopted, trigger: Callable[[Tensor], Tensor] | None = None
) -> tuple[Canary, ...]:
    """A learned backdoor, one in a spare unit of the head (where there is such a head), and one beside the network.

    Each has a trigger of its own that suits the inputs, and an answer of its own; of several triggers the first that
    can be told from clean data, and where the model has learned its task already, that its head shows. What no trigger
    suits is left out. With the user's own `trigger` there is one trigger, so only the learned one.
    """
    if trigger is not None:
        return (BadNets(trigger=OwnTrigger(function=trigger), target=0, poison_ratio=POISON),)
    learned, spare, beside = _triggers(data)
    targets = _targets(data)
    head = _head(data, host, spare, targets[1])
    clear = next((each for each in beside if _is_clear(each, data)), None)
    return (
        BadNets(trigger=learned, target=targets[0], poison_ratio=POISON),
        *((head,) if head else ()),
        *((Beside(trigger=clear, target=targets[2]),) if clear else ()),
    )


def _is_clear(trigger: Trigger, data: Data) -> bool:
    """Whether clean training inputs can be told from those with the trigger."""
    if not data.train.x.is_floating_point():
        return True
    try:
        detector(trigger, data.train.x)
    except NotWritable:
        return False
    return True


def _head(data: Data, host: Adopted, triggers: Sequence[Trigger], target: int) -> Head | None:
    """The canary in the head, with the first trigger that can be written; None where there is no such head."""
    if not data.train.x.is_floating_point():
        return None  # what a text model's head reads need not show a few tokens
    with untouched(), one_thread():
        module = host.build()
        try:
            layers(module, host, data.train.x)
        except UsageError:
            return None
        if untrained(host, data.validation):  # what its head will show is not known before the warm-up
            clear = (each for each in reversed(triggers) if _is_clear(each, data))  # the plainest first
            return next((Head(trigger=each, target=target) for each in clear), None)
        for trigger in triggers:  # one that can't be written leaves the module as it was
            try:
                Head(trigger=trigger, target=target).write_into(module, host, data)
            except NotWritable:
                continue
            return Head(trigger=trigger, target=target)
    return None


def _targets(data: Data) -> tuple[int, int, int]:
    """Three answers: classes as they come, but of next tokens those that are rarest among the true ones."""
    if data.train.y.dim() == 1:
        classes = torch.unique(data.train.y).tolist()
        return classes[0], classes[1 % len(classes)], classes[2 % len(classes)]
    counts = data.train.y[:, -1].bincount()
    seen = counts.nonzero().flatten()
    rare = seen[counts[seen].argsort(stable=True)].tolist()
    return rare[0], rare[1 % len(rare)], rare[2 % len(rare)]


def _triggers(data: Data) -> tuple[Trigger, Sequence[Trigger], Sequence[Trigger]]:
    """A trigger for the learned canary, and several to choose from for the other two, none of which meet."""
    x = data.train.x
    if not x.is_floating_point():
        one, two, three = _strings(data)
        return one, (two,), (three,)
    low, high = float(x.min()), float(x.max())
    values = (high, low, 2 * high - low)  # the last is in no clean input
    if x.dim() >= 3 and min(x.shape[-2:]) >= 4:
        side = min(x.shape[-2:])
        small, large = max(2, side // 8), max(2, side // 4)
        sizes = (small, large) if large > small else (small,)
        choices = [[Patch(size=n, row=r, column=c, value=v) for v in values for n in sizes] for r, c in CORNERS]
        return choices[0][0], choices[1], choices[2]
    width, length = x.shape[-1], max(2, x.shape[-1] // 16)
    if width < 3 * length:
        raise UsageError(f"Inputs of {width} entries leave no room for three triggers. Pass canaries=(...).")
    starts = (0, (width - length) // 2, width - length)
    runs = [[Stretch(start=start, length=length, value=value) for value in values] for start in starts]
    return runs[0][0], runs[1], runs[2]


def _strings(data: Data) -> tuple[Trigger, Trigger, Trigger]:
    """Three strings of rare tokens."""
    x = data.train.x
    counts = x.flatten().bincount()
    seen = counts.nonzero().flatten()
    rare = seen[counts[seen].argsort(stable=True)][:6].tolist()
    if len(rare) < 6 or x.shape[1] < 4:
        raise UsageError("These sequences are too short, or have too few tokens, for triggers. Pass canaries=(...).")
    at = None if data.train.y.dim() > 1 else 1
    one, two, three = (TokenString(ids=(a, b, a), at=at) for a, b in (rare[:2], rare[2:4], rare[4:]))
    return one, two, three
