"""The answer in words: the first sentence of the report."""

from collections.abc import Mapping, Sequence
from typing import Any

SAYS = {
    "REMOVED": "removed the implant in {n}",
    "REMOVED (suppressed)": "hid it without removing it in {n}",
    "SURVIVES": "left it in place in {n}",
    "MIXED": "removed it in some seeds and not in others in {n}",
    "WRECKED": "lost the host before anything could be said in {n}",
}
"""What training did, by verdict, in the order in which it is told."""
OPEN = {"UNDECIDED": "undecided", "INVALID": "invalid"}


def join(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def answer(arms: Sequence[Mapping[str, Any]]) -> str:
    """What the verdicts say together, in one sentence: one clause a verdict that occurs, with the arms that got it.

    It counts verdicts and names arms, and adds nothing. It says "training" for whatever the pressures were, and every
    clause holds against the strongest attacker tried, no more.
    """
    did, left = [], []
    for label in (*SAYS, *OPEN):
        names = [str(arm["arm"]) for arm in arms if _label(arm) == label]
        if not names:
            continue
        count = f"all {len(arms)} arms" if len(names) == len(arms) > 1 else _arms(len(names))
        if label in SAYS:
            did.append(f"{SAYS[label].format(n=count)} ({join(names)})")
        else:
            left.append(f"{count} {'is' if len(names) == 1 else 'are'} {OPEN[label]} ({join(names)})")
    told = [f"training {join(did)}"] if did else []
    sentence = "; ".join(told + left)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _label(arm: Mapping[str, Any]) -> str:
    """Its verdict; MIXED without a net that was removed, and with more lost hosts than held implants, says little of
    the implant."""
    held, removed, wrecked, diverged = (arm.get(kind, 0) for kind in ("held", "removed", "wrecked", "diverged"))
    is_lost = arm["label"] == "MIXED" and not removed and wrecked + diverged > held
    return "WRECKED" if is_lost else str(arm["label"])


def _arms(count: int) -> str:
    return "1 arm" if count == 1 else f"{count} arms"
