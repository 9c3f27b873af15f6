"""Whether two nets lie in one basin: the loss along the straight line between them.

Shapes: K nets, P points of the line, N examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError, whole
from holdfast.probes.base import Look
from holdfast.tasks.base import Split
from holdfast.training.evaluate import evaluate
from holdfast.training.nets import Nets


@dataclass(frozen=True)
class Barrier:
    """Barriers between each net at step 0 and now, on the held-out examples: see `barrier`.

    0 says that training has stayed in the basin where it began (linear mode connectivity), so that what it changed is
    a slope and no pass; it says nothing on whether the implant is there. A look costs as much as `points` of the
    accuracy probe. Undefined (stored as null) while the net has another structure than at step 0.
    """

    points: int = 11
    """Points of the line, ends included. (Frankle et al. take 30.)"""

    def __post_init__(self) -> None:
        _refuse(self.points)

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        if look.nets.structure != look.start.structure:
            unknown_K = torch.full((look.nets.k,), torch.nan)
            return {"loss_barrier": unknown_K, "accuracy_barrier": unknown_K}
        return barrier(look.start, look.nets, look.split, self.points)


def barrier(nets_a: Nets, nets_b: Nets, split: Split, points: int = 11) -> dict[str, Tensor]:
    """Loss and accuracy barrier along the straight line between nets_a[k] and nets_b[k], for each k.

    - `loss_barrier`: max over a of L((1 - a) w_a + a w_b) - ((1 - a) L(w_a) + a L(w_b)), in nats, L the mean
      cross-entropy.
    - `accuracy_barrier`: the same of the accuracy with its sign turned, as a share: how far it sags.

    a takes `points` values at even distances from 0 to 1. Both ends are among them, so neither is ever below 0. Buffers
    (running means) lie on the line as weights do; what is no float comes from nets_b.

    The definition is that of Entezari, Sedghi, Saukh & Neyshabur 2022 (arXiv 2110.06296), who subtract the straight
    line between the ends; Frankle, Dziugaite, Roy & Carbin 2020 (arXiv 1912.05671) subtract the mean of the ends, and
    call a pair stable below 2 points of error.

    Misleads: a narrow wall between two points is missed, so it is a lower bound. Two nets that compute the same with
    their units in another order have a barrier. With batch norm much of a barrier is running statistics that fit
    neither end (Jordan et al. 2023, arXiv 2211.08403).

    Raises:
        UsageError: batches of another size or architecture, or fewer than 3 points.
    """
    _refuse(points)
    if nets_a.k != nets_b.k or nets_a.structure != nets_b.structure:
        raise UsageError(
            f"A barrier is between nets of one architecture, pair by pair; got {nets_a.k} of {nets_a.host.label} and "
            f"{nets_b.k} of {nets_b.host.label}."
        )
    a_P = torch.linspace(0, 1, points, dtype=torch.float64)
    ways = [evaluate(_between(nets_a, nets_b, a), split) for a in a_P.tolist()]
    loss_PK, accuracy_PK = (torch.stack(values) for values in zip(*ways, strict=True))
    return {
        "loss_barrier": (loss_PK - _chord(loss_PK, a_P)).amax(0),
        "accuracy_barrier": (_chord(accuracy_PK, a_P) - accuracy_PK).amax(0),
    }


def _refuse(points: int) -> None:
    whole("points", points)
    if points < 3:
        raise UsageError(f"A barrier needs 3 points or more, both ends included; got {points}.")


def _chord(values_PK: Tensor, a_P: Tensor) -> Tensor:
    """The straight line between the ends; exactly flat where they are equal."""
    return values_PK[0] + a_P[:, None] * (values_PK[-1] - values_PK[0])


def _between(nets_a: Nets, nets_b: Nets, a: float) -> Nets:
    between = nets_b.copy()
    for held, start in ((between.rows, nets_a.rows), (between.buffers, nets_a.buffers)):
        for name, value in held.items():
            if value.is_floating_point():
                value.copy_(torch.lerp(start[name], value, a))  # exact at both ends, and between equal ones
    return between
