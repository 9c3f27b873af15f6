"""Where runs lie, and finding one by name."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from holdfast.errors import UsageError, nearest
from holdfast.store.folder import RunFolder

LONGEST_NAME, LONGEST_PATH = 255, 4000
"""Characters of a name, and of a path; systems have limits of about this."""


def runs_root(out: Path | None = None) -> Path:
    """`--out`, else $HOLDFAST_RUNS, else ./runs.

    Raises:
        UsageError: it is a file.
    """
    root = out if out is not None else Path(os.environ.get("HOLDFAST_RUNS", "runs"))
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file; expected a folder for runs.")
    return root.absolute()  # a user's training may change the working directory


def shown(path: Path) -> str:
    """A path as it is printed: from here, where it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def all_runs(root: Path) -> Iterator[RunFolder]:
    """The runs in a folder, newest first."""
    if root.is_dir():
        folders = [path for path in root.iterdir() if (path / "study.json").exists()]
        yield from map(RunFolder, sorted(folders, key=lambda p: (p / "study.json").stat().st_mtime, reverse=True))


def find_run(name: str, root: Path, *, rather: Callable[[RunFolder], bool] | None = None) -> RunFolder:
    """The run called `name`: a path, a folder's name, or the start of one (`demo`: the newest that starts so).

    Args:
        name: as it was typed.
        root: folder of runs.
        rather: of several that start so, the newest of which this is true, if there is one.

    Raises:
        UsageError: no such run; the nearest name is given.
    """
    if not name or len(name) > LONGEST_PATH or any(len(part) > LONGEST_NAME for part in Path(name).parts):
        raise UsageError("Name a run: `holdfast ls` lists them.")
    if (Path(name) / "study.json").exists():
        return RunFolder(Path(name).absolute())
    runs = list(all_runs(root))
    for run in runs:
        if name == run.name:
            return run
    starting = [run for run in runs if name == study_of(run)] or [run for run in runs if run.name.startswith(name)]
    if starting:
        return next((run for run in starting if rather and rather(run)), starting[0])
    if Path(name).exists():
        raise UsageError(f"{name} is no run folder: it has no study.json.")
    if not runs:
        raise UsageError(f"No run {name!r}: there are no runs in {root}. Start with: holdfast demo")
    raise nearest(name, [known for run in runs for known in (run.name, study_of(run))], what="run")


def study_of(run: RunFolder) -> str:
    """The name of the study, without the hash."""
    return run.name.rsplit("-", 1)[0]
