"""One way to prune: score, keep the largest, as many rounds as the score asks for."""

from collections.abc import Sequence

from holdfast.errors import UsageError, counted, number
from holdfast.pruning.base import Score
from holdfast.pruning.largest import largest
from holdfast.pruning.masks import Masks
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


def prune(
    nets: Nets, score: Score, keep: float, data: Data, streams: Sequence[Streams], within: Masks | None = None
) -> Masks:
    """Which weights of each net to keep, by a score: this share of all, wherever they are. The nets stay as
    they are.

    In round r of R the share kept is s (keep / s)^(r / R), s the share that `within` keeps: what is pruned
    already, as large a share in every net. None: nothing is.

    Raises:
        UsageError: a share outside (0, 1], or more than is left.
    """
    number("keep", keep)
    if not 0 < keep <= 1:
        raise UsageError(f"The share of weights to keep is above 0 and at most 1; got {keep}.")
    counted(score.label, rounds=score.rounds)
    left, masks = nets.copy(), within or Masks.full(nets)
    if round(keep * masks.flat_KP.shape[1]) < 1:
        raise UsageError(f"To keep {keep:g} of {masks.flat_KP.shape[1]:,} weights is to keep none: raise `keep`.")
    start = float(masks.kept_K[0])
    for done in range(1, score.rounds + 1):
        share = keep if done == score.rounds else start * (keep / start) ** (done / score.rounds)
        masks = largest(score.score(left, data, streams, masks), share, masks)
        masks.apply(left)
    return masks
