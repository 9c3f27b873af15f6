"""The grade of a training: which canaries, graded by how hard they are to remove, it removed in every seed."""

from collections.abc import Mapping, Sequence
from typing import Any


def grade(arms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What an audit says, from its arms in order, the canary that is easiest to remove first.

    The rung is that of the hardest canary that was gone in every planted seed, with the host intact in every one. It
    comes with its bound: gone in n of n leaves a share held of up to 1 - (a/2)^(1/n), a = 1 - level. A lower rung need
    not be gone: the order is how hard canaries are in general, not for every training.

    Returns:
        rung (0: none), of, canary (None), seeds, bound (None), sentence.
    """
    gone = [(i, arm) for i, arm in enumerate(arms, start=1) if arm["seeds"] and arm["removed"] == arm["seeds"]]
    valid = [(i, arm) for i, arm in gone if arm["verdict"] != "INVALID"]
    rung, strongest = valid[-1] if valid else (0, None)
    return {
        "rung": rung,
        "of": len(arms),
        "canary": strongest["implant"] if strongest else None,
        "seeds": strongest["seeds"] if strongest else None,
        "bound": strongest["held_interval"][1] if strongest else None,
        "sentence": " ".join([_opening(arms, strongest), *(_sentence(arm) for arm in arms)]),
    }


def _opening(arms: Sequence[Mapping[str, Any]], strongest: Mapping[str, Any] | None) -> str:
    judged = [arm for arm in arms if arm["verdict"] != "INVALID"]
    if not judged:
        return "This audit says nothing of your training: no canary could be judged."
    if strongest is None:
        return f"Your training removed none of {len(judged)} canaries in every seed."
    if all(arm["removed"] == arm["seeds"] for arm in judged):
        what = "the canary" if len(judged) == 1 else f"all {len(judged)} canaries"
        return f"Your training removed {what} in every seed tried."
    return f"Your training did not remove all of what was hidden; the hardest that it removed: {strongest['implant']}."


def _sentence(arm: Mapping[str, Any]) -> str:
    name, n = arm["implant"], arm["seeds"]
    if arm["verdict"] == "INVALID":
        return f"{name}: not judged. {arm['reason']}"
    lost = arm["wrecked"] + arm["diverged"]
    host = f"; the host was lost in {lost}" if lost else ""
    if arm["removed"] == n:
        return f"{name}: gone in {n} of {n}, survival below {_up(arm['held_interval'][1])}{host}."
    if arm["held"] == n:
        return f"{name}: still there in {n} of {n}, survival above {_down(arm['held_interval'][0])}."
    return f"{name}: still there in {arm['held']}, gone in {arm['removed']} of {n}{host}."


def _up(share: float) -> str:
    """Two decimals, rounded away from what is claimed."""
    return f"{min(1.0, -(-share * 100 // 1) / 100):.2f}"


def _down(share: float) -> str:
    return f"{(share * 100 // 1) / 100:.2f}"
