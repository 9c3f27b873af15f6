"""Gradients of K networks at once.

Shapes: K networks, B examples, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.training.loss import cross_entropy
from holdfast.training.nets import Nets


@dataclass(frozen=True)
class Pass:
    """A forward pass of K nets: what a loss is made of."""

    x_KB: Tensor
    y_KB: Tensor
    logits_KBC: Tensor
    hidden: Sequence[Tensor] = ()
    """What each hidden layer gives (KB...), first to last; empty where no loss asks for it."""


Loss = Callable[[Tensor, Pass], Tensor]
"""(loss so far_K, the pass) -> loss_K. So far: the cross-entropy, and what was made of it before."""


def gradients(
    nets: Nets,
    x_KB: Tensor,
    y_KB: Tensor,
    *,
    names: Sequence[str] | None = None,
    losses: Sequence[Loss] = (),
    hidden: bool = False,
    drop: Callable[[Tensor], Tensor] | None = None,
    weights_KB: Tensor | None = None,
) -> dict[str, Tensor]:
    """Gradient of each net's own loss, by parameter, in the nets' shapes (K, ...); zero where nothing is trained.

    Args:
        nets: where it is taken.
        x_KB: a batch for each net.
        y_KB: its targets.
        names: parameters that are trained; None: all that are not frozen.
        losses: what is added to the cross-entropy, one after the other.
        hidden: whether they read what hidden layers give.
        drop: what is done to hidden activations.
        weights_KB: of the examples in the loss; None: 1 each.
    """
    free = [name for name in nets.params if name not in nets.frozen and (names is None or name in names)]
    plain = not losses and drop is None and weights_KB is None and len(free) == len(nets.params)
    by_hand = getattr(nets.host, "gradients", None)
    if plain and by_hand is not None and nets.backend == "batched":
        found: dict[str, Tensor] = by_hand(nets.params, x_KB, y_KB)
        return found
    params = {name: p.detach() for name, p in nets.params.items()}
    for name in free:
        params[name].requires_grad_()
    loss_K = _loss(nets, params, x_KB, y_KB, losses, hidden, drop, weights_KB)
    weights = [params[name] for name in free]
    if not loss_K.requires_grad:  # nothing of what is trained is heard at all
        return {name: torch.zeros_like(p) for name, p in params.items()}
    grads = torch.autograd.grad(loss_K, weights, torch.ones_like(loss_K), materialize_grads=True)
    found = dict(zip(free, grads, strict=True))
    return found if len(free) == len(params) else {n: found.get(n, torch.zeros_like(p)) for n, p in params.items()}


@torch.no_grad()
def loss_at(
    nets: Nets,
    x_KB: Tensor,
    y_KB: Tensor,
    *,
    losses: Sequence[Loss] = (),
    hidden: bool = False,
    drop: Callable[[Tensor], Tensor] | None = None,
    weights_KB: Tensor | None = None,
) -> Tensor:
    """The loss_K whose gradient `gradients` takes."""
    return _loss(nets, nets.params, x_KB, y_KB, losses, hidden, drop, weights_KB)


def _loss(
    nets: Nets,
    params: Mapping[str, Tensor],
    x_KB: Tensor,
    y_KB: Tensor,
    losses: Sequence[Loss],
    hidden: bool,
    drop: Callable[[Tensor], Tensor] | None,
    weights_KB: Tensor | None,
) -> Tensor:
    *layers, logits_KBC = nets.activations(params, x_KB, drop) if hidden else [nets.forward(params, x_KB, drop)]
    loss_K = cross_entropy(logits_KBC, y_KB) if weights_KB is None else _weighted(logits_KBC, y_KB, weights_KB)
    for loss in losses:
        loss_K = loss(loss_K, Pass(x_KB, y_KB, logits_KBC, layers))
    return loss_K


def _weighted(logits_KBC: Tensor, y_KB: Tensor, weights_KB: Tensor) -> Tensor:
    """1/B sum_b w_b CE_b of each net; a sequence's weight is that of all its positions."""
    each_KB = F.cross_entropy(logits_KBC.flatten(0, -2), y_KB.flatten(), reduction="none").view(y_KB.shape)
    each_KB = each_KB.flatten(2).mean(2) if each_KB.dim() > 2 else each_KB
    return (each_KB * weights_KB).mean(1)
