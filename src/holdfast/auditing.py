"""Audit: which hidden computations would *your* training leave in *your* model?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from holdfast.engines.base import one_thread
from holdfast.errors import UsageError
from holdfast.experiment import Experiment
from holdfast.hosts.adopt import Adopted
from holdfast.implants.canaries import Canaries, Canary
from holdfast.implants.default_canaries import default_canaries
from holdfast.pressures.fit import Fit
from holdfast.pressures.optimisers import Adam
from holdfast.pressures.own import Own
from holdfast.study import Study
from holdfast.tasks.own import EXAMPLES, OwnData

PLANTING = Fit(Adam(lr=1e-3), steps=400, batch=32)
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
        with one_thread():
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
