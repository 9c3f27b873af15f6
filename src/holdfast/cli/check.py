"""`holdfast check`."""

import json
from contextlib import nullcontext
from dataclasses import dataclass

import tyro

from holdfast.cli.aside import aside


@dataclass(frozen=True, kw_only=True)
class Check:
    """Try every promise of a recipe without pressing anything: planting, exact save and resume, time, seeds."""

    recipe: tyro.conf.Positional[str]
    """FILE, or FILE::name where the file has several recipes."""
    seeds: int | None = None
    """Judged seeds of every arm, in place of the recipe's."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Print one line a promise. Exit status 1 if one is not kept."""
        from holdfast.checks import check
        from holdfast.recipes import load_recipe
        from holdfast.sessions import default_workers

        with aside() if self.json else nullcontext():
            study, _ = load_recipe(self.recipe)
        if self.seeds is not None:
            study = study.with_seeds(self.seeds)
        kept, promises = True, []
        found = check(study, default_workers(study))
        if self.json:
            with aside():  # a user's training may print
                found = iter(list(found))
        for promise in found:
            kept &= promise.kept is not False
            promises.append({"about": promise.about, "kept": promise.kept, "said": promise.said})
            if not self.json:
                word = {True: "pass", False: "FIX ", None: "    "}[promise.kept]
                print(f"{word}  {promise.about}: {promise.said}", flush=True)
        if self.json:
            print(json.dumps({"study": study.name, "kept": kept, "promises": promises}))
        return 0 if kept else 1
