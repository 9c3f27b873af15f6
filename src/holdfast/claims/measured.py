"""What claims read of a census: arrays over seeds, the bands of their curves, and whether nets have learned."""

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from holdfast.claims.base import Control, Evidence, Size
from holdfast.stats import bca, mean_of

Values = NDArray[np.float64]
"""One a seed."""
LEVEL = 0.95
"""Of the bands of curves, each point by itself."""
LEARNED: dict[Size, float] = {"quick": 0.9, "full": 0.8}
"""Accuracy that nets must reach on digits (`quick`) or Fashion-MNIST (`full`) for anything to be said of them."""


def size_of(evidence: Evidence) -> Size:
    """The size that was run, by the study's name."""
    return next(size for size in get_args(Size) if evidence.study.name.endswith(f"-{size}"))


def values(evidence: Evidence, census: str, measure: str) -> Values:
    """A measure of a census."""
    return np.array(list(evidence.measured(census, measure).values()))


def band(measured: Values) -> tuple[float, float, float]:
    """(mean, low, high) over units, by BCa; where all units agree, their value three times."""
    mean = float(measured.mean())
    found = bca(mean_of(measured), len(measured), LEVEL)
    return (mean, *found) if found else (mean, mean, mean)


def known(measured: Iterable[float]) -> float:
    """The mean of those that are defined; NaN where none is."""
    found = [value for value in measured if value == value]
    return fmean(found) if found else float("nan")


def learned(name: str, evidence: Evidence, accuracy: Values) -> Control:
    """Whether nets have learned their task."""
    right, least = float(accuracy.mean()), LEARNED[size_of(evidence)]
    return Control(name=name, got=f"{100 * right:.2f} % right, at least {100 * least:g} % asked", holds=right >= least)


def unlike(evidence: Evidence, arms: Mapping[str, str], what: str, alike: Mapping[str, float]) -> list[str]:
    """Sentences, where arms that are to hold the same implant differ at step 0 by more than they may.

    Args:
        evidence: of the study.
        arms: what each is called in the sentence -> the arm's name.
        what: what they are, in the plural.
        alike: how far the means of a measure may lie apart.
    """
    found = []
    for measure, allowed in alike.items():
        means = {said: fmean(evidence.at_start(arm, measure).values()) for said, arm in arms.items()}
        apart = max(means.values()) - min(means.values())
        if apart > allowed:
            each = ", ".join(f"{said} {mean:.3f}" for said, mean in means.items())
            found.append(
                f"{what} differ in {measure} by {100 * apart:.1f} points at step 0; {100 * allowed:g} may be ({each})."
            )
    return found
