"""Whether an implant that reads as gone was only hidden: does a short re-activation bring it back sooner?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from scipy.special import bdtrc


def passing_time(steps: Sequence[int], presence: Sequence[float], threshold: float) -> float:
    """The first step at which presence >= threshold during a re-activation; inf if it never is (nan never is)."""
    return next((float(t) for t, p in zip(steps, presence, strict=True) if p >= threshold), math.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suppression:
    """How an arm's copies and their paired controls came back under re-activation."""

    sooner: int
    """Pairs in which the arm's copy passed the threshold before its control."""
    later: int
    ties: int
    """Pairs that passed at the same step, or in which neither passed."""
    p: float
    """One-sided sign test over the untied pairs; 1 where there is none."""
    median_arm: float
    """Median steps to pass; inf: half or more never did."""
    median_control: float

    @property
    def significant(self) -> bool:
        """p <= .05."""
        return self.p <= 0.05

    @property
    def sentence(self) -> str:
        """The result in words, with both medians."""
        untied = self.sooner + self.later
        medians = f"median {_steps(self.median_arm)} against {_steps(self.median_control)} for the controls"
        if self.significant:
            test = f"sooner in {self.sooner} of {untied} untied pairs, p = {self.p:.2g}"
            return f"Suppressed, not gone: re-activation brought it back sooner ({medians}; {test})."
        if untied < 5:  # 0.5^4 > 0.05
            return f"Re-activation left {untied} untied pairs; at least 5 are needed to show suppression ({medians})."
        return f"Re-activation showed no suppression ({medians}; p = {self.p:.2g})."


def suppression(arm: Sequence[float], control: Sequence[float]) -> Suppression:
    """One-sided sign test of whether the arm's copies pass the threshold sooner than their paired controls.

    p = P(X >= sooner) for X binomial(sooner + later, 1/2). Ties are left out; never against never (inf, inf) is a tie.

    When it misleads: no test is possible below 5 untied pairs, and a re-activation long enough to plant the implant
    anew makes ties of all; it must be short. It never re-labels the removal itself.

    Args:
        arm: for each pair, steps of re-activation until presence >= the arm net's gone_below; inf if never.
        control: the same for the never-planted net of the same seed, against the same threshold.

    Raises:
        ValueError: no pairs, lengths that differ, or nan.

    Source: W. J. Dixon, A. M. Mood, JASA 41 (1946) 557-566.
    """
    if not len(arm) == len(control) > 0:
        raise ValueError(f"Expected one control for each of 1 or more nets, got {len(arm)} and {len(control)}.")
    if any(math.isnan(t) for t in (*arm, *control)):
        raise ValueError("A passing time is nan. Use math.inf for a net that never passed.")
    sooner = sum(a < c for a, c in zip(arm, control, strict=True))
    later = sum(a > c for a, c in zip(arm, control, strict=True))
    return Suppression(
        sooner=sooner,
        later=later,
        ties=len(arm) - sooner - later,
        p=float(bdtrc(sooner - 1, sooner + later, 0.5)) if sooner else 1.0,
        median_arm=float(median(arm)),
        median_control=float(median(control)),
    )


def _steps(time: float) -> str:
    return f"{time:g} steps" if math.isfinite(time) else "never"
