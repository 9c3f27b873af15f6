"""Start a study in its run folder, or open a run that is there: the way in for the command and for Python."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from holdfast import __version__
from holdfast.engines import Batch, Engine, Here, Processes, Watch, cores
from holdfast.errors import HoldfastError
from holdfast.settings import digest, settings, take_anew
from holdfast.store import RunFolder, find_run, runs_root
from holdfast.store.code import library_digest, rules_digest, user_digest
from holdfast.store.environment import environment
from holdfast.study import SCHEMA, Study


class Silent:
    """A watch that says nothing."""

    def begin(self, stage: str, batches: Sequence[Batch]) -> None: ...
    def tick(self, batch: Batch, net_steps: int) -> None: ...
    def done(self, batch: Batch) -> None: ...
    def end(self) -> None: ...


def study_record(study: Study, recipe: Path | None = None) -> dict[str, Any]:
    """What `study.json` holds: every field, the schema, the version, a digest of the code, and the data's checksums."""
    take_anew()
    code = library_digest() if recipe is None else f"{library_digest()}+{user_digest(recipe)}"
    record = {
        "schema": SCHEMA,
        "holdfast": __version__,
        "code": code,
        "study": settings(study),
        "arms": [study.arm_name(arm) for arm in study.arms],
        "data": {arm.task.label: arm.task.load().record() for arm in study.arms},
    }
    # What a user's function builds may come from a file that no digest of code sees.
    built = {arm.host.label: arm.host for arm in study.arms if hasattr(arm.host, "record")}
    if built:
        record["models"] = {label: host.record() for label, host in built.items()}
    return {"hash": digest(record), **record}


def folder_of(study: Study, out: Path | None = None, recipe: Path | None = None) -> tuple[RunFolder, dict[str, Any]]:
    """The run folder of a study, named after it and a hash of all that decides its results; and its record.

    Other settings or other code make another folder, so that nothing measured is ever mixed or overwritten.
    """
    record = study_record(study, recipe)
    return RunFolder(runs_root(out) / f"{study.name}-{record['hash'][:8]}"), record


def is_complete(study: Study, folder: RunFolder) -> bool:
    """Whether a run has a verdict by the present rules, and all that it rests on is there."""
    return folder.judged(rules_digest()) and all(folder.complete(folder.key(cell)) for cell in study.plantings())


def default_workers(study: Study) -> int:
    """One a core; one in all for an audit, since trainings of a user's may write to the same files."""
    return 1 if study.graded else cores()


def default_engine(study: Study, workers: int | None = None) -> Engine:
    """One process a core on the CPU; this process on a GPU, or where processes cannot be forked."""
    workers = workers or default_workers(study)
    on_cpu = all(arm.device == "cpu" for arm in study.arms)
    return Processes(workers) if workers > 1 and on_cpu and hasattr(os, "fork") else Here()


def run_study(
    study: Study,
    *,
    out: Path | None = None,
    recipe: Path | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
) -> RunFolder:
    """Run a study, or go on with it, or find that it is complete; return its folder.

    Args:
        study: what to plant, press and judge.
        out: folder for runs; default $HOLDFAST_RUNS, else ./runs.
        recipe: the file that the study comes from, whose code is part of the cells' hashes.
        workers: processes; default one a core.
        watch: is told how far it is; default nobody.

    Raises:
        HoldfastError: what went wrong and how to mend it. What was measured is kept.
    """
    from holdfast.run import run

    folder, record = folder_of(study, out, recipe)
    try:
        with folder.writing():
            folder.begin(record, environment(recipe))
            if not is_complete(study, folder):
                with folder.timed():
                    run(study, folder, default_engine(study, workers), watch or Silent())
    except (OSError, SafetensorError) as error:
        raise _disk(error, folder) from error
    return folder


def open_run(name: str, out: Path | None = None) -> RunFolder:
    """A run that is there, by name, path or the start of its name. Reads files and imports no torch."""
    return find_run(name, runs_root(out))


def _disk(error: Exception, folder: RunFolder) -> HoldfastError:
    why = getattr(error, "strerror", None) or error
    return HoldfastError(
        f"Writing to {folder.path} failed: {why}. What was measured before is kept. "
        f"Free some space or mend the permissions, and run again: it goes on from there."
    )
