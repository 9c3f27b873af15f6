"""Students: a small net taught by a large one, beside the same small net taught by the labels.

Shapes: K nets, one a seed, N and B examples, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.parts import Host, Task
from holdfast.pressures.distil import Distil
from holdfast.pressures.fit import Fit
from holdfast.pressures.terms import Term
from holdfast.probes.agreement import permuted
from holdfast.training.evaluate import evaluate, of_finite
from holdfast.training.gradients import Loss, Pass
from holdfast.training.loss import divergence
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

TAUGHT = ("distilled", "smoothed", "other")
"""How students are taught by a teacher, under each setting."""


@dataclass(frozen=True, kw_only=True)
class Students:
    """Of each seed a teacher is trained, and then students of another host, on the same batches in the same order:

    - `alone`: by the labels.
    - `distilled`: by the teacher's logits and the labels, as the setting has it; the same initial weights.
    - `smoothed`: as much of each target is taken from the teacher's answer and spread evenly over the other classes:
      the teacher's confidence without what it says of the others. The control for label smoothing.
    - `other`: as `distilled`, from other initial weights.

    The last three once for each of `settings`, counted from 0. Measures, of each student (`alone`, `distilled/0`, ...)
    and of the `teacher`: `accuracy/...` on test data after the last step, `validation/...` on validation data, by which
    a setting may be chosen; `unsure/teacher`, what it leaves to other classes than the true one, on average over the
    training data; of students `agreement/...` and `agreement_off/...`, the share of test inputs, and of such
    with their entries in an order drawn at random, that student and teacher answer alike. The teacher sees the training
    data only.

    Hinton, Vinyals & Dean 2015 (arXiv 1503.02531); whether students match their teachers: Stanton et al. 2021 (arXiv
    2106.05945).

    When it misleads: the gain depends on how much larger the teacher is and on how long the student alone may train. A
    setting that is chosen on the seeds on which it is judged looks better than it is.
    """

    teacher: Host
    host: Host
    """Of the students."""
    task: Task
    training: Fit
    """Of students; teachers are trained the same way."""
    settings: tuple[Distil, ...] = (Distil(),)

    def __post_init__(self) -> None:
        if not isinstance(self.settings, tuple | list) or not all(isinstance(s, Distil) for s in self.settings):
            raise UsageError(f"Students have settings=(Distil(...), ...), one or more; got {self.settings!r}.")
        object.__setattr__(self, "settings", tuple(self.settings))
        if not self.settings or any(s.features or not s.weight or s.init != "other" for s in self.settings):
            raise UsageError(
                "Students are taught by logits, from weights that each arm has: give settings, each with a weight, "
                "without features and without init."
            )

    @property
    def label(self) -> str:
        return f"students of {self.teacher.label}: {self.host.label}, {len(self.settings)} settings"

    @property
    def steps(self) -> int:
        """Optimiser steps of one seed."""
        return self.training.steps * (2 + len(TAUGHT) * len(self.settings))

    @property
    def batch(self) -> int:
        return self.training.batch

    @property
    def together(self) -> int:
        """Seeds that train in one batch."""
        return 8

    def shortened(self) -> "Students":
        return replace(self, training=Fit(*self.training.terms, steps=2, batch=self.training.batch))

    def measure(self, streams: Streams) -> Mapping[str, float]:
        return self.measure_together([streams], Slot(), lambda _: None)[0]

    def measure_together(
        self, each: Sequence[Streams], slot: Slot, tick: Callable[[int], None]
    ) -> Sequence[Mapping[str, float]]:
        """The measures of several seeds, which train in one batch; each is what it would be alone."""
        data, streams = self.task.load(), tuple(each)
        found: dict[str, Tensor] = {}

        def train(nets: Nets, fit: Fit, names: Sequence[str], phase: str) -> None:
            who = streams * len(names)
            site = Site(host=nets.host, data=data, streams=who, tick=tick, slot=slot.phase(phase))
            for _ in Fit.press([fit] * nets.k, site, nets, [fit.steps]):
                pass
            for what, split in (("accuracy", data.test), ("validation", data.validation)):
                right = torch.split(of_finite(nets, evaluate(nets, split)[1]), len(streams))
                found.update({f"{what}/{name}": values for name, values in zip(names, right, strict=True)})

        teacher = Nets.initialised(self.teacher, streams)
        train(teacher, self.training, ["teacher"], "teachers")
        p_KNC = F.softmax(teacher.logits(data.train.x), -1)
        found["unsure/teacher"] = 1 - p_KNC.gather(-1, data.train.y.expand(teacher.k, -1)[..., None]).double().mean(
            (1, 2)
        )
        taught = [Lesson("alone"), *(Lesson(how, s.temperature, s.weight) for s in self.settings for how in TAUGHT)]
        names = ["alone", *(f"{how}/{number}" for number in range(len(self.settings)) for how in TAUGHT)]
        nets = Nets.initialised(self.host, streams).take([*range(len(streams))] * len(names))
        other = Nets.initialised(self.host, streams, "other student")
        for k, lesson in enumerate(lesson for lesson in taught for _ in streams):
            if lesson.how == "other":
                nets.load(k, other.state(k % len(streams)))
        train(nets, self.training.with_terms(_Taught(teacher, tuple(taught))), names, "students")
        for what, x_N in (("agreement", data.test.x), ("agreement_off", permuted(data.test.x, 0))):
            answers = teacher.classes(x_N)
            for name, its in zip(names, torch.split(nets.classes(x_N), len(streams)), strict=True):
                found[f"{what}/{name}"] = of_finite(teacher, (its == answers).flatten(1).double().mean(1))
        return [{name: float(found[name][k]) for name in sorted(found)} for k in range(len(streams))]


@dataclass(frozen=True)
class Lesson:
    """What a student is taught by."""

    how: str
    """One of `TAUGHT`, or `alone`: by the labels."""
    temperature: float = 1.0
    weight: float = 0.0


@dataclass(frozen=True, eq=False)
class _Taught(Term):
    """Distillation towards nets of another host: the same S teachers for the students of each lesson, K = lessons x S.
    They are asked once for all, as all see the same batches."""

    alike: ClassVar[bool] = True

    teacher: Nets
    lessons: tuple[Lesson, ...]

    @property
    def label(self) -> str:
        return "taught"

    def loss(self, nets: Nets) -> Loss | None:
        count = self.teacher.k
        weights = torch.tensor([each.weight for each in self.lessons]).repeat_interleave(count)
        temperatures = torch.tensor([each.temperature for each in self.lessons]).repeat_interleave(count)

        def taught(loss_K: Tensor, of: Pass) -> Tensor:
            with torch.no_grad():
                answers_SBC = self.teacher.forward(self.teacher.params, of.x_KB[:count])
                told_KBC = torch.cat([told(lesson, answers_SBC) for lesson in self.lessons])
            apart_K = divergence(of.logits_KBC / temperatures[:, None, None], told_KBC)
            return (1 - weights) * loss_K + weights * temperatures**2 * apart_K

        return taught


def told(lesson: Lesson, answers_SBC: Tensor) -> Tensor:
    """Logits of what students are to answer, at the temperature of their lesson."""
    logits_SBC = answers_SBC / lesson.temperature
    if lesson.how != "smoothed":
        return logits_SBC
    return flattened(F.softmax(logits_SBC, -1)).clamp(min=torch.finfo(logits_SBC.dtype).tiny).log()


def flattened(p_KBC: Tensor) -> Tensor:
    """Probabilities whose largest stays, and whose others are equal."""
    largest_KB1 = p_KBC.amax(-1, keepdim=True)
    rest_KB1 = (1 - largest_KB1) / (p_KBC.shape[-1] - 1)
    is_largest = torch.zeros_like(p_KBC).scatter_(-1, p_KBC.argmax(-1, keepdim=True), 1.0).bool()
    return torch.where(is_largest, largest_KB1, rest_KB1)
