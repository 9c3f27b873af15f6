"""What became of one net's implant: held, removed, wrecked or diverged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from holdfast.stats.planted import gone_below

Kind = Literal["held", "removed", "wrecked", "diverged"]

ROUNDING = 1e-9
"""Percentage points. A loss of exactly `wreck_points` is no wreck, and 1.0 - 0.95 is more than 0.05 in floats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """One net under pressure, read at checkpoints. A complete trace has one extra checkpoint after the budget.

    Raises:
        ValueError: lengths that differ, no step 0, steps that don't increase, an accuracy outside 0..1.
    """

    steps: tuple[int, ...]
    """Optimiser steps, from 0 (before the pressure), increasing."""
    presence: tuple[float, ...]
    """How much of the implant is there at each step; nan where the net was not finite."""
    accuracy: tuple[float, ...]
    """Clean accuracy as a share, 0..1; nan where the net was not finite."""
    diverged: bool = False
    """The net stopped being finite, whatever the values that were read say; the trace may then end early."""

    def __post_init__(self) -> None:
        if not len(self.steps) == len(self.presence) == len(self.accuracy) > 0:
            lengths = f"{len(self.steps)} steps, {len(self.presence)} presences, {len(self.accuracy)} accuracies"
            raise ValueError(f"Expected one presence and one accuracy for each step, got {lengths}.")
        if self.steps[0] != 0 or any(b <= a for a, b in zip(self.steps, self.steps[1:], strict=False)):
            raise ValueError(f"Expected steps that start at 0 and increase, got {self.steps}.")
        if any(a < 0 or a > 1 for a in self.accuracy):  # false for nan, which is allowed
            raise ValueError("Expected accuracy as a share between 0 and 1. Divide percentages by 100.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One net's end, for counts, and its place on the survival curve."""

    kind: Kind
    """What it counts as at the budget."""
    event: int | None
    """Step of the removal on the curve; None: right-censored at `end`."""
    end: int
    """Step at which observation ends: the event, the wreck, the last finite checkpoint, or the budget."""
    returned: bool
    """The implant was gone and came back by itself: held at the budget, and still an event on the curve."""


def outcome(trace: Trace, *, budget: int, wreck_points: float = 5.0, at_end: bool = False) -> Outcome:
    """Read one net's trace. Its threshold g is half its own presence at step 0.

    - *Gone* at checkpoint i: 0 < step <= budget, and presence < g at i and at the next checkpoint. The first such i is
      the event. The extra checkpoint confirms a fall at the budget. One reading below g that the next doesn't confirm
      is a flicker, not a removal. A presence of exactly g is there.
    - *Diverged*, before all else: a value that is not finite up to the extra checkpoint, or `trace.diverged`. Censored
      at the last finite checkpoint (at the budget, if that is later), unless the implant was gone before.
    - *Wrecked*: accuracy more than `wreck_points` percentage points under step 0 at a checkpoint up to and including
      the event (up to the budget, if there is none), or at the budget itself. Censored at the first such checkpoint,
      unless the implant was gone before: the curve asks when it went, and that is known. A loss between event and
      budget that has mended by the budget is none.
    - *Removed*: presence < g at the budget, and also at the checkpoint before it or at the extra one.
    - *Held*: otherwise. With an event it has *returned*, and the event stays on the curve.

    Checkpoints after the extra one are not read, so a long trace can be judged at a shorter budget.

    When it misleads: events are known to the grid only: the implant went at some time after the checkpoint before the
    event. A curve that falls says nothing of the host: read the counts of wrecked and diverged next to it.

    Args:
        trace: the net.
        budget: steps of pressure; a checkpoint must lie exactly there.
        wreck_points: percentage points of clean accuracy.
        at_end: whether only a loss at the budget counts as a wreck: for a training that may begin anew, and whose owner
            has what it ends with.

    Raises:
        ValueError: nothing present at step 0; for a net that did not diverge, no checkpoint at or after the budget.
    """
    if not (math.isfinite(trace.accuracy[0]) and 0 < trace.presence[0] < math.inf):
        raise ValueError(
            f"Expected a presence above 0 and a finite accuracy at step 0, got {trace.presence[0]} and "
            f"{trace.accuracy[0]}. Such a net was never planted: leave it out and list it."
        )
    finite = _finite_checkpoints(trace)
    extra = next((i for i, step in enumerate(trace.steps) if step > budget), None)
    if trace.diverged or finite <= (len(trace.steps) - 1 if extra is None else extra):
        gone = _gone(trace, [i for i in range(1, finite - 1) if trace.steps[i] <= budget])
        event = None if gone is None else trace.steps[gone]
        end = min(trace.steps[finite - 1], budget) if event is None else event
        return Outcome(kind="diverged", event=event, end=end, returned=False)
    if extra is None or trace.steps[extra - 1] != budget or budget < 1:
        raise ValueError(
            f"Expected a checkpoint at the budget, step {budget}, and one extra after it; the trace ends "
            f"{', '.join(map(str, trace.steps[-3:]))}. Measure at the budget and once more, or mark it diverged=True."
        )
    return _of_finite(trace, extra - 1, wreck_points, at_end)


def _finite_checkpoints(trace: Trace) -> int:
    """How many checkpoints come before the first value that is not finite."""
    finite = [math.isfinite(p) and math.isfinite(a) for p, a in zip(trace.presence, trace.accuracy, strict=True)]
    return finite.index(False) if False in finite else len(finite)


def _gone(trace: Trace, checkpoints: Sequence[int]) -> int | None:
    """The first of these checkpoints at which the implant is gone, by this reading and the next."""
    below = [p < gone_below(trace.presence[0]) for p in trace.presence]
    return next((i for i in checkpoints if below[i] and below[i + 1]), None)


def _of_finite(trace: Trace, last: int, wreck_points: float, at_end: bool) -> Outcome:
    """The outcome of a finite trace whose checkpoint `last` is the budget and is followed by one more."""
    below = [p < gone_below(trace.presence[0]) for p in trace.presence]
    lost = [100 * (trace.accuracy[0] - a) > wreck_points + ROUNDING for a in trace.accuracy]
    gone = _gone(trace, range(1, last + 1))
    event = None if gone is None else trace.steps[gone]
    watched = [last] if at_end else [*range(1, (last if gone is None else gone) + 1), last]
    wreck = next((i for i in watched if lost[i]), None)
    if wreck is not None:
        if gone is None or wreck <= gone:
            return Outcome(kind="wrecked", event=None, end=trace.steps[wreck], returned=False)
        return Outcome(kind="wrecked", event=event, end=trace.steps[gone], returned=False)
    end = trace.steps[last] if event is None else event
    removed = below[last] and (below[last - 1] or below[last + 1])
    returned = gone is not None and not removed
    return Outcome(kind="removed" if removed else "held", event=event, end=end, returned=returned)
