"""`holdfast report`."""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from holdfast.store import find_run, runs_root, shown


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write the HTML report of a run, and its figures as SVG and PDF; print its path."""

    name: tyro.conf.Positional[str]
    """Name of a run (`holdfast ls` lists them), the start of one, or its folder."""
    out: Path | None = None
    """Folder of runs. Default: $HOLDFAST_RUNS, else ./runs."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Write it."""
        from holdfast.report import write_report

        folder = find_run(self.name, runs_root(self.out))
        path = write_report(folder)
        print(json.dumps({"run": folder.name, "report": str(path)}) if self.json else shown(path))
        return 0
