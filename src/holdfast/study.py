"""Study: arms and censuses that answer one question, and the cells that get stored. Imports no torch.

Study -> arms (Experiment) -> cells (Planting, Pressing), one net each
      -> censuses (Census) -> cells (Measuring), one seed each
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from holdfast.census import Census, Measuring
from holdfast.errors import UsageError, nearest, whole
from holdfast.experiment import Experiment, Planting, Pressing
from holdfast.parts import Pressure

NAME = re.compile(r"[\w+,() -][\w+,() .-]{0,79}")

SCHEMA = 1
"""Number of the layout of a run folder. A run made by a newer one is refused with a sentence."""

Cell = Planting | Pressing | Measuring


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
