"""Experiment: one arm, and its cells, one net each. Imports no torch."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from holdfast.errors import UsageError, nearest, whole
from holdfast.parts import Host, Implant, Pressure, Probe, Task, expect, parts_of

if TYPE_CHECKING:
    from holdfast.pressures.fit import Fit

DEVICE = re.compile(r"(cpu|cuda|mps)(:\d+)?")
TUNING_SEED = 1_000_000
"""Tuning seeds are numbered from here, so they never meet a judged one."""


@dataclass(frozen=True, kw_only=True)
class Planting:
    """One net before pressure: a host with the implant, or the same host never planted."""

    host: Host
    task: Task
    implant: Implant
    training: "Fit | None"
    warm_up: Pressure | None
    planted: bool
    seed: int
    root: int
    backend: str
    device: str

    def batch_key(self) -> Hashable:
        """Nets that are planted together."""
        parts = (self.host, self.task, self.implant, self.training, self.warm_up)
        alone = self.seed if getattr(self.host, "alone", False) else None
        return ("planting", *parts, self.root, self.backend, self.device, self.split, alone)

    @property
    def split(self) -> str:
        """The examples it is measured on: `test` for judged seeds, `validation` for tuning."""
        return "validation" if self.seed >= TUNING_SEED else "test"

    @property
    def steps(self) -> int:
        """Optimiser steps that planting takes."""
        # An implant may train its host more than once.
        return self.training.steps * getattr(self.implant, "trainings", 1) if self.training else 0

    @property
    def title(self) -> str:
        """What it is called while it runs."""
        return self.implant.label


@dataclass(frozen=True, kw_only=True)
class Pressing:
    """One net under pressure, and what is measured on the way."""

    planting: Planting
    pressure: Pressure
    looks: tuple[int, ...]
    probes: tuple[Probe, ...]
    reactivation: Pressure | None

    def batch_key(self) -> Hashable:
        """Nets that are pressed together."""
        # An implant with units of its own makes another network of it, which its control has not.
        differs = getattr(self.planting.host, "alone", False) or hasattr(self.planting.implant, "build")
        alone = self.planting.planted if differs else None
        return (
            "pressing",
            self.planting.batch_key(),
            alone,
            type(self.pressure),
            self.pressure.batch_key(),
            self.looks,
            self.probes,
            self.reactivation,
        )

    @property
    def split(self) -> str:
        """The examples it is measured on."""
        return self.planting.split

    @property
    def steps(self) -> int:
        """Optimiser steps that this cell takes; 1, for one training, where nobody knows how many that will be."""
        if not self.looks:
            return 1
        return self.looks[-1] + ((self.reactivation.steps or 0) if self.reactivation else 0)

    @property
    def title(self) -> str:
        """What it is called while it runs."""
        return f"{self.planting.implant.label} / {getattr(self.pressure, 'name', self.pressure.label)}"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One arm: an implant in a host, under a pressure, at all its seeds.

    `pressure` is one setting, or several: a declared grid of attackers. Of a grid, the strongest attacker is chosen
    on tuning seeds and validation data, and only that setting is run on the judged seeds, with test data.
    """

    host: Host
    task: Task
    implant: Implant
    pressure: Pressure | tuple[Pressure, ...] | list[Pressure]
    training: "Fit | None" = None
    """How the host comes to be, as its owner trains it. None only where the weights are brought along."""
    warm_up: Pressure | None = None
    """What a host that has learned nothing yet (see `training/chance.py`) goes through before anything else."""
    name: str = ""
    """Default: `implant / pressure`."""
    seeds: int = 32
    """Judged seeds; each has its never-planted control."""
    tuning_seeds: int = 9
    """Seeds on which the strongest attacker is chosen, never judged. 8 must be planted: one may fail."""
    checkpoints: int = 20
    """Looks up to the budget, no more than it has steps; one more follows it. A pressure that owns its loop places its
    own."""
    spacing: Literal["even", "geometric"] = "even"
    """Of the looks: at even distances, or at even ratios from step 1, for times that range over decades."""
    measure: str = "presence"
    """The measure that is judged: one of those that the implant's `presence` gives."""
    probes: tuple[Probe, ...] = ()
    """Probes beside the standard ones (presence, accuracy, gradient, distance)."""
    reactivation: Pressure | None = None
    """Short training that would bring the implant back, tried on copies after the pressure and on the controls."""
    wreck_points: float = 5.0
    """Percentage points of clean accuracy whose loss counts as a wrecked host."""
    wreck_at_end: bool = False
    """Whether only what is lost at the budget counts: for hosts that may fall and come back to more than they had."""
    backend: str = "batched"
    device: str = "cpu"

    def __post_init__(self) -> None:
        for field in ("pressure", "probes"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))
        for field in ("seeds", "tuning_seeds", "checkpoints"):
            whole(field, getattr(self, field))
        if not DEVICE.fullmatch(self.device):
            raise nearest(self.device, ("cpu", "cuda", "cuda:0", "mps"), what="device")
        for field, protocol in (("host", Host), ("task", Task), ("implant", Implant)):
            expect(field, getattr(self, field), protocol)
        for setting in self.grid:
            expect("pressure", setting, Pressure)
        for probe in self.probes:
            expect("probes", probe, Probe)
        if not self.grid:
            raise UsageError("An Experiment needs at least one pressure; got an empty tuple.")
        if self.seeds < 2:
            raise UsageError(f"An arm needs at least 2 seeds and controls (20 for a verdict); got {self.seeds}.")
        if len(self.grid) > 1 and not self.budget:
            raise UsageError(
                "A pressure that owns its loop has one setting, the user's own: it can't be one of a grid."
            )
        if self.tuned and self.tuning_seeds < 8:
            raise UsageError(f"Choosing among {len(self.grid)} settings needs 8 tuning seeds; got {self.tuning_seeds}.")
        if len({p.steps for p in self.grid}) > 1:
            raise UsageError("All settings of a grid need the same number of steps: they share one budget.")
        if self.spacing not in ("even", "geometric"):
            raise UsageError(f"spacing is 'even' or 'geometric'; got {self.spacing!r}.")
        if self.checkpoints < 1:
            raise UsageError(f"checkpoints must be 1 or more; got {self.checkpoints}.")
        labels = [p.label for p in self.grid]
        if len(set(labels)) < len(labels):
            raise UsageError("Two settings of the grid are the same.")

    @property
    def grid(self) -> tuple[Pressure, ...]:
        """The declared settings."""
        return tuple(self.pressure) if isinstance(self.pressure, tuple | list) else (self.pressure,)

    @property
    def budget(self) -> int:
        """Optimiser steps of the pressure; 0 where that is not known before it is run."""
        return self.grid[0].steps or 0

    @property
    def looks(self) -> tuple[int, ...]:
        """Steps at which the net is measured: 0, ..., budget, and one more to confirm a fall at the budget. None are
        named where the budget is not known."""
        if not self.budget:
            return ()
        count = min(self.checkpoints, self.budget)
        if self.spacing == "geometric":
            powers = [self.budget ** (i / (count - 1)) for i in range(count)] if count > 1 else []
            steps = sorted({round(step) for step in powers} - {self.budget})
            return (0, *steps, self.budget, self.budget + max(1, self.budget // 20))
        within = [round(i * self.budget / count) for i in range(count + 1)]
        return (*within, within[-1] + within[1])

    @property
    def part(self) -> Implant:
        """What the judged measure speaks of: the implant, or one of its parts."""
        return parts_of(self.implant).get(self.measure.removeprefix("presence"), self.implant)

    @property
    def at_end(self) -> bool:
        """Whether hosts and controls are held to their limits at the budget only. Of a pressure that owns its loop the
        owner has what it ends with."""
        return self.wreck_at_end or not self.budget

    @property
    def tuned(self) -> bool:
        """Whether there is a grid to choose from."""
        return len(self.grid) > 1

    @property
    def judged_range(self) -> range:
        """Judged seeds."""
        return range(self.seeds)

    @property
    def tuning_range(self) -> range:
        """Seeds on which the attacker is chosen; none where there is nothing to choose."""
        return range(TUNING_SEED, TUNING_SEED + (self.tuning_seeds if self.tuned else 0))

    def planting(self, seed: int, *, root: int, planted: bool) -> Planting:
        """The cell of one net before pressure."""
        return Planting(
            host=self.host,
            task=self.task,
            implant=self.implant,
            training=self.training,
            warm_up=self.warm_up,
            planted=planted,
            seed=seed,
            root=root,
            backend=self.backend,
            device=self.device,
        )

    def pressing(self, setting: Pressure, seed: int, *, root: int, planted: bool = True) -> Pressing:
        """The cell of one net under one setting."""
        judged = seed < TUNING_SEED
        return Pressing(
            planting=self.planting(seed, root=root, planted=planted),
            pressure=setting,
            looks=self.looks,
            probes=self.probes,
            reactivation=self.reactivation if judged and self.implant.has_control else None,
        )
