"""Whether a host has learned anything yet.

Shapes: K nets.
"""

import math

import torch
from torch import Tensor

from holdfast.parts import Host
from holdfast.tasks.base import Split
from holdfast.training.evaluate import evaluate
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams

LEARNED = 0.8
"""Of the entropy of the answers: the cross-entropy below which a net has learned something."""
REFERENCE = -1
"""Root of the streams from which nets are drawn that stand for their host."""
DRAWS = 3
"""Nets of a host that are tried, where it gives another one every time."""


def at_chance(nets: Nets, split: Split) -> bool:
    """Whether some net is no better than always giving the commonest answer, by three standard errors."""
    chance, error = _chance(split)
    return bool((evaluate(nets, split)[1] <= chance + 3 * error).any())


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
        return torch.zeros(nets.k, dtype=torch.bool)  # it can't even give all answers
    loss_K, accuracy_K = evaluate(nets, split)
    chance, error = _chance(split)
    shares = split.y.flatten().bincount().double() / split.y.numel()
    entropy = float(torch.special.entr(shares).sum())
    certain_K = (loss_K < LEARNED * entropy) | (accuracy_K > (1 + chance) / 2)
    return (accuracy_K > chance + 3 * error) & certain_K


def _chance(split: Split) -> tuple[float, float]:
    """(share of the commonest answer, its standard error)"""
    chance = float(split.y.flatten().bincount().max()) / split.y.numel()
    return chance, math.sqrt(chance * (1 - chance) / split.y.numel())
