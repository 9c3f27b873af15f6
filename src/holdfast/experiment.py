"""What a study is made of: arms, and the cells that get stored. Imports no torch.

Study -> arms (Experiment) -> cells (Planting, Pressing), one net each
      -> censuses (Census) -> cells (Measuring), one seed each
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from holdfast.errors import UsageError, nearest, whole
from holdfast.parts import Host, Implant, Pressure, Probe, Sample, Task, parts_of

if TYPE_CHECKING:
    from holdfast.pressures.fit import Fit

DEVICE = re.compile(r"(cpu|cuda|mps)(:\d+)?")
NAME = re.compile(r"[\w+,() -][\w+,() .-]{0,79}")

SCHEMA = 1
"""Number of the layout of a run folder. A run made by a newer one is refused with a sentence."""

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
class Measuring:
    """One seed of a sample. Nothing is trained."""

    sample: Sample
    seed: int
    root: int

    def batch_key(self) -> Hashable:
        """Every seed is measured alone: there is nothing to share, and a kill costs one seed at most."""
        return ("measuring", self.sample, self.seed, self.root)

    @property
    def steps(self) -> int:
        """1: one measurement."""
        return 1

    @property
    def title(self) -> str:
        """What it is called while it runs."""
        return self.sample.label


Cell = Planting | Pressing | Measuring


def _expect(field: str, value: object, protocol: type) -> None:
    """Refuse what cannot be such a part, before anything is run.

    Raises:
        UsageError: it lacks what the protocol asks for, or is the class in place of an object of it.
    """
    if isinstance(value, type):
        raise UsageError(f"{field} expects an object; got the class {value.__name__}. Write {value.__name__}(...).")
    if not isinstance(value, protocol):
        raise UsageError(f"{field} expects something with what holdfast.parts.{protocol.__name__} asks; got {value!r}.")


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
            _expect(field, getattr(self, field), protocol)
        for setting in self.grid:
            _expect("pressure", setting, Pressure)
        for probe in self.probes:
            _expect("probes", probe, Probe)
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


@dataclass(frozen=True, kw_only=True)
class Census:
    """One sample at all its seeds: what is measured and not trained. It gets no verdict; a claim may judge it."""

    sample: Sample
    name: str = ""
    """Default: the sample's label."""
    seeds: int = 20

    def __post_init__(self) -> None:
        _expect("sample", self.sample, Sample)
        whole("seeds", self.seeds)
        if self.seeds < 1:
            raise UsageError(f"A census needs a seed or more; got {self.seeds}.")

    @property
    def title(self) -> str:
        """What it is called in tables."""
        return self.name or self.sample.label

    def measurings(self, root: int) -> list[Measuring]:
        """Its cells, one a seed."""
        return [Measuring(sample=self.sample, seed=seed, root=root) for seed in range(self.seeds)]


@dataclass(frozen=True, kw_only=True)
class Study:
    """Arms, censuses or both, that answer one question together.

    `compare` names pairs of arms (reference, other); the other is also run under the setting that was chosen on the
    reference, so that the two can be compared seed by seed. Where the other's own grid is another one of as many
    settings, it is the one in the same place there: the same optimiser with other terms, say.
    """

    name: str
    arms: tuple[Experiment, ...] = ()
    censuses: tuple[Census, ...] = ()
    question: str = "Does training remove it?"
    compare: tuple[tuple[str, str], ...] = ()
    root: int = 0
    """Root of every random stream."""
    look: int = 1
    """How often its measures will have been looked at, this time included. Seeds that are added after a look make it
    one more, and every interval wider."""
    graded: bool = False
    """Whether the arms are canaries, from the easiest to remove to the hardest, and the training gets a grade."""

    def __post_init__(self) -> None:
        if not self.arms and not self.censuses:
            raise UsageError(f"Study {self.name!r} has no arms and no censuses.")
        for what, names in (
            ("arms", [self.arm_name(arm) for arm in self.arms]),
            ("censuses", [census.title for census in self.censuses]),
        ):
            for name in names:
                if names.count(name) > 1:
                    raise UsageError(f"Two {what} are called {name!r}. Give one of them another `name`.")
        whole("look", self.look)
        if self.look < 1:
            raise UsageError(f"Looks are counted from 1; got look={self.look}.")
        if not NAME.fullmatch(self.name):
            raise UsageError(
                f"A study's name becomes that of its folder: 1 to 80 letters, digits, spaces or any of _-+.,() and no "
                f"dot first; got {self.name!r}."
            )
        for pair in self.compare:
            if len(pair) != 2:
                raise UsageError(f"compare takes pairs of arm names, (reference, other); got {pair!r}.")
            reference, other = (self.arm(name) for name in pair)
            if reference.looks != other.looks:
                raise UsageError(
                    f"{pair[0]!r} and {pair[1]!r} are looked at at other steps, so their times can't be compared. Give "
                    f"them the same steps and checkpoints."
                )

    def with_seeds(self, seeds: int) -> "Study":
        """The same study with so many judged seeds in every arm and census."""
        return self._reseeded(lambda _: seeds)

    def with_more(self, seeds: int) -> "Study":
        """The same study with so many seeds added to every arm and census."""
        return self._reseeded(lambda before: before + seeds)

    def _reseeded(self, seeds: Callable[[int], int]) -> "Study":
        return replace(
            self,
            arms=tuple(replace(arm, seeds=seeds(arm.seeds)) for arm in self.arms),
            censuses=tuple(replace(census, seeds=seeds(census.seeds)) for census in self.censuses),
        )

    @property
    def seeds(self) -> int:
        """The most seeds that an arm or a census has."""
        return max([*(arm.seeds for arm in self.arms), *(census.seeds for census in self.censuses)])

    @staticmethod
    def arm_name(arm: Experiment) -> str:
        """What the arm is called in tables."""
        return arm.name or f"{arm.implant.label} / {getattr(arm.grid[0], 'name', '') or arm.grid[0].label}"

    @cached_property
    def named(self) -> dict[str, Experiment]:
        """The arms by name, in declared order."""
        return {self.arm_name(arm): arm for arm in self.arms}

    def arm(self, name: str) -> Experiment:
        """One arm by name.

        Raises:
            UsageError: no such arm; the nearest one is named.
        """
        if name not in self.named:
            raise nearest(name, self.named, what="arm")
        return self.named[name]

    def census(self, name: str) -> Census:
        """One census by name.

        Raises:
            UsageError: no such census; the nearest one is named.
        """
        named = {census.title: census for census in self.censuses}
        if name not in named:
            raise nearest(name, named, what="census")
        return named[name]

    def measurings(self) -> list[Measuring]:
        """Every seed of every census."""
        return [cell for census in self.censuses for cell in census.measurings(self.root)]

    def planting(self, arm: Experiment, *, tuning: bool, planted: bool) -> list[Planting]:
        """The nets of one arm before pressure, one a seed; no controls where the implant has none."""
        if not planted and not arm.implant.has_control:
            return []
        seeds = arm.tuning_range if tuning else arm.judged_range
        return [arm.planting(seed, root=self.root, planted=planted) for seed in seeds]

    def tuning(self, arm: Experiment, setting: Pressure) -> list[Pressing]:
        """The tuning seeds of one arm under one setting of its grid."""
        return [arm.pressing(setting, seed, root=self.root) for seed in arm.tuning_range]

    def pressing(self, arm: Experiment, setting: Pressure, *, planted: bool) -> list[Pressing]:
        """The judged seeds of one arm under one setting, or their never-planted controls."""
        if not planted and not arm.implant.has_control:
            return []
        return [arm.pressing(setting, seed, root=self.root, planted=planted) for seed in arm.judged_range]

    def counterpart(self, pair: tuple[str, str], setting: Pressure) -> Pressure:
        """The setting under which the second arm is compared with the first under this one."""
        reference, other = (self.arm(name).grid for name in pair)
        if setting in other or len(other) != len(reference):
            return setting
        return other[reference.index(setting)]

    def plantings(self) -> list[Planting]:
        """All nets before pressure."""
        return [
            cell
            for arm in self.arms
            for tuning in (False, True)
            for planted in (True, False)
            for cell in self.planting(arm, tuning=tuning, planted=planted)
        ]

    def tunings(self, arms: Sequence[Experiment]) -> list[Pressing]:
        """Every setting of each arm's grid at the arm's tuning seeds."""
        return [cell for arm in arms for setting in arm.grid for cell in self.tuning(arm, setting)]

    def judged(self, chosen: Mapping[str, Pressure | None]) -> list[Pressing]:
        """What is judged: each arm and its controls under its chosen setting, and the other side of comparisons.

        Args:
            chosen: arm name -> setting; an arm that is missing or has None is not pressed.
        """
        cells = []
        for name, setting in chosen.items():
            if setting is not None:
                cells += self.pressing(self.arm(name), setting, planted=True)
                cells += self.pressing(self.arm(name), setting, planted=False)
        for reference, other in self.compare:
            setting = chosen.get(reference)
            if setting is not None and other in chosen:
                setting = self.counterpart((reference, other), setting)
                cells += self.pressing(self.arm(other), setting, planted=True)
                cells += self.pressing(self.arm(other), setting, planted=False)
        return cells
