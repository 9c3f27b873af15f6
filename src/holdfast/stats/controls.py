"""Whether never-planted nets, under the same pressure, come to show the implant by themselves."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.stats.outcome import Trace
from holdfast.stats.planted import control_limit


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlCheck:
    """The controls' limit over the whole pressure, against the threshold for gone."""

    risen_at: int | None
    """First step at which the controls' limit exceeds the ceiling; None if it never does."""
    limit: float | None
    """The limit at that step; None if it never does."""
    left_out: tuple[int, ...]
    """Seeds of controls that were not finite, or not measured, at one checkpoint or more, and left out there."""
    blind: tuple[int, ...]
    """Steps at which fewer than two controls were left, so that no limit could be computed."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the verdict has to know, as sentences."""
        notes = []
        if self.left_out:
            seeds = ", ".join(map(str, self.left_out))
            notes.append(f"Left out where not finite or not measured: controls of seeds {seeds}.")
        if self.blind:
            notes.append(
                f"From step {self.blind[0]} on {len(self.blind)} checkpoints have fewer than 2 controls left, so a "
                "rise of the controls there would go unseen."
            )
        return tuple(notes)


def check_controls(controls: Mapping[int, Trace], steps: Iterable[int], ceiling: float) -> ControlCheck:
    """Compare the control limit at each checkpoint with a ceiling, the arm's median gone_below.

    Where the limit exceeds it, a presence above gone_below no longer says that the *planted* implant is there: the
    pressure itself makes it, and the arm is INVALID.

    When it misleads: a control that diverges is left out, and the rest may be the tamer ones. A few controls that
    spread widely raise the limit (t x s) without any of them showing the implant.

    Args:
        controls: the never-planted nets under the same pressure, by seed.
        steps: the checkpoints to compare at; a control that wasn't measured at one is left out there.
        ceiling: the arm's median gone_below.
    """
    found = {seed: dict(zip(c.steps, c.presence, strict=True)) for seed, c in controls.items()}
    risen: tuple[int, float] | None = None
    left_out: set[int] = set()
    blind = []
    for step in sorted(set(steps)):
        there = {seed: p[step] for seed, p in found.items() if math.isfinite(p.get(step, math.nan))}
        left_out |= found.keys() - there.keys()
        if len(there) < 2:
            blind.append(step)
        elif risen is None and (limit := control_limit([there[s] for s in sorted(there)])) > ceiling:
            risen = (step, limit)
    return ControlCheck(
        risen_at=risen[0] if risen else None,
        limit=risen[1] if risen else None,
        left_out=tuple(sorted(left_out)),
        blind=tuple(blind),
    )
