"""`holdfast extend`."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from holdfast.cli.run import Running
from holdfast.errors import HoldfastError
from holdfast.store import RunFolder, find_run, runs_root, shown, study_of


@dataclass(frozen=True, kw_only=True)
class Extend(Running):
    """Add seeds to a run that is complete. It becomes a new run, counted as one more look at the same question."""

    name: tyro.conf.Positional[str]
    """Name of a run, the start of one, or its folder."""
    seeds: int
    """How many to add to every arm."""
    recipe: str | None = None
    """FILE or FILE::name that the run was made from. Default: the one that its command named."""

    def run(self) -> int:
        """Take over what is measured, run what is new, judge all.

        A short name is that of the newest complete run, so that a killed extension goes on when it is typed again.
        """
        from holdfast.claims import claim_of, settling
        from holdfast.extending import extended
        from holdfast.recipes import load_recipe
        from holdfast.stats import look_level, part_level

        def done(run: RunFolder) -> bool:
            """Judged, and of a claim also by the claim's rule: what was killed between the two is not."""
            ends = ["verdict.json", *(["claim.json"] if claim_of(study_of(run)) else [])]
            return all((run.path / end).exists() for end in ends)

        folder = find_run(self.name, runs_root(self.out), rather=done)
        claim = claim_of(study_of(folder))
        if claim is not None:
            one, size = claim
            study = extended(one.study(size), folder, self.seeds, None, self.out)
            self._say(folder, study.look, part_level(study.look, len(one.parts)))
            return self.go(study, settle=settling(one, size, study))
        study, recipe = load_recipe(self.recipe or _recipe(folder))
        study = extended(study, folder, self.seeds, recipe, self.out)
        self._say(folder, study.look, look_level(study.look))
        return self.go(study, recipe)

    def _say(self, folder: RunFolder, look: int, level: float) -> None:
        print(
            f"Taking over {shown(folder.path)}. This is look {look}: intervals are at a level of {level:.5g} now.",
            file=sys.stderr,
        )


def _recipe(folder: RunFolder) -> str:
    """The recipe that a run was made from.

    Raises:
        HoldfastError: it is not known, or not there any more.
    """
    words = [str(word) for word in folder.environment()["command"][1:]]  # the first is the program itself
    found = next((word for word in words if word.partition("::")[0].endswith(".py")), None)
    if found is None or not Path(found.partition("::")[0]).exists():
        raise HoldfastError(
            f"The recipe of {shown(folder.path)} is not known{f' ({found} is not here)' if found else ''}. "
            f"Name it: --recipe FILE."
        )
    return found
