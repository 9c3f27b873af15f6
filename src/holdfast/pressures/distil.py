"""Distillation: a student learns what the net, its teacher, says of the training data.

Shapes: K nets of the batch, k of a part of it, B examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from holdfast.errors import UsageError, nearest, number
from holdfast.pressures.terms import Part, State, Term
from holdfast.training.gradients import Loss, Pass
from holdfast.training.loss import divergence
from holdfast.training.nets import Nets
from holdfast.training.randomness import seeded

Init = Literal["teacher", "same", "other", "noise"]
NOISE = 0.1
"""Scale of the noise that weights are mixed with, over Xavier's (beta, Lee et al. 2025)."""


@dataclass(frozen=True, kw_only=True)
class Distil(Term):
    """The net as training found it is the teacher; what is trained, and looked at after step 0, is its student.

        L = weight T^2 KL(softmax(t / T) || softmax(s / T)) + (1 - weight) CE + features sum_l mean (h_l - g_l)^2

    s and t are the logits of student and teacher, T the temperature, KL the mean over the batch in nats, CE the
    loss without this term. h_l and g_l are what hidden layer l gives in student and teacher, the mean over
    examples and units (for hosts `MLP` and `CNN`). Teacher and student see the training draws only, those that are
    mixed in among them. Hinton, Vinyals & Dean 2015 (arXiv 1503.02531); features as in FitNets (Romero et al.
    2015, arXiv 1412.6550), without their regressor as both nets are of one architecture. T = 4 and weight .9 are
    RepDistiller's.

    `init`, where the student begins, right after the look at step 0:

    - `other`: fresh weights of the host's own initialisation, from the stream `<phase>/student`.
    - `same`: the host's initial weights, from the stream `init`: with which the teacher's own training began,
      where it was trained from a fresh net.
    - `teacher`: the teacher's weights. Without labels (weight 1) its gradient is then zero, and nothing moves.
    - `noise`: w <- (1 - alpha) w + alpha 0.1 n, n from U(-a, a), a = sqrt(6 / (inputs + outputs)) for matrices and
      kernels, 0 for vectors (stream `<phase>/student`): UNDO (Lee et al. 2025, "Distillation Robustifies
      Unlearning", arXiv 2506.06278), there with alpha .1 to .8.

    What isn't trained (`LastLayer`), and buffers, stay the teacher's.

    Misleads: a student that begins anew has no accuracy at first, so its host counts as wrecked before it has
    learned (`Experiment(wreck_at_end=True)`), and its implant as gone before it has learned that too: presence
    may fall first and come back, so give it the steps that its accuracy needs, and more. One whose weights are
    near the teacher's (`teacher`, `noise`) may keep what the training data never ask for. A fresh student can't
    learn of pixels that are 0 in all of them: a trigger there is gone whatever the teacher holds, and one on
    pixels that are lit now and then may pass on. A fresh host whose `build()` returns trained weights is not
    fresh.
    """

    alike: ClassVar[bool] = True

    temperature: float = 4.0
    """T, by which logits are divided."""
    weight: float = 0.9
    """Of the teacher's answers in the loss; the labels have the rest."""
    features: float = 0.0
    """Weight of the squared difference between hidden activations."""
    init: Init = "other"
    """Where the student begins."""
    alpha: float | None = None
    """Share of noise in a student that starts from it."""

    def __post_init__(self) -> None:
        for field in ("temperature", "weight", "features"):
            number(f"Distil's {field}", getattr(self, field))
        if not 0 < self.temperature < float("inf"):
            raise UsageError(f"Distil needs a temperature above 0; got {self.temperature}.")
        if not 0 <= self.weight <= 1:
            raise UsageError(f"Distil needs a weight between 0 and 1; got {self.weight}.")
        if not 0 <= self.features < float("inf"):
            raise UsageError(f"Distil needs features of 0 or more, their weight in the loss; got {self.features}.")
        if self.init not in get_args(Init):
            raise nearest(str(self.init), get_args(Init), what="init of a student")
        if (self.alpha is None) == (self.init == "noise"):
            raise UsageError(
                f"alpha is the share of noise in a student, and goes with init='noise'; got init={self.init!r} "
                f"and alpha={self.alpha}."
            )
        if self.alpha is not None:
            number("Distil's alpha", self.alpha)
            if not 0 < self.alpha <= 1:
                raise UsageError(f"Distil needs an alpha above 0, at most 1; got {self.alpha}.")

    @property
    def hidden(self) -> bool:
        return self.features > 0

    @property
    def label(self) -> str:
        features = f", features {self.features:g}" if self.features else ""
        init = f"noise {self.alpha:g}" if self.alpha else f"{self.init} weights"
        return f"distilled at T {self.temperature:g} weight {self.weight:g}{features} from {init}"

    def loss(self, nets: Nets) -> Loss | None:
        if not self.weight and not self.features:
            return None
        teacher = nets.copy()

        def distilled(loss_K: Tensor, of: Pass) -> Tensor:
            layers, logits_KBC = _answers(teacher, of.x_KB, hidden=self.hidden)
            if self.features and not layers:
                raise UsageError(f"{nets.host.label} has no hidden layer, so it has no features: leave them out.")
            loss_K = (1 - self.weight) * loss_K
            if self.weight:
                scale = self.weight * self.temperature**2
                loss_K = loss_K + scale * divergence(of.logits_KBC, logits_KBC, self.temperature)
            for h_KB, g_KB in zip(of.hidden, layers, strict=True) if self.features else ():
                loss_K = loss_K + self.features * (h_KB - g_KB).square().flatten(1).mean(1)
            return loss_K

        return distilled

    def start(self, part: Part, state: State) -> None:
        if self.init == "teacher":
            return
        for k, stream in enumerate(part.streams):
            with seeded(stream.torch_seed("init" if self.init == "same" else f"{part.phase}/student")):
                fresh = _noise(part) if self.init == "noise" else _fresh(part.nets)
            for name, value in part.params.items():
                if self.alpha is None:
                    value[k].copy_(fresh[name])
                else:
                    value[k].mul_(1 - self.alpha).add_(fresh[name].to(value), alpha=self.alpha * NOISE)


def _answers(teacher: Nets, x_KB: Tensor, *, hidden: bool) -> tuple[list[Tensor], Tensor]:
    """(what its hidden layers give, where that is asked for; logits_KBC), without gradients."""
    with torch.no_grad():
        if not hidden:
            return [], teacher.forward(teacher.params, x_KB)
        *layers, logits_KBC = teacher.activations(teacher.params, x_KB)
    return layers, logits_KBC


def _fresh(nets: Nets) -> Mapping[str, Tensor]:
    """Weights of a new host, from PyTorch's global generator."""
    module = nets.host.build()
    if not nets.fits(module):
        raise UsageError(
            f"The implant has given {nets.host.label} weights of its own, so a fresh host is of another shape. "
            f"Take init='noise' or init='teacher', or an implant in the units that are there."
        )
    return {name: p.detach() for name, p in module.named_parameters()}


def _noise(part: Part) -> Mapping[str, Tensor]:
    """Xavier's uniform noise for matrices and kernels, 0 for vectors; from PyTorch's global generator."""
    shapes = {name: p.shape for name, p in part.nets.like.named_parameters() if name in part.params}
    return {
        name: nn.init.xavier_uniform_(torch.empty(shape)) if len(shape) > 1 else torch.zeros(shape)
        for name, shape in shapes.items()
    }
