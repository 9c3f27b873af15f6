"""Training by choosing weights: every weight stays what it is, and a mask over them is learned.

Shapes: k nets of a part, P weights of one layer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from holdfast.errors import UsageError, nearest, number
from holdfast.pressures.terms import Part, State, Term
from holdfast.pruning.largest import largest
from holdfast.pruning.masks import prunable
from holdfast.training.nets import Nets

Weights = Literal["own", "signed", "scaled"]


@dataclass(frozen=True, kw_only=True)
class EdgePopup(Term):
    """Edge-popup: weights are not trained; each has a hidden score, and of every layer those with the largest
    scores are kept, the others zero.

        Fit(SGD(lr=0.1, momentum=0.9), EdgePopup(keep=0.5), WeightDecay(rate=5e-3), steps=4000)

    With w the weights of a layer (P of them), s their scores and m = 1 where |s| is among the round(keep P)
    largest (of equal ones the first), the net is w m, and the optimiser steps on s along

        dL/ds = dL/d(w m) w sign(s)

    The mask's own derivative is taken as 1 (straight-through), so a weight that is not kept has a gradient too,
    and may come back. From the first step on the net *is* w m: what is measured, and what is left at the end.
    Weights are kept to the bit, or zero. The look at step 0 is before that. Masked are the weights of linear and
    convolutional layers (`pruning.prunable`); biases and all else stay as they are, untrained.

    Scores begin as U(-1/sqrt(f), 1/sqrt(f)), f the inputs of a unit (of a convolution: times the kernel's size),
    each net's from its own streams `<phase>/edge-popup/<name of the weight>`. `weights`, right before the first
    step:

    - `own`: as they are, untrained or trained.
    - `signed`: each weight its sign times sqrt(2 / f), the standard deviation of Kaiming's normal weights for
      ReLU.
    - `scaled`: the same times sqrt(1 / keep), which makes up for the inputs that are gone.

    Terms that change weights at every step (decay, noise, clipping) change scores here. `WeightDecay` on scores
    is what the source does, though through the momentum: 5e-4 there at a momentum of .9 is about rate=5e-3 here.

    Ramanujan et al. 2020, What's Hidden in a Randomly Weighted Neural Network?, arXiv 1911.13299, and its code
    (allenai/hidden-networks): there `prune-rate` is the share that *remains* in spite of its name, as `keep` is
    here, and `scale_fan` takes sqrt(1 / (1 - prune-rate)), which is sqrt(1 / keep) at one half only. Its example
    on MNIST has a learning rate of .1 that falls as a cosine over 14 epochs, momentum .9, batches of 64, and no
    biases. floor((1 - keep) P) weights go there, P - round(keep P) here: a difference of one at most.

    When it misleads: that a mask makes a net accurate says that the weights hold such a net, not that training of
    weights would find it. On a planted net it shows what a search that moves no weight may take away; whoever has
    the masked weights has the implant. The first mask is random, so a host that was trained counts as wrecked
    until its mask has learned (`Experiment(wreck_at_end=True)`). Near 0 and near 1 there are few masks to choose
    from. Weights of zero have no gradient, and take up room in the mask all the same.

    Raises:
        UsageError: a share that isn't between 0 and 1, or that leaves a layer no weight; nothing to choose from.
    """

    alike: ClassVar[bool] = True
    order: ClassVar[int] = 1

    keep: float = 0.5
    """Share of each layer's weights that remains."""
    weights: Weights = "own"
    """What they are made of at the first step."""

    def __post_init__(self) -> None:
        number("EdgePopup's keep", self.keep)
        if not 0 < self.keep < 1:
            raise UsageError(
                f"EdgePopup keeps a share of each layer above 0 and below 1; got keep={self.keep}. It is the share "
                f"that remains: to mask 90 % of the weights, keep=0.1."
            )
        if self.weights not in get_args(Weights):
            raise nearest(str(self.weights), get_args(Weights), what="weights of EdgePopup")

    @property
    def label(self) -> str:
        made = "" if self.weights == "own" else f" of {self.weights} constants"
        return f"edge-popup keeping {self.keep:.3g}{made}"

    def trains(self, nets: Nets, names: Sequence[str]) -> Sequence[str]:
        """Those whose scores are trained.

        Raises:
            UsageError: none of them can be masked.
        """
        able = prunable(nets)
        masked = [name for name in names if name in able]
        if not masked:
            raise UsageError(
                f"EdgePopup masks weights of linear and convolutional layers, and none of {nets.host.label} are "
                f"trained here: only {', '.join(names) or 'nothing'}. Leave the term out that narrows it down."
            )
        return masked

    def begin(self, part: Part) -> State:
        scores = []
        for (name, value), row in zip(part.params.items(), part.padded, strict=True):
            if round(self.keep * value[0].numel()) == 0:
                raise UsageError(
                    f"keep={self.keep:g} leaves none of the {value[0].numel()} weights of {name}, so nothing would "
                    f"pass. Keep more."
                )
            bound = 1 / math.sqrt(_inputs(value))
            scores.append(torch.zeros_like(row))
            for k in range(len(part.streams)):
                generator = part.generator(k, f"edge-popup/{name}", 0)
                drawn = torch.empty_like(value[k]).uniform_(-bound, bound, generator=generator)
                scores[-1][k, : drawn.numel()] = drawn.flatten()
        return {"weights": [row.clone() for row in part.padded], "scores": scores}

    def start(self, part: Part, state: State) -> None:
        for value, row, weight in zip(part.params.values(), part.padded, state["weights"], strict=True):
            weight.copy_(row)  # other terms may have changed it since `begin`
            if self.weights != "own":
                share = self.keep if self.weights == "scaled" else 1.0
                constant = weight.sign().mul_(math.sqrt(2 / (_inputs(value) * share)))
                weight.copy_(torch.where(row.isfinite(), constant, torch.nan))  # one that diverged has no sign
        self._mask(part, state)

    def through(self, part: Part, state: State, grads: Sequence[Tensor], step: int) -> None:
        for grad, weight, score in zip(grads, state["weights"], state["scores"], strict=True):
            grad.mul_(weight).mul_(score.sign())

    def before(self, part: Part, state: State, step: int) -> None:
        for row, score in zip(part.padded, state["scores"], strict=True):
            row.copy_(score)

    def after(self, part: Part, state: State, step: int) -> None:
        for row, score in zip(part.padded, state["scores"], strict=True):
            score.copy_(row)
        self._mask(part, state)

    def _mask(self, part: Part, state: State) -> None:
        """Make the nets what their scores say; one whose scores are not all finite has diverged, and gets NaN."""
        sizes = {name: value[0].numel() for name, value in part.params.items()}
        size_of = dict(zip(sizes, (s.abs() for s in state["scores"]), strict=True))
        finite_k = torch.stack([size.isfinite().all(1) for size in size_of.values()]).all(0)
        scores = {n: size[:, : sizes[n]].masked_fill(~finite_k[:, None], 0) for n, size in size_of.items()}
        masks = largest(scores, dict.fromkeys(scores, self.keep))
        for (name, mask_kP), weight, value in zip(masks.items(), state["weights"], part.params.values(), strict=True):
            # chosen, not multiplied: a negative weight times 0 has other bits than zero
            chosen_kP = torch.where(mask_kP, weight[:, : sizes[name]], 0.0)
            value.copy_(chosen_kP.masked_fill_(~finite_k[:, None], torch.nan).view_as(value))


def _inputs(value_k: Tensor) -> int:
    """How many weights a unit of the layer reads through; of a weight (k, O, ...)."""
    return value_k[0, 0].numel()
