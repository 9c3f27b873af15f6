"""The strongest attacker: of the settings that leave the host working, the one that removes most."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.stats.outcome import Outcome
from holdfast.stats.survival import curve_of, restricted_mean

LEAST_SEEDS = 8
"""Tuning seeds a setting needs, so that "at most 1 in 8" can mean one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The setting that verdicts are given against, and what it was chosen from."""

    setting: str
    held_share: float
    """Share of its tuning seeds that held."""
    restricted_mean: float
    """Mean survival time up to the budget, in steps."""
    accuracy_lost: float
    """Mean clean accuracy lost at the budget, as a share, over the nets that did not diverge."""
    usable: tuple[str, ...]
    """Settings that could have been chosen, in the order declared."""
    refused: tuple[tuple[str, int], ...]
    """Settings that wreck or diverge too often, with how many of their seeds did."""


def strongest(tuning: Mapping[str, Sequence[tuple[Outcome, float]]], budget: int) -> Choice | None:
    """Choose the attacker among declared settings, on tuning seeds that are never judged.

    Usable are the settings that wreck or diverge in at most 1 in 8 of their seeds. Of those: the smallest share held
    (of all its tuning seeds); ties by the smallest restricted mean survival, then the least clean accuracy lost on
    average, then the order of declaration. None: every setting wrecks, so the arm is UNDECIDED, "no usable attacker".

    When it misleads: with 8 seeds the held shares of neighbouring settings differ by chance; the choice is an attacker,
    not the best there is, and a grid that stops short of the wrecking settings has not been searched to its end. Where
    the last nets watched were lost early the curve's last value is carried to the budget, against that setting.

    Args:
        tuning: setting -> for each tuning seed, its outcome and the clean accuracy lost (a share; nan if diverged).
        budget: steps of pressure, the same for all.

    Raises:
        ValueError: no settings, fewer than 8 seeds for one, or a loss that is not finite for a net that is.
    """
    if not tuning:
        raise ValueError("Expected at least one setting to choose from, got none. Declare the attacker's grid.")
    bad = {name: _bad(name, nets) for name, nets in tuning.items()}
    usable = tuple(name for name, nets in tuning.items() if 8 * bad[name] <= len(nets))
    if not usable:
        return None
    scores = {name: _score(tuning[name], budget) for name in usable}
    setting = min(usable, key=scores.__getitem__)  # min keeps the first of equals: the order of declaration
    held, mean, lost = scores[setting]
    refused = tuple((name, bad[name]) for name in tuning if name not in usable)
    return Choice(
        setting=setting, held_share=held, restricted_mean=mean, accuracy_lost=lost, usable=usable, refused=refused
    )


def _bad(name: str, nets: Sequence[tuple[Outcome, float]]) -> int:
    """How many wrecked or diverged."""
    if len(nets) < LEAST_SEEDS:
        raise ValueError(
            f"Setting {name!r} has {len(nets)} tuning seeds; at least {LEAST_SEEDS} are needed to tell whether it "
            "wrecks more than 1 in 8. Run it at more tuning seeds."
        )
    if any(o.kind != "diverged" and not math.isfinite(lost) for o, lost in nets):
        raise ValueError(f"Setting {name!r}: clean accuracy lost is not finite for a net that did not diverge.")
    return sum(o.kind in ("wrecked", "diverged") for o, _ in nets)


def _score(nets: Sequence[tuple[Outcome, float]], budget: int) -> tuple[float, float, float]:
    """Smaller is stronger. Rounded, so that equal settings tie whatever the order of their seeds."""
    outcomes = [o for o, _ in nets]
    losses = [lost for o, lost in nets if o.kind != "diverged"]
    mean = restricted_mean(curve_of(outcomes), budget, carry=True)
    assert mean is not None  # carried
    held = sum(o.kind == "held" for o in outcomes) / len(nets)
    return held, round(mean, 9), round(math.fsum(losses) / len(losses), 12)
