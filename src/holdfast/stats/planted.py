"""What counts as planted: a net's own threshold against what never-planted nets reach by chance."""

import math
from collections.abc import Sequence

from scipy.special import stdtrit


def control_limit(presences: Sequence[float]) -> float:
    """The presence that one more never-planted net would exceed by chance once in 100 times.

    The one-sided 99 % prediction limit of a normal sample: mean + t(.99, m - 1) s sqrt(1 + 1/m), with s the sample
    standard deviation (m - 1 in its denominator) and m the number of controls. Unit: presence.

    When it misleads: with few controls t is large (31.8 for two, 3.0 for eight), so a sound planting may fail to exceed
    the limit; presences far from normal (most at 0, a few high) exceed it more often than 1 in 100; controls that are
    all equal give s = 0 and a limit with no margin.

    Args:
        presences: one value for each never-planted net, all at the same checkpoint.

    Raises:
        ValueError: fewer than two controls, or a presence that is not finite.

    Source: G. J. Hahn, W. Q. Meeker, Statistical Intervals (1991), section 4.8.
    """
    m = len(presences)
    if m < 2:
        raise ValueError(
            f"A control limit needs at least 2 never-planted nets, got {m}. Build controls at more seeds (8 or more "
            "make a usable limit), or pass controls=None where no clean control exists."
        )
    if not all(map(math.isfinite, presences)):
        raise ValueError("A control's presence is not finite. Leave that control out before asking for the limit.")
    mean = math.fsum(presences) / m
    s = math.sqrt(math.fsum((p - mean) ** 2 for p in presences) / (m - 1))
    return mean + float(stdtrit(m - 1, 0.99)) * s * math.sqrt(1 + 1 / m)


def gone_below(presence_at_0: float) -> float:
    """The presence under which a net's implant counts as gone: half of its own at step 0.

    When it misleads: a net planted weakly has a low threshold, close to what noise reaches; `is_planted` guards that.
    """
    return presence_at_0 / 2


def is_planted(presence_at_0: float, limit: float | None) -> bool:
    """Whether the threshold for gone lies above what controls reach: gone_below > limit, and presence above 0.

    So that a net can't count as holding an implant at a presence that a control might show. A limit of None (no clean
    control) leaves "presence above 0". A presence that is not finite is not planted.
    """
    # Controls of slightly negative presence can have a negative limit; a presence of 0 is nothing, whatever they show.
    return math.isfinite(presence_at_0) and gone_below(presence_at_0) > max(limit or 0.0, 0.0)
