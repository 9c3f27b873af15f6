"""One file that holds where training stands, so that a killed run goes on from there, bit for bit."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True)
class Slot:
    """A place for the state of one batch of nets in mid-run.

    `save` is atomic (a new file, then a rename), so a kill leaves the old state or the new one, never half of one.
    A slot without a path keeps nothing.
    """

    path: Path | None = None

    def phase(self, name: str) -> "Slot":
        """The slot of one phase of the same batch (the pressure, then the re-activation)."""
        if self.path is None:
            return self
        return Slot(self.path.with_name(f"{self.path.name.removesuffix('.safetensors')}-{name}.safetensors"))

    def load(self) -> tuple[int, dict[str, Tensor]] | None:
        """(step, tensors), or None where there is nothing to go on from.

        An unreadable file counts as nothing: the batch is then trained again from its start, to the same bits.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                return int(file.metadata()["step"]), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError):
            return None

    def save(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Replace what was there."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            save_file({k: v.detach().contiguous() for k, v in tensors.items()}, fresh, metadata={"step": str(step)})
            os.replace(fresh, self.path)
        finally:
            fresh.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the states of every phase of this batch: it is done."""
        if self.path is not None and self.path.parent.exists():
            for old in self.path.parent.glob(f"{self.path.name}*"):
                old.unlink(missing_ok=True)
