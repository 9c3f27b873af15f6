"""Engines, on cells that only count: none of this needs a network."""

import os
import signal
from dataclasses import dataclass

import pytest

from holdfast.engines import Here, Processes
from holdfast.engines.base import LARGEST_BATCH, batches
from holdfast.errors import HoldfastError
from holdfast.store import RunFolder
from holdfast.study import SCHEMA

ENGINES = {"here": Here(), "processes": Processes(2)}


@dataclass(frozen=True)
class Counting:
    """A cell that writes its number."""

    number: int
    kind: str = "a"
    steps: int = 10

    def batch_key(self):
        return self.kind


class Heard:
    """A watch that remembers."""

    def __init__(self):
        self.stages, self.ticks, self.finished = [], {}, 0

    def begin(self, stage, batches):
        self.stages.append((stage, sum(len(b.cells) for b in batches)))

    def tick(self, batch, net_steps):
        self.ticks[batch.key] = self.ticks.get(batch.key, 0) + net_steps

    def done(self, batch):
        self.finished += 1

    def end(self):
        self.stages.append("end")


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin({"schema": SCHEMA, "hash": "0", "holdfast": "0", "code": "0", "study": {}, "arms": [], "data": {}}, {})
    return folder


def count(cells, folder, slot, tick):
    for cell in cells:
        recorder = folder.recorder(folder.key(cell), {"number": cell.number})
        recorder.add("count", 0, {"number": float(cell.number)})
        recorder.end()
        tick(cell.steps)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_cell_is_run_once_and_told(engine, folder):
    cells = [Counting(n, kind="ab"[n % 2]) for n in range(150)]
    watch = Heard()
    ENGINES[engine].run("counting", [*cells, *cells], {Counting: count}, folder, watch)
    assert [folder.measures(folder.key(c)).phase("count")["number"] for c in cells] == [[float(n)] for n in range(150)]
    assert watch.stages == [("counting", 150), "end"]
    assert sum(watch.ticks.values()) == 1500
    assert watch.finished == 4
    again = Heard()
    ENGINES[engine].run("counting", cells, {Counting: pytest.fail}, folder, again)
    assert again.stages == [("counting", 0), "end"], "what is complete is not run again"


def test_batches_do_not_depend_on_what_is_done(folder):
    cells = [Counting(n) for n in range(LARGEST_BATCH + 10)]
    before = batches(cells, folder)
    assert [len(b.cells) for b in before] == [LARGEST_BATCH, 10]
    count(cells[:30], folder, None, lambda n: None)
    assert batches(cells, folder) == before, "a batch that is half done is found again, with its state"
    count(cells[:LARGEST_BATCH], folder, None, lambda n: None)
    assert batches(cells, folder) == before[1:]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_comes_through_with_its_text(engine, folder):
    def fail(cells, folder, slot, tick):
        raise HoldfastError("The trigger lies outside the image.")

    with pytest.raises(HoldfastError, match="The trigger lies outside the image"):
        ENGINES[engine].run("failing", [Counting(1)], {Counting: fail}, folder, Heard())


def test_an_error_of_ours_brings_the_workers_traceback(folder):
    def fail(cells, folder, slot, tick):
        raise KeyError("somewhere deep")

    with pytest.raises(KeyError) as caught:
        ENGINES["processes"].run("failing", [Counting(1)], {Counting: fail}, folder, Heard())
    assert "in fail" in caught.value.__notes__[0]


def test_a_killed_worker_is_a_sentence_and_nothing_is_lost(folder):
    def die(cells, folder, slot, tick):
        count(cells[:1], folder, slot, tick)
        os.kill(os.getpid(), signal.SIGKILL)

    cells = [Counting(n) for n in range(3)]
    with pytest.raises(HoldfastError, match="signal 9.*out of memory.*run again"):
        ENGINES["processes"].run("dying", cells, {Counting: die}, folder, Heard())
    ENGINES["processes"].run("living", cells, {Counting: count}, folder, Heard())
    assert all(folder.complete(folder.key(cell)) for cell in cells)
