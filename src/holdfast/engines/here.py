"""Run cells in this process, one batch after the other."""

import time
from collections.abc import Sequence

from holdfast.engines.base import Kinds, Watch, batches, work
from holdfast.store import RunFolder
from holdfast.study import Cell


class Here:
    """The engine for one core, for a GPU, and for stepping through in a debugger."""

    def run(self, stage: str, cells: Sequence[Cell], kinds: Kinds, folder: RunFolder, watch: Watch) -> None:
        """Run every cell that is not complete."""
        left = batches(cells, folder)
        watch.begin(stage, left)
        for batch in left:
            began = time.perf_counter()
            work(batch, kinds, folder, lambda net_steps, batch=batch: watch.tick(batch, net_steps))  # type: ignore[misc]
            folder.add_time({"stage": stage, "nets": len(batch.cells), "work_s": time.perf_counter() - began})
            watch.done(batch)
        watch.end()
