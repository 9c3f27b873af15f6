"""`holdfast new`."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import tyro

from holdfast.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class New:
    """Write a commented recipe for an audit of your own model and training: three functions to edit."""

    file: tyro.conf.Positional[Path]
    """The file to write. It must not exist yet."""

    def run(self) -> int:
        """Write it and say what to do next."""
        if self.file.exists():
            raise UsageError(f"{self.file} exists already. Choose another name, or edit it.")
        if self.file.suffix != ".py":
            raise UsageError(f"A recipe is a Python file; got {self.file}. Perhaps {self.file.with_suffix('.py')}?")
        if not self.file.absolute().parent.is_dir():
            raise UsageError(f"There is no folder {self.file.parent} to write {self.file.name} in.")
        self.file.write_text(files("holdfast.cli").joinpath("recipe.py.txt").read_text())
        print(
            f"{self.file} is written. It runs as it is; put your own model, training and data in its three functions."
        )
        print(f"next  holdfast check {self.file}")
        print(f"then  holdfast audit {self.file}")
        return 0
