"""`holdfast run`."""

import json
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from holdfast.cli.aside import aside
from holdfast.cli.show import answer, print_run
from holdfast.errors import UsageError
from holdfast.store import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.store import RunFolder
    from holdfast.study import Study


@dataclass(frozen=True, kw_only=True)
class Running:
    """What the commands that run a study have in common."""

    out: Path | None = None
    """Folder for runs. Default: $HOLDFAST_RUNS, else ./runs."""
    workers: int | None = None
    """Processes. Default: one a core; of an audit one, as trainings may write to the same files."""
    json: bool = False
    """Print one JSON object on standard output; progress goes to standard error."""

    def go(
        self, study: "Study", recipe: Path | None = None, settle: "Callable[[RunFolder], None] | None" = None
    ) -> int:
        """Run the study (or go on with it), print its verdicts, write its report.

        Args:
            study: what to run.
            recipe: the file that it comes from.
            settle: what else is made of the run before it is told.
        """
        from holdfast.cli.progress import progress
        from holdfast.estimate import estimate
        from holdfast.report import write_report
        from holdfast.sessions import default_workers, folder_of, is_complete, run_study

        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers must be 1 or more; got {self.workers}.")
        quiet = aside if self.json else nullcontext  # a user's functions may print
        with quiet():
            folder, _ = folder_of(study, self.out, recipe)
        complete = is_complete(study, folder)
        if complete:
            _tell(f"{shown(folder.path)} is complete: nothing to do.")
        else:
            workers = self.workers or default_workers(study)
            again = "Going on with" if (folder.path / "study.json").exists() else "Running"
            cost = estimate(study, workers)
            _tell(f"{again} {study.name}: {cost}. Ctrl-C is safe: the same command goes on.")
            with progress(cost.paces) as watch, quiet():
                run_study(study, out=self.out, recipe=recipe, workers=self.workers, watch=watch)
        if settle is not None:
            settle(folder)
        report = folder.path / "report.html"
        if not complete or settle is not None or not report.exists():
            write_report(folder)
        if self.json:
            print(json.dumps(answer(folder)))
        else:
            print_run(folder)
            print(f"report  {shown(report)}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Seeded(Running):
    """Commands that may run a study with another number of seeds."""

    seeds: int | None = None
    """Judged seeds of every arm, in place of the recipe's."""

    def with_seeds(self, study: "Study") -> "Study":
        """The study, with as many seeds as were asked for."""
        return study if self.seeds is None else study.with_seeds(self.seeds)


@dataclass(frozen=True, kw_only=True)
class Run(Seeded):
    """Run the study of a recipe file, or go on with it."""

    recipe: tyro.conf.Positional[str]
    """FILE, or FILE::name where the file has several recipes."""

    def run(self) -> int:
        """Load the recipe and run it."""
        from holdfast.recipes import load_recipe

        study, path = load_recipe(self.recipe)
        return self.go(self.with_seeds(study), path)


@dataclass(frozen=True, kw_only=True)
class Audit(Run):
    """Plant canaries in your model, run your training on it, say which survive. For recipes that return an Audit."""

    separate: bool = False
    """Plant each canary alone as well, to show that they don't disturb each other: two more trainings for each."""

    def run(self) -> int:
        """Load the recipe and run it."""
        from holdfast.recipes import load_recipe

        study, path = load_recipe(self.recipe, separate=self.separate)
        if not study.graded:
            raise UsageError(f"{self.recipe} is no audit. Run it with: holdfast run {self.recipe}")
        return self.go(self.with_seeds(study), path)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
