"""Which examples each net sees at each step.

Shapes: K nets, S steps an epoch, B examples a step.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.errors import UsageError
from holdfast.training.site import Site
from holdfast.training.streams import Streams

if TYPE_CHECKING:
    from holdfast.pressures.mixes import Mix

PROBE_EXAMPLES = 512
"""Draws on which the gradient is looked at; of sequences so many positions, in whole sequences."""


class Draws:
    """The batches of K nets, each net its own.

    All versions of the training data (clean, triggered, poisoned) stand in one table, so that mixing them is a matter
    of row numbers. An epoch is a permutation of the examples, cut into batches; a remainder too small for a batch
    waits for the next epoch's permutation. Nets of one seed see the same examples in the same order.
    """

    def __init__(self, site: Site, mixes: Sequence[Sequence["Mix"]], batch: int, share: float = 1.0) -> None:
        """
        Args:
            site: data, seeds and the phase that names the streams.
            mixes: for each net, what is mixed in.
            batch: examples a step.
            share: of the training data, which is drawn from; each seed has its own (stream `subset`).

        Raises:
            UsageError: a batch larger than the training data, or a version of it that the implant doesn't have.
        """
        self.site, self.mixes, self.batch = site, mixes, batch
        self.examples = len(site.data.train)
        self.drawn = round(share * self.examples)
        if not 1 <= batch <= self.drawn:
            what = "the training data" if share == 1 else f"{share:g} of the training data"
            raise UsageError(f"A batch must be of 1 to {self.drawn} examples ({what}); got {batch}.")
        self.steps_per_epoch = self.drawn // batch
        tables = {"clean": (site.data.train.x, site.data.train.y), **self._versions()}
        self.offset = {name: i * self.examples for i, name in enumerate(tables)}
        self.x = _one([x for x, _ in tables.values()]).to(site.device)
        self.y = _one([y for _, y in tables.values()]).to(site.device)
        weights = [[{m.source: m.weight for m in mixes}.get(name, 1.0) for name in tables] for mixes in mixes]
        self._weights_KV = None if all(w == 1 for row in weights for w in row) else torch.tensor(weights)
        self._epoch = -1
        self._rows_SKB = torch.empty(0)

    def _versions(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        wanted = {mix.source: mix for mixes in self.mixes for mix in mixes}
        if not wanted:
            return {}
        implant = self.site.implant
        offered = implant.sources(self.site.data.train) if implant else {}
        for name, mix in wanted.items():
            if name not in offered:
                who = implant.label if implant else "a net without implant"
                raise UsageError(
                    f"{mix.label} needs {name} inputs, and {who} has none. "
                    f"Leave this term out, or use an implant with a trigger (for Given, a Backdoor)."
                )
        return {name: offered[name] for name in sorted(wanted)}

    def _rows(self, stream_name: str, epoch: int, count: int) -> NDArray[np.int64]:
        """Row numbers in the table, (K, count)."""
        orders = {s: self._order(s, stream_name, epoch)[:count] for s in set(self.site.streams)}
        rows = np.stack([orders[s] for s in self.site.streams])
        for k, (stream, mixes) in enumerate(zip(self.site.streams, self.mixes, strict=True)):
            for mix in mixes:
                fires = mix.fires(stream, f"{self.site.phase}", epoch, orders[stream], self.examples)
                rows[k, fires] = orders[stream][fires] + self.offset[mix.source]
        return rows

    def _order(self, stream: Streams, name: str, epoch: int) -> NDArray[np.int64]:
        order = stream.generator(f"{self.site.phase}/{name}", epoch).permutation(self.drawn)
        if self.drawn == self.examples:
            return order
        return stream.generator("subset").permutation(self.examples)[order]

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """(x_KB..., y_KB) of the step that follows `step` steps."""
        return self._take(self._rows_at(step))

    def weights_at(self, step: int) -> Tensor | None:
        """weights_KB of those examples in the loss; None where all are 1."""
        return self._weigh(self._rows_at(step))

    def _rows_at(self, step: int) -> Tensor:
        epoch, within = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            rows_KN = self._rows("data", epoch, self.steps_per_epoch * self.batch)
            rows_KSB = torch.from_numpy(rows_KN).view(len(rows_KN), self.steps_per_epoch, self.batch)
            self._rows_SKB = rows_KSB.transpose(0, 1).contiguous().to(self.site.device)
            self._epoch = epoch
        return self._rows_SKB[within]

    def _weigh(self, rows_KB: Tensor) -> Tensor | None:
        if self._weights_KV is None:
            return None
        return self._weights_KV.to(rows_KB.device).gather(1, rows_KB // self.examples)

    def probe(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """(x_KB..., y_KB, weights_KB) of fixed draws, mixed as in training, for looking at the gradient."""
        count = max(1, PROBE_EXAMPLES // self.y[0].numel())
        rows_KB = torch.from_numpy(self._rows("probe", -1, min(count, self.drawn))).to(self.site.device)
        return *self._take(rows_KB), self._weigh(rows_KB)

    def versions(self, start: int, stop: int) -> dict[str, Tensor]:
        """How many examples of each batch came from each version of the data, counts_KS by the version's name.

        The batches are those after `start` steps and up to `stop`. They are drawn anew from the streams, so nothing is
        counted that nobody asks about, and a resumed training counts as an uninterrupted one.
        """
        first, last = start // self.steps_per_epoch, (stop - 1) // self.steps_per_epoch
        count = self.steps_per_epoch * self.batch
        rows_KN = np.concatenate([self._rows("data", epoch, count) for epoch in range(first, last + 1)], 1)
        rows_KSB = torch.from_numpy(rows_KN).view(len(rows_KN), -1, self.batch)
        within = slice(start - first * self.steps_per_epoch, stop - first * self.steps_per_epoch)
        version_KSB = rows_KSB[:, within] // self.examples
        return {name: (version_KSB == i).sum(-1) for i, name in enumerate(self.offset)}

    def _take(self, rows_KB: Tensor) -> tuple[Tensor, Tensor]:
        x = self.x.index_select(0, rows_KB.reshape(-1))
        y = self.y.index_select(0, rows_KB.reshape(-1))
        return x.view(*rows_KB.shape, *self.x.shape[1:]), y.view(*rows_KB.shape, *self.y.shape[1:])


def _one(tables: Sequence[Tensor]) -> Tensor:
    """All of them below one another; without copying where there is one, which may be large."""
    return tables[0] if len(tables) == 1 else torch.cat(tuple(tables))
