"""Trainings that are to mend a program: how they step, and what they are judged by, the best of their looks against a
constant shift.

Shapes: K nets, X inputs of a program, E encryptions of each.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.pressures.zeroth_order import ZerothOrder, estimate
from holdfast.training.streams import Streams

LOOKS = (1, 2, 5, 10, 20, 50, 100, 200, 400, 800, 1600)
SHIFTS = 64
"""Constant shifts of the output that are tried, over the whole turn."""
Shares = tuple[Tensor, Tensor]
"""Shares of bad and of wanted inputs that are answered rightly, (K,) each."""


class Asked(NamedTuple):
    """Inputs of each net: what the best look is chosen on, what it is judged on, and what was trained on, if that is a
    pool."""

    chosen_on: Tensor
    judged_on: Tensor
    seen_on: Tensor | None


def looks_of(steps: int) -> set[int]:
    """After which of so many steps is looked: `LOOKS`, and the last."""
    return {look for look in LOOKS if look < steps} | {steps}


def half_bad(bad_X: NDArray[np.bool_], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of so many inputs, the first half of them bad."""
    return np.concatenate([generator.choice(np.flatnonzero(some), count // 2) for some in (bad_X, ~bad_X)])


def shares_of(right_KXE: Tensor, bad_KX: Tensor) -> Shares:
    """Of answers that are right or not."""
    right_KX = right_KXE.float().mean(-1)
    return (right_KX * bad_KX).sum(1) / bad_KX.sum(1), (right_KX * ~bad_KX).sum(1) / (~bad_KX).sum(1)


def found_by_runs(
    order: ZerothOrder,
    weights: Mapping[str, Tensor],
    names: Sequence[str],
    loss: Callable[[], Tensor],
    each: Sequence[Streams],
    step: int,
) -> dict[str, Tensor]:
    """The gradient by those weights of these names that `order` moves, by forward runs.

    Args:
        weights: (K, ...) each.
        loss: loss_K at the weights as they are.
        each: the streams of each net.
        step: which step it is.
    """
    moved = {name: weights[name] for name in names if fnmatch(name, order.at)}
    drawn = [torch.Generator().manual_seed(s.torch_seed("zeroth order", step)) for s in each]
    return estimate(moved, loss, drawn, order.pairs, order.radius)


def best_shift(shares: Callable[[float], Shares]) -> Tensor:
    """shift_K: p of the best constant shift of the output; `shares` with so many turns added to it."""
    each = []
    for shift in range(SHIFTS):
        bad_K, wanted_K = shares(shift / SHIFTS)
        each.append(bad_K * wanted_K)
    return torch.stack(each).amax(0)


def measures(
    looks: Iterable[int],
    weights: Mapping[str, Tensor],
    shares: Callable[[Mapping[str, Tensor], Tensor], Shares],
    asked: Asked,
    shift_K: Tensor,
    is_solved: Callable[[Tensor, Tensor], Tensor],
    also: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """`bad`, `wanted`, `shift`, `score`, `best_step`, `solved`, `at_end` of each net, and with a pool `seen_bad` and
    `seen_wanted`: see `Repair`.

    Args:
        looks: trains, and gives the step of each look.
        weights: (K, ...) each, as they are at a look.
        shares: of nets with such weights, on such inputs.
        asked: the inputs.
        shift_K: p of the best constant shift.
        is_solved: of shares, whether a net has mended its program.
        also: what else is measured, of the weights at the best look.
    """
    k = len(shift_K)
    best_K, seen_K = torch.full((k,), -1.0), torch.full((k,), -1.0)
    solved_K, step_K = torch.full((k,), torch.nan), torch.zeros(k)
    kept = {name: value.detach().clone() for name, value in weights.items()}
    found: dict[str, Tensor] = {}
    for step in looks:
        now = shares(weights, asked.chosen_on)
        p_K = now[0] * now[1]
        solved_K = torch.where(solved_K.isnan() & is_solved(*now), float(step), solved_K)
        better_K = p_K > best_K
        best_K, step_K = torch.where(better_K, p_K, best_K), torch.where(better_K, float(step), step_K)
        for name, value in weights.items():
            kept[name][better_K] = value.detach()[better_K]
        if asked.seen_on is not None:
            seen = shares(weights, asked.seen_on)
            better_K = seen[0] * seen[1] > seen_K
            seen_K = torch.where(better_K, seen[0] * seen[1], seen_K)
            for name, share_K in zip(("seen_bad", "seen_wanted"), seen, strict=True):
                found[name] = torch.where(better_K, share_K, found.get(name, share_K))
    bad_K, wanted_K = shares(kept, asked.judged_on)
    last = shares(weights, asked.judged_on)
    return (
        (also(kept) if also else {})
        | found
        | {
            "bad": bad_K,
            "wanted": wanted_K,
            "shift": shift_K,
            "score": ((bad_K * wanted_K - shift_K) / (1 - shift_K)).clamp_min(-1),
            "best_step": step_K,
            "solved": solved_K,
            "at_end": last[0] * last[1],
        }
    )
