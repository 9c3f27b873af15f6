"""How far a run is: one live table, or plain lines where there is no terminal."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from holdfast.engines import Batch
from holdfast.estimate import duration

PLAIN_EVERY_S = 10.0


@dataclass
class _Row:
    nets: int = 0
    total: int = 0
    done: int = 0


class Progress:
    """Adds up what the batches report, one row for each implant and pressure, or sample.

    Args:
        paces: seconds of a net-step by rows' names, as estimated. Only their ratios matter: of two rows one may have
            ten times the steps, and the other take ten times as long. A row without one has the mean of all.
    """

    def __init__(self, paces: Mapping[str, float]) -> None:
        self.paces = paces
        self.mean_pace = fmean(paces.values()) if paces else 1.0
        self.stage = ""
        self.rows: dict[str, _Row] = {}
        self.began = time.monotonic()
        self._of: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""

    def begin(self, stage: str, batches: Sequence[Batch]) -> None:
        self.stage, self.rows, self.began, self._of = stage, {}, time.monotonic(), {}
        for batch in batches:
            row = self.rows.setdefault(batch.cells[0].title, _Row())
            row.nets += len(batch.cells)
            row.total += batch.net_steps
        self.draw()

    def tick(self, batch: Batch, net_steps: int) -> None:
        self._of[batch.key] = self._of.get(batch.key, 0) + net_steps
        self.rows[batch.cells[0].title].done += net_steps
        self.draw()

    def done(self, batch: Batch) -> None:
        # Planting may train fewer hosts than it has cells, and a resumed batch starts in the middle.
        self.rows[batch.cells[0].title].done += batch.net_steps - self._of.get(batch.key, 0)
        self._of[batch.key] = batch.net_steps
        self.draw()

    def end(self) -> None:
        self.draw()

    @property
    def sums(self) -> tuple[float, float]:
        """Seconds of one core that are done, and all, as estimated."""
        each = [(self.paces.get(name, self.mean_pace), row) for name, row in self.rows.items()]
        return sum(pace * row.done for pace, row in each), sum(pace * row.total for pace, row in each)

    def left(self) -> str:
        """Time left in this stage."""
        done, total = self.sums
        if not done:
            return "..."
        return duration((time.monotonic() - self.began) * (total - done) / done)

    def draw(self) -> None:
        """Show it."""


class LiveTable(Progress):
    """One table that is drawn over itself."""

    def __init__(self, paces: Mapping[str, float]) -> None:
        super().__init__(paces)
        # Drawn by us and not by a thread: a thread of ours must not be running when workers are forked.
        self.live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)

    def begin(self, stage: str, batches: Sequence[Batch]) -> None:
        if batches:
            self.live.start()
        super().begin(stage, batches)

    def end(self) -> None:
        super().end()
        self.close()

    def close(self) -> None:
        self.live.stop()

    def draw(self) -> None:
        table = Table(box=None, pad_edge=False)
        table.add_column(f"{self.stage}, {self.left()} left", min_width=44)
        for heading in ("number", "step", ""):
            table.add_column(heading, justify="right")
        for name, row in self.rows.items():
            step = f"{row.done // row.nets:,} / {row.total // row.nets:,}"
            table.add_row(name, str(row.nets), step, ProgressBar(total=row.total, completed=row.done, width=24))
        self.live.update(table, refresh=True)


class PlainLines(Progress):
    """A line when a stage starts, and one every ten seconds."""

    def __init__(self, paces: Mapping[str, float]) -> None:
        super().__init__(paces)
        self.spoke = -PLAIN_EVERY_S

    def begin(self, stage: str, batches: Sequence[Batch]) -> None:
        self.spoke = time.monotonic()
        super().begin(stage, batches)
        if batches:
            nets = sum(row.nets for row in self.rows.values())
            print(f"{stage}: {nets:,} in all", file=sys.stderr, flush=True)

    def draw(self) -> None:
        if self.rows and time.monotonic() - self.spoke >= PLAIN_EVERY_S:
            self.spoke = time.monotonic()
            done, total = self.sums
            # Nothing may be trained in a stage, such as planting what is written.
            share = f"{100 * done / total:.0f} %, {self.left()} left" if total else "under way"
            print(f"{self.stage}: {share}", file=sys.stderr, flush=True)


def progress(paces: Mapping[str, float]) -> Progress:
    """What fits standard error."""
    return LiveTable(paces) if sys.stderr.isatty() else PlainLines(paces)
