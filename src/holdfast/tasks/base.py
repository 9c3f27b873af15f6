"""What a task gives: three fixed sets of examples."""

import hashlib
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Examples with their classes, x_N... (float32) and y_N (int64); or tokens with the next ones, x_NT and y_NT."""

    x: Tensor
    y: Tensor
    classes: int = 0
    """How many answers there are in all the data, where these examples need not show every one; 0: as many as here."""

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: str) -> "Split":
        """The same on another device."""
        return Split(self.x.to(device), self.y.to(device), self.classes)


@dataclass(frozen=True)
class Data:
    """Training, validation and test data.

    Choices (of attackers, units, stopping) see `train` and `validation`; what is judged is measured on `test`.
    """

    train: Split
    validation: Split
    test: Split
    classes: int

    def split(self, name: str) -> Split:
        """`train`, `validation` or `test`."""
        part: Split = getattr(self, name)
        return part

    def to(self, device: str) -> "Data":
        """The same on another device."""
        return Data(self.train.to(device), self.validation.to(device), self.test.to(device), self.classes)

    def record(self) -> dict[str, object]:
        """Sizes and SHA-256 of each split, to be stored with a run."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {
            name: {
                "examples": len(part),
                "sha256": _sha256(part.x, part.y),
            }
            for name, part in parts.items()
        }


def _sha256(*tensors: Tensor) -> str:
    """SHA-256 of the bytes of tensors, one after the other, without a copy of them."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(tensor.cpu().contiguous().view(-1).numpy().data)
    return found.hexdigest()
