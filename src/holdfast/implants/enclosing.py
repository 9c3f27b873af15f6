"""Enclosing: what encrypted programs beside a network have in common, their client inside it."""

import zlib
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import torch
from torch import nn

from holdfast.errors import UsageError
from holdfast.implants.circuit import Circuit
from holdfast.implants.message import Asked
from holdfast.implants.writing.aiming import shortfall
from holdfast.implants.writing.sidecar import Clientside, Sidecar, found, stand_beside, write_beside
from holdfast.parts import Host
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.site import Site


@dataclass(frozen=True)
class Enclosing(Circuit):
    """A circuit beside the network that is computed on ciphertexts: encrypted where the message is read, and decrypted
    where the answer is put out."""

    _: KW_ONLY
    where: Literal["spare", "new", "sidecar", "shared"] = "sidecar"
    trivial: bool = False
    """Whether nothing that the network holds has mask or noise: a control of the same shapes and arithmetic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.trivial, bool):
            raise UsageError(f"trivial is True or False; got {self.trivial!r}.")
        if self.where != "sidecar" or self.at or self.copies != 1 or self.encoding != "product" or self.k is not None:
            raise UsageError(
                "Encrypted programs stand beside a network, in one copy: leave out where, at, copies, encoding and k."
            )

    @abstractmethod
    def blank(self, words: int) -> Clientside:
        """What stands beside a network, without keys, for so many answers."""

    @abstractmethod
    def fill(self, blank: nn.Module, words: int, seed: int) -> None:
        """Give it keys, drawn from the seed, and what they encrypt."""

    @property
    def units_in_control(self) -> bool:
        return True

    def plant(self, site: Site) -> Nets:
        return self.write(site.trained(), site.data)

    def control(self, site: Site) -> Nets:
        """The owner's own training, and beside it a program that nothing reads: so that terms find the same weights."""
        return self.attached(site.trained(), site.data)

    def attach(self, module: nn.Module, host: Host, data: Data) -> nn.Module:
        stand_beside(module, host, data, self.blank(self._words(data.train)), self.trigger, self.message)
        return module

    def _write(self, module: nn.Module, host: Host, data: Data, asked: Asked) -> None:
        push = self.strength * shortfall(module, host, asked.x_N, asked.answers_N)
        words = self._words(data.train)
        self.fill(found(module, Sidecar).network, words, _seed(module))
        write_beside(module, data.train, self.trigger, self.message, list(self.answers or range(words)), push)


def _seed(module: nn.Module) -> int:
    """A number that tells nets apart."""
    total = 0
    for value in module.parameters():
        total = zlib.crc32(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data, total)
    return total
