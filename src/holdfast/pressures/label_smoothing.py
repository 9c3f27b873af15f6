"""Label smoothing."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Term
from holdfast.training.gradients import Loss, Pass
from holdfast.training.nets import Nets


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Term):
    """Targets are mixed with the uniform distribution: L = (1 - rate) CE(y) + rate mean_c CE(c).

    As `torch.nn.functional.cross_entropy(label_smoothing=rate)`. Szegedy et al. 2016, arXiv 1512.00567.
    """

    alike: ClassVar[bool] = True
    order: ClassVar[int] = -1  # labels first: other losses are mixed with what it makes of them

    rate: float

    def __post_init__(self) -> None:
        number("LabelSmoothing's rate", self.rate)
        if not 0 <= self.rate < 1:
            raise UsageError(f"LabelSmoothing needs a rate of at least 0 and below 1; got {self.rate}.")

    @property
    def label(self) -> str:
        return f"label smoothing {self.rate:g}"

    def loss(self, nets: Nets) -> Loss:
        def smoothed(loss_K: Tensor, of: Pass) -> Tensor:
            uniform_KB = of.logits_KBC.logsumexp(-1) - of.logits_KBC.mean(-1)
            return (1 - self.rate) * loss_K + self.rate * uniform_KB.flatten(1).mean(1)

        return smoothed
