"""Whether a host has learned anything yet.

Shapes: K nets, N examples (or positions of sequences).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.parts import Host
from holdfast.tasks.base import Split
from holdfast.training.nets import ALONE_EXAMPLES, Nets
from holdfast.training.streams import Streams

LEARNED = 0.8
"""Of the entropy of the answers: the cross-entropy below which a net has learned something."""
REFERENCE = -1
"""Root of the streams from which nets are drawn that stand for their host."""
DRAWS = 3
"""Nets of a host that are tried, where it gives another one every time."""


def at_chance(nets: Nets, split: Split) -> bool:
    """Whether some net is no better than always giving the commonest answer, by three standard errors."""
    accuracy_K, chance, error = _accuracy(nets, split)
    return bool((accuracy_K <= chance + 3 * error).any())


def untrained(host: Host, split: Split, device: str = "cpu") -> bool:
    """Whether a host comes without having learned anything, as it does where it is freshly initialised.

    It is a property of the host and not of one net, so that all seeds are treated alike: up to 3 nets are drawn, from
    streams that no seed has, and one that has learned nothing is enough. A host that gives the same weights twice is
    tried once.

    An untrained net can be above chance by far more than sampling allows, because its answers go together: of a few
    clusters it may name one rightly by luck. So a net has learned something only if it is above chance and, besides,
    its cross-entropy is below 0.8 of the entropy of the answers, or its accuracy is more than halfway up from chance.
    A net that is sure and mostly wrong is therefore taken for untrained.
    """
    first: Nets | None = None
    for draw in range(DRAWS):
        nets = Nets.initialised(host, (Streams(REFERENCE, draw),), backend="loop", device=device)
        if first is not None and all(torch.equal(row, first.rows[name]) for name, row in nets.rows.items()):
            return False
        if not bool(learned(nets, split).all()):
            return True
        first = first or nets
    return False


def learned(nets: Nets, split: Split) -> Tensor:
    """learned_K: whether a net does what no untrained one does but by much luck; the rule is in `untrained`."""
    if nets.logits(split.x[:1]).shape[-1] <= int(split.y.max()):
        return torch.zeros(nets.k, dtype=torch.bool, device=nets.device)  # it can't even give all answers
    accuracy_K, chance, error = _accuracy(nets, split)
    shares = split.y.flatten().bincount().double() / split.y.numel()
    entropy = float(torch.special.entr(shares).sum())
    certain_K = (_cross_entropy(nets, split) < LEARNED * entropy) | (accuracy_K > (1 + chance) / 2)
    return (accuracy_K > chance + 3 * error) & certain_K


def _accuracy(nets: Nets, split: Split) -> tuple[Tensor, float, float]:
    """(accuracy_K, share of the commonest answer, standard error of that share)."""
    chance = float(split.y.flatten().bincount().max()) / split.y.numel()
    hits_KN = (nets.classes(split.x) == split.y.to(nets.device)).flatten(1)
    return hits_KN.double().mean(1), chance, math.sqrt(chance * (1 - chance) / split.y.numel())


def _cross_entropy(nets: Nets, split: Split) -> Tensor:
    """Mean cross-entropy_K, in nats."""
    total_K = torch.zeros(nets.k, dtype=torch.float64, device=nets.device)
    for x, y in zip(torch.split(split.x, ALONE_EXAMPLES), torch.split(split.y, ALONE_EXAMPLES), strict=True):
        for k, logits in enumerate(nets.logits(x)):
            loss = F.cross_entropy(logits.flatten(0, -2).float(), y.flatten().to(nets.device), reduction="sum")
            total_K[k] += loss.double()
    return total_K / split.y.numel()
