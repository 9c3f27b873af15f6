"""`holdfast claim`."""

from dataclasses import dataclass
from typing import Literal

import tyro

from holdfast.cli.run import Running
from holdfast.errors import nearest


@dataclass(frozen=True, kw_only=True)
class Claim(Running):
    """Settle one claim of the debate: run its study, judge its parts, print verdict, controls and anchors."""

    name: tyro.conf.Positional[str]
    """spare, lottery-ticket, distillation, every-weight, encrypted-chip, shared-neurons, rare-trigger, one-bit-neurons,
    any-algorithm or outside-main."""
    size: Literal["quick", "full"] = "quick"
    """quick: a minute to a quarter of an hour; full: up to an hour or two. The estimate is printed first."""

    def run(self) -> int:
        """Run it, or go on with it."""
        from holdfast.claims import CLAIMS, settling

        if self.name not in CLAIMS:
            raise nearest(self.name, CLAIMS, what="claim")
        claim = CLAIMS[self.name]
        study = claim.study(self.size)
        return self.go(study, settle=settling(claim, self.size, study))
