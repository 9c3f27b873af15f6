"""`holdfast claim`."""

import sys
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from holdfast.errors import UsageError, nearest
from holdfast.store import shown

if TYPE_CHECKING:
    from holdfast.claims import Claim as AnyClaim
    from holdfast.claims import Size
    from holdfast.experiment import Study


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Settle one claim of the debate: run its study, judge its parts, print verdict, controls and anchors."""

    name: tyro.conf.Positional[str]
    """every-weight or rare-trigger."""
    size: Literal["quick", "full"] = "quick"
    """quick: about a minute; full: up to an hour."""
    out: Path | None = None
    """Folder for runs. Default: $HOLDFAST_RUNS, else ./runs."""
    workers: int | None = None
    """Processes. Default: one a core."""
    json: bool = False
    """Print one JSON object on standard output; progress goes to standard error."""

    def run(self) -> int:
        """Run it, or go on with it."""
        from holdfast.claims import CLAIMS

        if self.name not in CLAIMS:
            raise nearest(self.name, CLAIMS, what="claim")
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers must be 1 or more; got {self.workers}.")
        claim = CLAIMS[self.name]
        return settle(claim, self.size, claim.study(self.size), self.out, self.workers, json=self.json)


def settle(
    claim: "AnyClaim", size: "Size", study: "Study", out: Path | None, workers: int | None, *, json: bool
) -> int:
    """Run a claim's study, say what came out, and write its report."""
    from holdfast.claims import run_claim
    from holdfast.cli.progress import progress
    from holdfast.cli.show import claim_answer, print_claim
    from holdfast.estimate import estimate
    from holdfast.report import write_report
    from holdfast.sessions import default_workers

    cost = estimate(study, workers or default_workers(study))
    print(f"{claim.name}, {size}: {cost}. Ctrl-C is safe: the same command goes on.", file=sys.stderr)
    with progress() as watch:
        folder = run_claim(claim, size, study=study, out=out, workers=workers, watch=watch)
    report = write_report(folder)
    if json:
        print(dumps(claim_answer(folder)))
    else:
        print_claim(folder)
        print(f"report  {shown(report)}")
    return 0
