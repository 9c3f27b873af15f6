"""Neural attention distillation (NAD), a defence against backdoors.

Shapes: K nets, B examples, C channels, H x W positions, P positions or units.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from holdfast.errors import UsageError, number, whole
from holdfast.pressures.base import Checkpoint
from holdfast.pressures.fit import Fit
from holdfast.pressures.optimisers import SGD
from holdfast.pressures.subset import Subset
from holdfast.pressures.terms import Term
from holdfast.pressures.weight_decay import WeightDecay
from holdfast.pressures.wrapping import Wrapping
from holdfast.training.gradients import Loss, Pass
from holdfast.training.nets import Nets
from holdfast.training.site import Site

PUBLISHED = Fit(SGD(lr=0.01, momentum=0.9), WeightDecay(rate=1e-4), Subset(share=0.05), steps=780)
"""20 epochs of 2,500 images (5 % of CIFAR-10) in batches of 64."""


@dataclass(frozen=True, kw_only=True)
class NAD(Wrapping):
    """A copy of the net is fine-tuned on a few clean examples; then the net learns to attend as that copy does.

        L = CE + sum_l beta_l mean (A(h_l) - A(g_l))^2,  A(h) = sum_c |h_c|^power, over its norm (plus 1e-6)

    h_l and g_l are what layer l gives in the net and in its fine-tuned teacher; c runs over channels, so A is a
    map of H x W positions, and the mean is over examples and positions. Li et al. 2021, "Neural Attention
    Distillation", arXiv 2101.05930. `fit` trains both, the teacher without the second term, each with batches of
    its own.

    The defaults are published ones: 5 % of the training data, power 2, 10 epochs for the teacher and 20 for the
    net, batches of 64, momentum .9, decay 1e-4 (the authors' code), beta 500, 1000, 1000 from low to high layers
    (BackdoorBench; the authors' code has 5000 on the last only). A host with fewer layers takes the last betas.
    Not as published: one learning rate, .01, where the authors begin with two epochs at .1; no Nesterov momentum;
    no augmentation of images.

    Of a `CNN` the convolutions count. An `MLP` has no positions, and its units stand for them, A(h) = |h|^power
    over its norm: an extension of ours. The dose counts the net's steps; the teacher's come before them and are
    not counted.

    Misleads: the teacher is fine-tuned from the net itself, so what fine-tuning leaves is in the teacher too. The
    published betas belong to maps of 32 x 32, 16 x 16 and 8 x 8 positions. Maps have length 1, so the mean over P
    positions grows as 1 / P: on smaller maps the same betas weigh more, and wreck a host at rates that it would
    bear.

    Raises:
        UsageError: settings out of range; when it is pressed, a host that doesn't say where its hidden layers are,
            or has more of them than there are betas.
    """

    fit: Fit = PUBLISHED
    """How the net and its teacher are trained."""
    teacher_steps: int = 390
    betas: tuple[float, ...] = (500.0, 1000.0, 1000.0)
    """Weight of each layer, first to last."""
    power: float = 2.0

    def __post_init__(self) -> None:
        if not isinstance(self.fit, Fit):
            raise UsageError(f"NAD needs fit=Fit(...), how net and teacher are trained; got {self.fit!r}.")
        whole("teacher_steps", self.teacher_steps)
        if self.teacher_steps < 1:
            raise UsageError(f"NAD needs 1 teacher step or more; got {self.teacher_steps}.")
        number("NAD's power", self.power)
        if not 1 <= self.power < float("inf"):
            raise UsageError(f"NAD needs a power of 1 or more; got {self.power}.")
        if not isinstance(self.betas, tuple | list) or not self.betas:
            raise UsageError(f"NAD's betas are a tuple of numbers, one for each layer; got {self.betas!r}.")
        for beta in self.betas:
            number("A beta", beta)
            if not 0 <= beta < float("inf"):
                raise UsageError(f"NAD needs betas of 0 or more; got {beta}.")
        object.__setattr__(self, "betas", tuple(self.betas))

    @property
    def what(self) -> str:
        betas = "-".join(f"{beta:g}" for beta in self.betas)
        return f"NAD beta {betas} power {self.power:g} after {self.teacher_steps} steps"

    def batch_key(self) -> Hashable:
        return super().batch_key(), self.teacher_steps, self.betas, self.power

    @classmethod
    def press(cls, each: Sequence[Self], site: Site, nets: Nets, looks: Sequence[int]) -> Iterator[Checkpoint]:
        """Train nets[k] under each[k], in place, and stop at every step of `looks` (ascending).

        A killed run goes on from its last look, or from its finished teachers.
        """
        teacher, steps = nets.copy(), each[0].teacher_steps
        tuning = replace(site, phase=f"{site.phase}/teacher", slot=site.slot.phase("teacher"), tick=_uncounted)
        for _ in Fit.press([nad.fit for nad in each], tuning, teacher, (steps,)):
            pass
        attention = _Attention(teacher, each[0].betas, each[0].power)
        yield from Fit.press([nad.fit.with_terms(attention) for nad in each], site, nets, looks)


def _uncounted(net_steps: int) -> None:
    """The dose is the net's."""


@dataclass(frozen=True, eq=False)
class _Attention(Term):
    # Equal only to itself: its teachers are those of one batch, in its order.

    alike: ClassVar[bool] = True

    teacher: Nets = field(repr=False)
    betas: tuple[float, ...]
    power: float

    @property
    def hidden(self) -> bool:
        return True

    @property
    def label(self) -> str:
        return "attention distillation"

    def loss(self, nets: Nets) -> Loss:
        def attended(loss_K: Tensor, of: Pass) -> Tensor:
            with torch.no_grad():
                *layers, _ = self.teacher.activations(self.teacher.params, of.x_KB)
            net, teacher = self._seen(of.hidden), self._seen(layers)
            for beta, a_KB, b_KB in zip(self.betas[-len(net) :], net, teacher, strict=True):
                apart_KBP = attention(a_KB, self.power) - attention(b_KB, self.power)
                loss_K = loss_K + beta * apart_KBP.square().flatten(1).mean(1)
            return loss_K

        return attended

    def _seen(self, layers: Sequence[Tensor]) -> Sequence[Tensor]:
        """The layers that count: those with positions, where there are any."""
        seen = [layer for layer in layers if layer.dim() > 3] or layers
        if not seen:
            raise UsageError("NAD compares what hidden layers attend to, and this host has none.")
        if len(seen) > len(self.betas):
            raise UsageError(f"NAD has {len(self.betas)} betas for {len(seen)} layers. Give betas= one for each.")
        return seen


def attention(activation_KB: Tensor, power: float) -> Tensor:
    """map_KBP of a layer, of length 1: the sum over channels of |a|^power at each position (KBCHW); at each unit
    (KBO) |a|^power."""
    map_KB = activation_KB.abs().pow(power)
    map_KBP = map_KB.sum(2).flatten(2) if map_KB.dim() > 3 else map_KB
    length_KB1: Tensor = torch.linalg.vector_norm(map_KBP, dim=-1, keepdim=True)
    return map_KBP / (length_KB1 + 1e-6)
