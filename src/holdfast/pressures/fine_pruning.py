"""Fine-pruning: what clean data leave silent is removed, then the rest is fine-tuned.

Shapes: K nets, U units of a layer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.errors import UsageError, number, whole
from holdfast.pressures.fit import Fit
from holdfast.pressures.optimisers import SGD
from holdfast.pressures.prune import Removal
from holdfast.pressures.removed import Removed
from holdfast.pressures.terms import Part, Term
from holdfast.pressures.weight_decay import WeightDecay
from holdfast.pruning.masks import Masks
from holdfast.pruning.snip import drawn
from holdfast.pruning.unit_scores import EXAMPLES
from holdfast.pruning.units import Hidden, activity, last_features, unit_masks
from holdfast.tasks.base import Split
from holdfast.training.evaluate import evaluate
from holdfast.training.nets import Nets

BACKDOOR_BENCH = Fit(SGD(lr=0.01, momentum=0.9), WeightDecay(rate=5e-3), steps=1000, batch=256)
"""Fine-tuning as BackdoorBench (arXiv 2206.12654) has it after its defences: 100 epochs over 2,500 images.
There weight decay is 5e-4 and goes through the momentum, which makes ten times as much of it; its cosine
schedule is left out."""


@dataclass(frozen=True, kw_only=True)
class FinePruning(Removal):
    """The least active units of the last convolution (of a perceptron: the last hidden layer) are removed, one
    after the other, as long as accuracy stays within `points` of what it was; then the net is fine-tuned.

    Activity is a unit's output on average over `examples` clean training examples (net k's own, from its stream
    `pruning/examples`) and over pixels. Accuracy is that on validation data; the first unit that costs more
    stays, as do all after it, and one unit in any case. What is removed is zero from then on. The removal
    follows the look at step 0; the dose is the steps of the fine-tuning.

    Liu, Dolan-Gavitt & Garg 2018, arXiv 1805.12185; 4 points is the loss that they allow, as others report it
    (their text was not at hand). BackdoorBench stops at a tenth of the accuracy, and removes a hundredth of the
    units at a time.

    When it misleads: a planter who knows of it puts the backdoor where clean data are active too. Validation
    data of a few hundred examples know accuracy to a point or so. The owner's own data stand for the
    defender's, and are more.
    """

    fit: Fit = BACKDOOR_BENCH
    points: float = 4.0
    """Percentage points of validation accuracy that removing may cost."""
    examples: int = EXAMPLES

    def __post_init__(self) -> None:
        super().__post_init__()
        number("FinePruning's points", self.points)
        whole("FinePruning's examples", self.examples)
        if not 0 <= self.points <= 100 or self.examples < 1:
            raise UsageError(
                f"FinePruning needs points between 0 and 100 (percentage points of accuracy that may be lost), "
                f"and an example or more; got points={self.points}, examples={self.examples}."
            )

    @property
    def what(self) -> str:
        return f"fine-pruning within {self.points:g} points"

    @property
    def term(self) -> Term:
        return _LeastActive(rounds=1, every=self.fit.steps, points=self.points, examples=self.examples)


@dataclass(frozen=True, kw_only=True)
class _LeastActive(Removed):
    points: float
    examples: int

    @property
    def label(self) -> str:
        return "least active units"

    def removes(self, nets: Nets) -> tuple[str, ...]:
        at = last_features(nets.host)
        return f"{at.layer}.weight", f"{at.layer}.bias", f"{at.reader}.weight"

    def keeps(self, part: Part, nets: Nets, masks: Masks, done: int) -> Masks:
        at = last_features(nets.host)
        x_KB, _ = drawn(part.data, part.streams, self.examples)
        order_KU = activity(nets, [at], x_KB)[at].argsort(dim=1, stable=True)
        count_K = removable(nets, at, order_KU, part.data.validation, self.points)
        place_KU = order_KU.argsort(1)
        return unit_masks(nets, {at: place_KU >= count_K[:, None]})


def removable(nets: Nets, at: Hidden, order_KU: Tensor, split: Split, points: float) -> Tensor:
    """count_K: how many units of a layer can be removed, in this order, before accuracy falls by more than that.

    One stays.
    """
    left, rows = nets.copy(), torch.arange(nets.k, device=nets.device)
    # Accuracies are counts of examples, so a loss of exactly `points` must not hang on how they are rounded.
    allowed_K = (100 * evaluate(nets, split)[1] - points - 1e-9).to(nets.device)
    count_K = torch.zeros(nets.k, dtype=torch.int64, device=nets.device)
    going_K = torch.ones(nets.k, dtype=torch.bool, device=nets.device)
    for n in range(order_KU.shape[1] - 1):
        for what in ("weight", "bias"):
            left.params[f"{at.layer}.{what}"][rows, order_KU[:, n]] = 0
        accuracy_K = 100 * evaluate(left, split)[1].to(nets.device)
        going_K &= accuracy_K >= allowed_K
        if not bool(going_K.any()):
            break
        count_K += going_K
    return count_K
