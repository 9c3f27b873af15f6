"""More seeds for a run that was looked at already: a new run, which takes over what the old one measured."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError, UsageError
from holdfast.sessions import folder_of
from holdfast.store import RunFolder
from holdfast.store.measures import read
from holdfast.study import Study


def as_it_was(study: Study, folder: RunFolder) -> Study:
    """A study as it comes from its recipe, with the seeds and the look that a run of it has."""
    stored = folder.study()["study"]
    held: dict[str, Any] = {}
    for field in ("arms", "censuses"):
        now, then = getattr(study, field), stored.get(field, [])
        if len(now) != len(then):
            raise _changed(folder)
        held[field] = tuple(replace(one, seeds=its["seeds"]) for one, its in zip(now, then, strict=True))
    return replace(study, **held, look=stored.get("look", 1))


def extended(study: Study, folder: RunFolder, seeds: int, recipe: Path | None, out: Path | None) -> Study:
    """The study with more seeds everywhere, counted as one more look; its folder holds the cells that are done.

    Args:
        study: as it comes from its recipe or claim.
        folder: a complete run of it.
        seeds: more of them, for each arm and census.
        recipe: the file that the study comes from.
        out: folder for runs.

    Raises:
        UsageError: no seeds to add, or a training of the user's that has no cells to share.
        HoldfastError: the run is not complete, is of other settings or other code than the study, or was extended by
            another number of seeds already.
        DamagedRun: a file of measures that is not what was written.
    """
    if seeds < 1:
        raise UsageError(f"--seeds is how many to add, 1 or more; got {seeds}.")
    before = as_it_was(study, folder)
    if folder_of(before, out, recipe)[1]["hash"] != folder.study()["hash"]:
        raise _changed(folder)
    if folder.verdict() is None:
        raise HoldfastError(f"{folder.path} is not complete. Let it end first: the command that started it goes on.")
    more = replace(before.with_more(seeds), look=before.look + 1)
    new, _ = folder_of(more, out, recipe)
    earlier = folder.extension()
    if earlier not in (None, new.name):
        raise HoldfastError(
            f"{folder.path} was extended already, into {earlier}: those seeds have been looked at. Go on from there: "
            f"holdfast extend {earlier} --seeds N."
        )
    folder.note_extension(new.name)
    with new.writing():
        for file in sorted((folder.path / "measures").iterdir()):
            read(file)  # a damaged one is named here, and not after all is pressed
        for room in ("measures", "nets"):
            (new.path / room).mkdir(parents=True, exist_ok=True)
            for file in sorted((folder.path / room).iterdir()):
                if not (new.path / room / file.name).exists():
                    _take_over(file, new.path / room / file.name)
    return more


def _take_over(old: Path, new: Path) -> None:
    """A second name for a finished file, which nobody writes to any more; a copy where names can't be shared."""
    link: Callable[[Path, Path], None] = os.link
    try:
        link(old, new)
    except OSError:
        half = new.with_name(f".tmp{new.name}")
        shutil.copy2(old, half)
        os.replace(half, new)


def _changed(folder: RunFolder) -> HoldfastError:
    return HoldfastError(
        f"{folder.path} was made by other code, or from other settings, than there are now, so its seeds and new ones "
        f"can't be judged together. Run the study anew with as many seeds as you want."
    )
