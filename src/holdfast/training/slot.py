"""One file that holds where training stands, so that a killed run goes on from there, bit for bit."""

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holdfast.errors import HoldfastError


def crc(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 over tensors in the order of their names: tells a flipped bit, and costs little beside training."""
    total = 0
    for name in sorted(tensors):
        raw = tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data
        total = zlib.crc32(raw, zlib.crc32(name.encode(), total))
    return f"{total:08x}"


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

    def step(self) -> int | None:
        """The step that is saved; None where there is nothing to go on from."""
        saved = self.load()
        return None if saved is None else saved[0]

    def load(self) -> tuple[int, dict[str, Tensor]] | None:
        """(step, tensors), or None where there is nothing to go on from.

        A file that is unreadable, or not what was written (its checksum tells), counts as nothing: the batch is then
        trained again from its start, to the same bits.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                step, checksum = file.metadata()["state"].split(" ")
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError):
            return None
        return (int(step), tensors) if checksum == crc(tensors) else None

    def restore(self, state: Mapping[str, Tensor]) -> int | None:
        """Put what is saved into these tensors, in place; the step, or None where there is nothing to go on from.

        Raises:
            HoldfastError: what is saved has other names or shapes.
        """
        saved = self.load()
        if saved is None:
            return None
        step, tensors = saved
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in tensors.items()}:
            raise HoldfastError(f"{self.path} is not a state of this batch. Delete it and run again.")
        for key, value in state.items():
            value.copy_(tensors[key])
        return step

    def save(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Replace what was there."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(f".{os.getpid()}.tmp")
        try:
            held = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
            save_file(held, fresh, metadata={"state": f"{step} {crc(held)}"})
            os.replace(fresh, self.path)
        finally:
            fresh.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the states of every phase of this batch: it is done."""
        if self.path is not None and self.path.parent.exists():
            for old in self.path.parent.glob(f"{self.path.name}*"):
                old.unlink(missing_ok=True)
