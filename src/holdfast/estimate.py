"""What a study will cost, before it starts."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.census import Measuring
from holdfast.engines.base import LARGEST_BATCH, one_thread
from holdfast.experiment import Experiment, Planting, Pressing
from holdfast.parts import Host, Pressure, Probe, Sample, Task, TrainedSample
from holdfast.study import Cell, Study

if TYPE_CHECKING:
    from holdfast.pressures.base import Checkpoint
    from holdfast.tasks.base import Data

STEPS = 12
"""Steps that are timed."""
QUICK_S = 0.05
"""Seconds of a net's step and look up to which nets are timed in a full batch."""
BYTES_A_LOOK, BYTES_A_CELL = 330, 5000
"""Measured on the standard probes: a line of JSON, and what a cell takes beside its lines and its weights."""


@dataclass(frozen=True)
class Estimate:
    """Size of a study."""

    nets: int
    """Nets under pressure, tuning and controls among them, and seeds of samples that train nets of their own."""
    net_steps: int
    """Optimiser steps, summed over all nets and planting."""
    seconds: float | None
    """Wall-clock time on so many workers if nothing else runs, mostly right within a factor of 1.5; None: not known."""
    disk_bytes: int
    workers: int
    measured: int = 0
    """Seeds of censuses that train nothing. How long one takes is not known before it is measured."""
    paces: Mapping[str, float] = field(default_factory=dict)
    """Seconds of one core that a net-step takes, what is looked at among it, by the title of its cells."""

    def __str__(self) -> str:
        measured = f"{self.measured:,} seeds to measure, {self.workers} at a time" if self.measured else ""
        if not self.nets and measured:
            return measured
        return "; ".join([self._pressed, *([measured] if measured else [])])

    @property
    def _pressed(self) -> str:
        if self.seconds is None:
            return f"{self.nets:,} trainings of yours, {self.workers} at a time"
        return (
            f"{self.nets:,} nets, {self.net_steps:,} net-steps: about {duration(self.seconds)} on {self.workers} "
            f"core{'s' * (self.workers > 1)}, {self.disk_bytes / 1e6:.0f} MB"
        )


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def all_cells(study: Study) -> list[Cell]:
    """Every cell a study can have, with some setting of each grid in place of the one that will be chosen."""
    # Another one for each arm: had two arms the same, the cells of their comparison would be those of the arm itself.
    some = {study.arm_name(arm): arm.grid[i % len(arm.grid)] for i, arm in enumerate(study.arms)}
    cells: list[Cell] = [*study.plantings(), *study.tunings(study.arms), *study.judged(some), *study.measurings()]
    return list(dict.fromkeys(cells))


def estimate(study: Study, workers: int) -> Estimate:
    """Time a few steps and one look of each arm, and multiply.

    Nothing is kept of these steps. Of a user's own training nobody knows how long it takes before the first has ended:
    trainings are counted then, and no time is given.
    """
    if not all(arm.budget for arm in study.arms):
        return _trainings(study, workers)
    dearest: dict[tuple[Host, int], Experiment] = {}
    for arm in study.arms:  # of a host and a size of batch, the arm that looks at most
        key = arm.host, _batch(arm.grid[0])
        if key not in dearest or len(arm.probes) > len(dearest[key].probes):
            dearest[key] = arm
    speeds = {key: _speed(_Timed.of(arm)) for key, arm in dearest.items()}
    known: dict[Sample, float] = {}
    for census in study.censuses:
        trained = census.sample
        if not isinstance(trained, TrainedSample):
            continue
        if hasattr(trained, "seconds"):
            with one_thread():
                known[trained] = trained.seconds
        elif (trained.host, trained.batch) not in speeds:
            speeds[trained.host, trained.batch] = _speed(_Timed(trained.host, trained.task, trained.batch))
    cells = all_cells(study)
    took: defaultdict[str, float] = defaultdict(float)
    steps: Counter[str] = Counter()
    weights = 0
    for cell in cells:
        steps[cell.title] += cell.steps
        if isinstance(cell, Pressing):
            step_s, look_s, _ = speeds[cell.planting.host, _batch(cell.pressure)]
            took[cell.title] += cell.steps * step_s + len(cell.looks) * look_s
        elif isinstance(cell, Planting):
            step_s, _, held = next(speed for (host, _), speed in speeds.items() if host == cell.host)
            took[cell.title] += cell.steps * step_s
            weights += held
        elif cell.sample in known:
            took[cell.title] += known[cell.sample]
        elif isinstance(cell.sample, TrainedSample):
            took[cell.title] += cell.steps * speeds[cell.sample.host, cell.sample.batch][0]
    pressed = [cell for cell in cells if isinstance(cell, Pressing)]
    measurings = [cell for cell in cells if isinstance(cell, Measuring)]
    trainings = [cell for cell in measurings if isinstance(cell.sample, TrainedSample)]
    stepped = [*trainings, *(cell for cell in cells if not isinstance(cell, Measuring))]
    lines = sum(len(cell.looks) for cell in pressed)
    return Estimate(
        nets=len(pressed) + len(trainings),
        net_steps=sum(cell.steps for cell in stepped),
        seconds=sum(took.values()) / workers + 3,
        disk_bytes=int(4 * weights + BYTES_A_LOOK * lines + BYTES_A_CELL * len(cells)),
        workers=workers,
        measured=len(measurings) - len(trainings),
        paces={title: each / steps[title] for title, each in took.items() if steps[title]},
    )


def _trainings(study: Study, workers: int) -> Estimate:
    pressed, measured = (sum(isinstance(c, kind) for c in all_cells(study)) for kind in (Pressing, Measuring))
    return Estimate(nets=pressed, net_steps=0, seconds=None, disk_bytes=0, workers=workers, measured=measured)


def _batch(pressure: Pressure) -> int:
    return getattr(pressure, "batch", 64)


@dataclass(frozen=True)
class _Timed:
    """What is timed: a step of such nets, and a look at them."""

    host: Host
    task: Task
    batch: int
    backend: str = "batched"
    device: str = "cpu"
    arm: Experiment | None = None
    """Whose looks are timed too; None: nothing is looked at."""

    @classmethod
    def of(cls, arm: Experiment) -> "_Timed":
        return cls(arm.host, arm.task, _batch(arm.grid[0]), arm.backend, arm.device, arm)


def _speed(of: _Timed) -> tuple[float, float, int]:
    """(seconds a net-step, seconds a net-look, weights a net)."""
    # What takes long takes as long a net in twos; what is quick is quicker a net in a full batch.
    few = _timed(of, 2)
    return few if few[0] + few[1] > QUICK_S else _timed(of, LARGEST_BATCH)


def _timed(of: _Timed, k: int) -> tuple[float, float, int]:
    """The same, of k nets at once."""
    from holdfast.pressures.fit import Fit
    from holdfast.pressures.optimisers import Adam
    from holdfast.training.nets import Nets
    from holdfast.training.site import Site
    from holdfast.training.streams import Streams

    data = of.task.load().to(of.device)
    streams = tuple(Streams(0, seed) for seed in range(k))
    with one_thread():
        nets = Nets.initialised(of.host, streams, backend=of.backend, device=of.device)
        site = Site(host=of.host, data=data, streams=streams, device=of.device)
        fits = [Fit(Adam(lr=1e-3), steps=STEPS, batch=of.batch)] * k
        points = Fit.press(fits, site, nets, (2, STEPS))
        next(points)
        began = time.perf_counter()
        point = next(points)
        step_s = (time.perf_counter() - began) / (STEPS - 2) / k
        look_s = _look(of.arm, point, data) / k if of.arm else 0.0
    return step_s, look_s, sum(shape.numel() for shape in nets.shapes.values())


def _look(arm: Experiment, point: "Checkpoint", data: "Data") -> float:
    """Seconds of a look at nets."""
    from holdfast.probes import STANDARD, Look

    nets = point.nets
    masks = {"": {name: p != 0 for name, p in nets.params.items()}}
    look = Look(
        checkpoint=point,
        start=nets.copy(),
        implant=arm.implant,
        split=data.validation,
        train=data.train,
        masks=masks,
    )
    probes: tuple[Probe, ...] = (*STANDARD, *arm.probes)
    for _ in range(2):  # the second counts: the first may find what all others use again
        began = time.perf_counter()
        for probe in probes:
            probe(look)
        took = time.perf_counter() - began
    return took
