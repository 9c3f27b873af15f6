"""`holdfast ls`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.store import RunFolder, all_runs, runs_root


@dataclass(frozen=True, kw_only=True)
class Ls:
    """List the runs, newest first."""

    out: Path | None = None
    """Folder of runs. Default: $HOLDFAST_RUNS, else ./runs."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Read and print."""
        root = runs_root(self.out)
        rows = [_row(folder) for folder in all_runs(root)]
        if self.json:
            print(json.dumps({"runs": rows}))
        elif not rows:
            print(f"No runs in {root}. Start with: holdfast demo")
        for row in () if self.json else rows:
            print(f"{row['run']:<28} {row['started'] or '?':<26} {row['status']}")
        return 0


def _row(folder: RunFolder) -> dict[str, Any]:
    try:
        folder.study()
        verdict = folder.verdict()
        started = folder.environment().get("started")
    except HoldfastError as error:
        return {"run": folder.name, "started": None, "status": f"unreadable: {error}", "arms": {}}
    arms = {arm["arm"]: arm["label"] for arm in verdict["arms"]} if verdict else {}
    labels = list(arms.values())
    counts = ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))
    measured = f"{len(verdict['censuses'])} measured" if verdict else "not complete"
    return {"run": folder.name, "started": started, "status": counts or measured, "arms": arms}
