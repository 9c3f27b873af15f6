"""Whether a net still answers as it did at step 0.

Shapes: K nets, N examples, P entries of an input, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError, whole
from holdfast.probes.base import Look
from holdfast.training.loss import divergence


@dataclass(frozen=True)
class Agreement:
    """How far each net answers as the same net at step 0: under distillation, how far the student has its teacher.

    On three kinds of inputs, none of which training has seen:

    - `agreement`, `divergence`: the held-out examples.
    - `agreement_trigger`, `divergence_trigger`: the same with the trigger; undefined (stored as null) where the
      implant has none.
    - `agreement_off`, `divergence_off`: off task: the same with the entries of each in an order drawn at random
      from `seed`. Permuted, an input keeps its values, and so its range, brightness and contrast, or its tokens,
      but not its structure; uniform noise would differ from the data in all of these at once, and has no like
      among tokens.

    `agreement`: share of inputs (of sequences: of positions) with the same largest logit. `divergence`: mean
    KL(net at step 0 || net now) of the softmaxes, in nats.

    Misleads: on held-out examples two nets that are both right agree, whatever else they hold: agreement cannot be
    far below what both accuracies allow. With the trigger, agreement is no presence: where the implant had not
    held, it says that it still doesn't; and examples of the target's own class are among them. Off task both may
    answer one class for all, and agree. Divergence is ruled by the inputs on which the net is surely wrong, and
    grows with confidence alone.
    """

    seed: int = 0
    """Of the order of entries off task: the same for all nets, looks and runs."""

    def __post_init__(self) -> None:
        whole("Agreement's seed", self.seed)
        if self.seed < 0:
            raise UsageError(f"Agreement needs a seed of 0 or more; got {self.seed}.")

    def __call__(self, look: Look) -> Mapping[str, Tensor]:
        triggered, _ = look.implant.sources(look.split).get("triggered", (None, None))
        inputs = {"": look.split.x, "_trigger": triggered, "_off": permuted(look.split.x, self.seed)}
        unknown_K = torch.full((look.nets.k,), torch.nan)
        measures: dict[str, Tensor] = {}
        for ending, x_N in inputs.items():
            same_K, apart_K = (unknown_K, unknown_K) if x_N is None else _compared(look, x_N)
            measures |= {f"agreement{ending}": same_K, f"divergence{ending}": apart_K}
        return measures


@torch.no_grad()
def _compared(look: Look, x_N: Tensor) -> tuple[Tensor, Tensor]:
    """(share of equal answers, mean KL in nats) of each net, in float64 on the CPU."""
    same_K, apart_K = (torch.zeros(look.nets.k, dtype=torch.float64) for _ in range(2))
    for part_N in torch.split(x_N, look.nets.portion(x_N)):
        then_KNC, now_KNC = look.start.logits(part_N).float(), look.nets.logits(part_N).float()
        share = len(part_N) / len(x_N)
        same_K += (then_KNC.argmax(-1) == now_KNC.argmax(-1)).flatten(1).double().mean(1).cpu() * share
        apart_K += divergence(now_KNC, then_KNC).double().cpu() * share
    return same_K, apart_K


def permuted(x_N: Tensor, seed: int) -> Tensor:
    """Each input with its entries in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    order_NP = torch.rand(len(x_N), x_N[0].numel(), generator=generator).argsort(1).to(x_N.device)
    return x_N.flatten(1).gather(1, order_NP).view_as(x_N)
