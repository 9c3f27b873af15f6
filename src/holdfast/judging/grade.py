"""The grade of a training: which canaries, graded by how hard they are to remove, it removed in every seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def grade(arms: Sequence[Mapping[str, Any]], accuracy: tuple[float, float] | None) -> dict[str, Any]:
    """What an audit says, from its arms in order, the canary that is easiest to remove first.

    The rung is that of the hardest canary that was gone in every planted seed, with the host intact in every one. It
    comes with its bound: gone in n of n leaves a share held of up to 1 - (a/2)^(1/n), a = 1 - level. A lower rung need
    not be gone: the order is how hard canaries are in general, not for every training.

    Args:
        arms: rows of `verdict.json`.
        accuracy: mean clean accuracy of the never-planted controls, before and after the training; None: none finite.

    Returns:
        rung (0: none), of, canary (None), seeds, bound (None), accuracy_before, accuracy_after, sentence.
    """
    gone = [(i, arm) for i, arm in enumerate(arms, start=1) if _all_gone(arm)]
    rung, strongest = gone[-1] if gone else (0, None)
    before, after = accuracy or (None, None)
    return {
        "rung": rung,
        "of": len(arms),
        "canary": strongest["implant"] if strongest else None,
        "seeds": strongest["seeds"] if strongest else None,
        "bound": strongest["held_interval"][1] if strongest else None,
        "accuracy_before": before,
        "accuracy_after": after,
        "sentence": " ".join([_opening(arms, strongest), *(_sentence(arm) for arm in arms), *_cost(accuracy)]),
    }


def _all_gone(arm: Mapping[str, Any]) -> bool:
    return bool(arm["verdict"] != "INVALID" and arm["seeds"] and arm["removed"] == arm["seeds"])


def _opening(arms: Sequence[Mapping[str, Any]], strongest: Mapping[str, Any] | None) -> str:
    judged = [arm for arm in arms if arm["verdict"] != "INVALID" and arm["seeds"]]
    if not judged:
        return "This audit can't say: no canary could be judged."
    what = "the canary" if len(judged) == 1 else f"all {len(judged)} canaries"
    if all(_all_gone(arm) for arm in judged):
        tried = "As far as was tried" if len(judged) == len(arms) else "Of what could be judged"
        return f"{tried}, yes: your training removed {what} in every seed."
    if all(arm["held"] == 0 and not _all_gone(arm) for arm in judged):
        return "This audit can't say: where the canaries are gone, the host was lost too."
    if strongest is None:
        return (
            f"No: your training removed none of {len(judged)} canaries in every seed."
            if len(judged) > 1
            else ("No: your training did not remove the canary in every seed.")
        )
    return f"Not all of it: {strongest['implant']} is the hardest canary that your training removed in every seed."


def _sentence(arm: Mapping[str, Any]) -> str:
    name, n = arm["implant"], arm["seeds"]
    if arm["verdict"] == "INVALID":
        return f"{name}: not judged. {arm['reason']}"
    low, high = arm["held_interval"]
    lost = arm["wrecked"] + arm["diverged"]
    host = f"; the host was lost in {lost}" if lost else ""
    if arm["removed"] == n:
        left = "" if arm.get("left") is None else f" (at most {max(0.0, arm['left']):.2f} of it left)"
        return f"{name}: gone in {n} of {n}{left}, survival below {math.ceil(1000 * high) / 1000:g}."
    if arm["held"] == n:
        return f"{name}: still there in {n} of {n}, survival above {math.floor(1000 * low) / 1000:g}."
    return f"{name}: still there in {arm['held']}, gone in {arm['removed']} of {n}{host}."


def _cost(accuracy: tuple[float, float] | None) -> list[str]:
    if accuracy is None:
        return []
    before, after = (100 * share for share in accuracy)
    return [f"Clean accuracy of the controls went from {before:.1f} to {after:.1f} %."]
