"""Pruning: weights, or whole units, are removed by a score, with fine-tuning in between.

Shapes: K nets, U units of a layer.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from holdfast.errors import UsageError, number, whole
from holdfast.pressures.base import Checkpoint
from holdfast.pressures.edge_popup import EdgePopup
from holdfast.pressures.fit import Fit
from holdfast.pressures.removed import Removed
from holdfast.pressures.terms import Part, Term
from holdfast.pressures.wrapping import Wrapping
from holdfast.pruning import Magnitude, Masks, OutgoingNorm, Score, UnitScore, largest, prunable, prune
from holdfast.pruning.units import removable, unit_masks
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams


@dataclass(frozen=True, kw_only=True)
class Removal(Wrapping):
    """What pressures share that remove something and fine-tune what is left: `Fit`, with one more term. What is
    removed may differ within a batch.

    `fit`: the training between and after; each round has its steps.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.fit, Fit):
            raise UsageError(f"{type(self).__name__} fine-tunes by a Fit; got fit={self.fit!r}.")
        if any(isinstance(term, EdgePopup) for term in self.fit.terms):
            raise UsageError(
                f"{type(self).__name__} can't fine-tune by EdgePopup, which may choose the very weights that are "
                f"removed. Press with Fit(..., EdgePopup(...)) alone, or leave EdgePopup out."
            )

    @property
    @abstractmethod
    def term(self) -> Term:
        """What removes it."""

    @classmethod
    def press(cls, each: Sequence[Self], site: Site, nets: Nets, looks: Sequence[int]) -> Iterator[Checkpoint]:
        """Remove and train, as `Fit.press` does; what is gone is part of the state that is saved."""
        return Fit.press([one.fit.with_terms(one.term) for one in each], site, nets, looks)


@dataclass(frozen=True, kw_only=True)
class _InRounds(Removal):
    """Until a share is left, in rounds of equal ratios."""

    keep: float
    """Share that is left at last: of the weights, or of each hidden layer's units."""
    rounds: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        what = type(self).__name__
        number(f"{what}'s keep", self.keep)
        whole(f"{what}'s rounds", self.rounds)
        if not 0 < self.keep < 1:
            raise UsageError(
                f"{what} keeps a share above 0 and below 1; got keep={self.keep}. To remove 90 % of them: keep=0.1."
            )
        if self.rounds < 1:
            raise UsageError(f"{what} needs a round or more; got rounds={self.rounds}.")

    @property
    def steps(self) -> int:
        """Optimiser steps of all rounds."""
        return self.rounds * self.fit.steps

    @property
    def _left(self) -> str:
        return f"to {self.keep:.3g}" + ("" if self.rounds == 1 else f" in {self.rounds} rounds")


@dataclass(frozen=True, kw_only=True)
class Prune(_InRounds):
    """Weights are removed by a score, in rounds, until a share of them is left; what is left is fine-tuned
    after each.

        Prune(score=SNIP(), keep=0.1, rounds=3, fit=Fit(SGD(lr=0.01, momentum=0.9), steps=300))

    Round r of R keeps keep^(r / R) of all weights of linear and convolutional layers, wherever they are, those
    with the largest scores (`holdfast.pruning`: `Magnitude`, `SNIP`, `GraSP`, `SynFlow`, `AtRandom`); the rest
    is zero from then on, to the bit. No rewinding: Han et al. 2015 (arXiv 1506.02626); with it,
    `samples.Tickets`. The first round follows the look at step 0, the others the look that falls on their step.
    The dose is counted in optimiser steps over all rounds. Randomness: that of `Fit` and of the score, from
    each net's own streams.

    When it misleads: a share of the whole net may take one layer nearly whole. Later rounds draw SNIP's and
    GraSP's examples, and random scores, as the first did. Weights that are zero already count as any others.
    """

    score: Score = field(default_factory=Magnitude)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.score, Score):
            raise UsageError(
                f"Prune takes a score of weights (Magnitude(), SNIP(), GraSP(), SynFlow(), AtRandom()); got "
                f"{self.score!r}. Units are removed by PruneUnits."
            )

    @property
    def what(self) -> str:
        return f"{self.score.label} pruning {self._left}"

    @property
    def term(self) -> Term:
        return _Weights(rounds=self.rounds, every=self.fit.steps, score=self.score, keep=self.keep)


@dataclass(frozen=True, kw_only=True)
class PruneUnits(_InRounds):
    """As `Prune`, but whole hidden units are removed (channels, of a convolution): what they read, their bias,
    and what reads them. Of every hidden layer the same share stays, one unit at the least.

        PruneUnits(score=MeanActivation(), keep=0.5, fit=Fit(SGD(lr=0.01, momentum=0.9), steps=300))

    What is left can be made a smaller network with the same outputs: `holdfast.pruning.compact`. For
    perceptrons and CNNs. Scores: `OutgoingNorm`, `MeanActivation`. When it misleads: see those.
    """

    score: UnitScore = field(default_factory=OutgoingNorm)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.score, UnitScore):
            raise UsageError(
                f"PruneUnits takes a score of units (OutgoingNorm(), MeanActivation()); got {self.score!r}. "
                f"Single weights are removed by Prune."
            )

    @property
    def what(self) -> str:
        return f"units pruned by {self.score.label} {self._left}"

    @property
    def term(self) -> Term:
        return _Units(rounds=self.rounds, every=self.fit.steps, score=self.score, keep=self.keep)


@dataclass(frozen=True)
class _Finite:
    """A score that is 0 where there is none: for nets on their way to diverge."""

    of: Score

    @property
    def label(self) -> str:
        return self.of.label

    @property
    def rounds(self) -> int:
        return self.of.rounds

    def score(self, nets: Nets, data: Data, streams: Sequence[Streams], masks: Masks) -> Mapping[str, Tensor]:
        found = self.of.score(nets, data, streams, masks)
        return {name: value.nan_to_num(0, 0, 0) for name, value in found.items()}


@dataclass(frozen=True, kw_only=True)
class _Scored(Removed):
    keep: float

    def left(self, done: int) -> float:
        """The share that is kept from the round on that follows so many."""
        return float(self.keep ** ((done + 1) / self.rounds))


@dataclass(frozen=True, kw_only=True)
class _Weights(_Scored):
    score: Score

    @property
    def label(self) -> str:
        return f"weights by {self.score.label}"

    def removes(self, nets: Nets) -> tuple[str, ...]:
        return prunable(nets)

    def keeps(self, part: Part, nets: Nets, masks: Masks, done: int) -> Masks:
        return prune(nets, _Finite(self.score), self.left(done), part.data, part.streams, masks)


@dataclass(frozen=True, kw_only=True)
class _Units(_Scored):
    score: UnitScore

    @property
    def label(self) -> str:
        return f"units by {self.score.label}"

    def removes(self, nets: Nets) -> tuple[str, ...]:
        layers = removable(nets.host)
        names = [(f"{at.layer}.weight", f"{at.layer}.bias", f"{at.reader}.weight") for at in layers]
        return tuple(dict.fromkeys(name for three in names for name in three))

    def keeps(self, part: Part, nets: Nets, masks: Masks, done: int) -> Masks:
        share = self.left(done)
        scores = self.score.score_units(nets, part.data, part.streams)
        by_path = {at.layer: value.nan_to_num(0, 0, 0) for at, value in scores.items()}
        shares = {path: max(share, 1 / value.shape[1]) for path, value in by_path.items()}
        kept = largest(by_path, shares, Masks({path: masks[f"{path}.bias"] for path in by_path}))
        return unit_masks(nets, {at: kept[at.layer] for at in scores})
