"""One way to prune: score, keep the largest, as many rounds as the score asks for."""

from collections.abc import Sequence

from holdfast.errors import UsageError, number
from holdfast.pruning.base import Score
from holdfast.pruning.largest import largest
from holdfast.pruning.masks import Masks
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


def prune(nets: Nets, score: Score, keep: float, data: Data, streams: Sequence[Streams]) -> Masks:
    """Which weights of each net to keep, by a score: this share of all, wherever they are. The nets stay as they are.

    In round r of R the share kept is keep^(r / R).

    Raises:
        UsageError: a share outside (0, 1].
    """
    number("keep", keep)
    if not 0 < keep <= 1:
        raise UsageError(f"The share of weights to keep is above 0 and at most 1; got {keep}.")
    left, masks = nets.copy(), Masks.full(nets)
    for done in range(1, score.rounds + 1):
        masks = largest(score.score(left, data, streams, masks), keep ** (done / score.rounds), masks)
        masks.apply(left)
    return masks
