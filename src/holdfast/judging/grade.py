"""The grade of a training: which canaries, graded by how hard they are to remove, it removed in every seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Mean clean accuracies of an audit: what planting cost the host, and then the training. None: none finite."""

    accuracy_host: float | None = None
    """Before planting; after the warm-up, if there was one."""
    accuracy_planted: float | None = None
    """With the canaries, before the training."""
    accuracy_before: float | None = None
    """Of the never-planted controls, before the training: they had as many steps on clean data as planting took."""
    accuracy_after: float | None = None
    """Of the controls, after it."""
    warmed_up: bool = False
    """Whether the model had learned nothing, so that the training ran once before planting."""


def grade(arms: Sequence[Mapping[str, Any]], cost: Cost) -> dict[str, Any]:
    """What an audit says, from its arms in order, the canary that is easiest to remove first.

    The rung is that of the hardest canary that was gone in every planted seed, with the host intact in every one. It
    comes with its bound: gone in n of n leaves a share held of up to 1 - (a/2)^(1/n), a = 1 - level. A lower rung need
    not be gone: the order is how hard canaries are in general, not for every training.

    Args:
        arms: rows of `verdict.json`.
        cost: of planting and of the training.

    Returns:
        rung (0: none), of, canary (None), seeds, bound (None), sentence, and the fields of `Cost`.
    """
    gone = [(i, arm) for i, arm in enumerate(arms, start=1) if _all_gone(arm)]
    rung, strongest = gone[-1] if gone else (0, None)
    return {
        "rung": rung,
        "of": len(arms),
        "canary": strongest["implant"] if strongest else None,
        "seeds": strongest["seeds"] if strongest else None,
        "bound": strongest["held_interval"][1] if strongest else None,
        **asdict(cost),
        "sentence": " ".join([_opening(arms, strongest), *(_sentence(arm) for arm in arms), *_costs(cost)]),
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


def _costs(cost: Cost) -> list[str]:
    said = []
    if cost.accuracy_before is not None and cost.accuracy_after is not None:
        before, after = 100 * cost.accuracy_before, 100 * cost.accuracy_after
        said.append(f"Your training took the controls' clean accuracy from {before:.1f} to {after:.1f} %.")
    if cost.accuracy_host is not None and cost.accuracy_planted is not None:
        host, planted = 100 * cost.accuracy_host, 100 * cost.accuracy_planted
        said.append(f"Planting, before it, took the host's from {host:.1f} to {planted:.1f} %.")
    if cost.warmed_up:
        said.append("The model came untrained, so your training ran once before planting, as a warm-up.")
    return said
