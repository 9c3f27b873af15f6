"""Run cells in local processes of one thread each."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from holdfast.engines.base import Batch, Kinds, Watch, batches, work
from holdfast.errors import HoldfastError
from holdfast.store import RunFolder
from holdfast.study import Cell

# Forked, so that cells need not be pickled: a recipe may hold functions of the user's own file.
_FORK = get_context("fork") if "fork" in get_all_start_methods() else None


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes:
    """The engine for several cores. Workers take batches one by one; each writes only its own cells' files."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, stage: str, cells: Sequence[Cell], kinds: Kinds, folder: RunFolder, watch: Watch) -> None:
        """Run every cell that is not complete.

        Raises:
            HoldfastError: a worker failed or was killed; what it had measured is kept.
        """
        left = batches(cells, folder)
        watch.begin(stage, left)
        if left:
            self._run(stage, left, kinds, folder, watch)
        watch.end()

    def _run(self, stage: str, left: list[Batch], kinds: Kinds, folder: RunFolder, watch: Watch) -> None:
        assert _FORK is not None
        taken = _FORK.Value("i", 0)
        ends: dict[Connection, Any] = {}
        try:
            for _ in range(min(self.workers, len(left))):
                ours, theirs = _FORK.Pipe(duplex=False)
                process = _FORK.Process(target=_worker, args=(theirs, taken, left, kinds, folder, os.getpid()))
                process.start()
                theirs.close()
                ends[ours] = process
            while ends:
                for end in wait(list(ends), timeout=0.5):
                    assert isinstance(end, Connection)
                    try:
                        message = end.recv()
                    except EOFError:
                        _finish(ends.pop(end))
                        continue
                    self._hear(message, stage, left, folder, watch)
        finally:
            for process in ends.values():
                process.kill()
                process.join()

    @staticmethod
    def _hear(message: tuple[Any, ...], stage: str, left: list[Batch], folder: RunFolder, watch: Watch) -> None:
        match message:
            case ("tick", index, net_steps):
                watch.tick(left[index], net_steps)
            case ("done", index, seconds):
                folder.add_time({"stage": stage, "nets": len(left[index].cells), "work_s": seconds})
                watch.done(left[index])
            case ("failed", error):
                raise error


def _finish(process: Any) -> None:
    process.join()
    if process.exitcode != 0:
        how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"status {process.exitcode}"
        hint = " (out of memory?)" if process.exitcode == -signal.SIGKILL else ""
        raise HoldfastError(f"A worker process ended with {how}{hint}. What it measured is kept: run again to go on.")


def _worker(end: Connection, taken: Any, left: list[Batch], kinds: Kinds, folder: RunFolder, parent: int) -> None:
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            with taken.get_lock():
                index = taken.value
                taken.value += 1
            if index >= len(left):
                return
            began = time.perf_counter()
            work(left[index], kinds, folder, lambda net_steps, index=index: end.send(("tick", index, net_steps)))  # type: ignore[misc]
            end.send(("done", index, time.perf_counter() - began))
    except Exception as error:
        end.send(("failed", error if isinstance(error, HoldfastError | OSError) else _carried(error)))
    finally:
        end.close()


def _carried(error: Exception) -> Exception:
    """The error with its traceback as text: a traceback itself cannot be sent."""
    import traceback

    error.add_note("In the worker:\n" + "".join(traceback.format_exception(error)))
    return error


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, so that a killed run leaves nobody writing."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
