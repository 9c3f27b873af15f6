"""What an engine does: run the cells that are not complete, in batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.settings import digest
from holdfast.store import RunFolder
from holdfast.study import Cell

LARGEST_BATCH = 64
"""Nets that train together. More are split: with 64 small nets a step's tensors still fit a core's cache."""

Kinds = Mapping[type, Callable[..., None]]
"""Cell class -> function(cells, folder, slot, tick) that runs a batch of them."""


class Watch(Protocol):
    """Somebody who wants to know how far it is."""

    def begin(self, stage: str, batches: "Sequence[Batch]") -> None:
        """A stage starts, with the batches that are left to do."""

    def tick(self, batch: "Batch", net_steps: int) -> None:
        """A batch has done so many more net-steps."""

    def done(self, batch: "Batch") -> None:
        """A batch is done."""

    def end(self) -> None:
        """The stage is done."""


class Engine(Protocol):
    """Where cells are run. It knows cells, batches and the store, and nothing of what a cell does."""

    def run(self, stage: str, cells: Sequence[Cell], kinds: Kinds, folder: RunFolder, watch: Watch) -> None:
        """Run every cell that is not complete."""


@dataclass(frozen=True)
class Batch:
    """Cells that train together."""

    cells: tuple[Cell, ...]
    key: str

    @property
    def net_steps(self) -> int:
        """Optimiser steps, summed over the nets."""
        return sum(cell.steps for cell in self.cells)


def batches(cells: Sequence[Cell], folder: RunFolder) -> list[Batch]:
    """The batches that hold a cell which is not complete, largest first.

    Batches are formed before complete cells are looked at, so that a run which goes on after a kill finds the same
    batches, and in them the state that was saved. A cell's result does not depend on the batch it is in.
    """
    groups: dict[Any, dict[Cell, None]] = {}
    for cell in cells:
        groups.setdefault(cell.batch_key(), {})[cell] = None
    formed = []
    for group in groups.values():
        each = list(group)
        for start in range(0, len(each), LARGEST_BATCH):
            part = tuple(each[start : start + LARGEST_BATCH])
            keys = [folder.key(cell) for cell in part]
            if not all(folder.complete(key) for key in keys):
                formed.append(Batch(part, digest(keys)))
    return sorted(formed, key=lambda batch: -batch.net_steps)


def work(batch: Batch, kinds: Kinds, folder: RunFolder, tick: Callable[[int], None]) -> None:
    """Run one batch here and now, on one thread."""
    from holdfast.training.slot import Slot

    with one_thread():
        kinds[type(batch.cells[0])](batch.cells, folder, Slot(folder.state_path(batch.key)), tick)


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch on one thread, with denormal numbers flushed to zero; both as before afterwards.

    One thread, because a net's bits may depend on how work is split. Flushed, because the momentum of a unit without
    gradient decays into denormals, on which a CPU is a hundred times slower.
    """
    import torch

    from holdfast.training.memory import keep_freed_memory

    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
