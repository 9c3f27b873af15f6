"""Label smoothing."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from holdfast.errors import UsageError, number
from holdfast.pressures.terms import Term


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Term):
    """Targets are mixed with the uniform distribution: L = (1 - rate) CE(y) + rate mean_c CE(c).

    As `torch.nn.functional.cross_entropy(label_smoothing=rate)`. Szegedy et al. 2016, arXiv 1512.00567.
    """

    alike: ClassVar[bool] = True

    rate: float

    def __post_init__(self) -> None:
        number("LabelSmoothing's rate", self.rate)
        if not 0 <= self.rate < 1:
            raise UsageError(f"LabelSmoothing needs a rate of at least 0 and below 1; got {self.rate}.")

    @property
    def label(self) -> str:
        return f"label smoothing {self.rate:g}"

    def loss(self, loss_K: Tensor, logits_KBC: Tensor, y_KB: Tensor) -> Tensor:
        uniform_KB = logits_KBC.logsumexp(-1) - logits_KBC.mean(-1)
        return (1 - self.rate) * loss_K + self.rate * uniform_KB.flatten(1).mean(1)
