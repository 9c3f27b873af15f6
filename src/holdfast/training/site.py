"""Where a batch of nets is planted and pressed: one host, one task, a seed for each net."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from holdfast.errors import HoldfastError, UsageError
from holdfast.parts import Host, Implant, Pressure
from holdfast.tasks.base import Data
from holdfast.training.chance import at_chance, untrained
from holdfast.training.misfit import refuse_misfit
from holdfast.training.nets import Nets
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

if TYPE_CHECKING:
    from holdfast.pressures.base import Checkpoint
    from holdfast.pressures.fit import Fit
    from holdfast.pressures.terms import Term


def _unseen(point: "Checkpoint") -> None:
    """A look that nobody takes."""


def _silent(net_steps: int) -> None:
    """Progress that nobody watches."""


@dataclass
class Site:
    """What planting and pressing need to know about a batch of nets, and the training of its hosts."""

    host: Host
    data: Data
    streams: tuple[Streams, ...]
    """One a net."""
    implant: Implant | None = None
    """None: nothing is planted."""
    training: "Fit | None" = None
    """How the host comes to be."""
    warm_up: Pressure | None = None
    """What a host that has learned nothing goes through first."""
    backend: str = "batched"
    device: str = "cpu"
    phase: str = "training"
    """Name under which this phase draws its batches."""
    slot: Slot = field(default_factory=Slot)
    tick: Callable[[int], None] = _silent
    """Told the net-steps that were done since it was last called."""
    see: Callable[["Checkpoint"], None] = _unseen
    """Takes a look from inside a training that somebody else's loop runs; other pressures yield theirs."""
    warmed_up: bool = False
    """Whether the hosts had learned nothing, and have gone through the warm-up."""
    _trained: dict[tuple["Term", ...], Nets] = field(default_factory=dict)
    _started: Nets | None = None

    def __post_init__(self) -> None:
        """Refuse a host that cannot read the data, before anything is trained.

        Raises:
            UsageError: wrong inputs, tokens outside the vocabulary, or outputs that don't answer the targets.
        """
        if not getattr(self.host, "alone", False):  # those are built once by who plants in them: they may be gigabytes
            refuse_misfit(self.host, self.data)

    def at(self, phase: str, see: Callable[["Checkpoint"], None] = _unseen) -> "Site":
        """The same place in another phase."""
        return replace(self, phase=phase, slot=self.slot.phase(phase), see=see, _trained={}, _started=None)

    def started(self) -> Nets:
        """Hosts as their owner begins with them: initialised, or what `build` returns; warmed up if untrained.

        Raises:
            HoldfastError: still at chance after the warm-up.
        """
        if self._started is None:
            nets = Nets.initialised(self.host, self.streams, backend=self.backend, device=self.device)
            outputs = nets.logits(self.data.train.x[:2]).shape[-1]
            if outputs < self.data.classes:
                raise UsageError(
                    f"{self.host.label} gives {outputs} logits, but targets go up to {self.data.classes - 1}. Give the "
                    f"model {self.data.classes} outputs, or leave out what it can't answer."
                )
            if self.warm_up is not None and untrained(self.host, self.data.validation, self.device):
                for _ in type(self.warm_up).press([self.warm_up] * nets.k, self.at("warm-up"), nets, ()):
                    pass
                self.warmed_up = True
                if at_chance(nets, self.data.validation):
                    raise HoldfastError(
                        f"{self.host.label} is at chance, also after a warm-up by {self.warm_up.label}, so nothing "
                        f"can be planted in what it does. Give it a model that has learned the task, or train longer."
                    )
            self._started = nets
        return self._started.copy()

    def trained(self, *terms: "Term") -> Nets:
        """Hosts trained from initialisation as their owner would, with these terms added to the owner's.

        Equal calls train once: the never-planted control and a handcrafted implant start from the same net.

        Raises:
            UsageError: the experiment says nothing on how its host is trained.
        """
        if self.training is None:
            what = self.implant.label if self.implant else self.host.label
            raise UsageError(f"{what} needs `training=`: say how the host comes to be trained.")
        if terms not in self._trained:
            owner = self.training.with_terms(*terms)
            phase = replace(self.at("training"), slot=self.slot.phase(f"training{len(self._trained)}"))
            nets = self.started()
            looks = sorted({*range(0, owner.steps, 200), owner.steps})
            for _ in owner.press([owner] * nets.k, phase, nets, looks):
                pass
            self._trained[terms] = nets
        return self._trained[terms].copy()

    def loaded(self, path: Path) -> Nets:
        """Nets that all start from the weights in one safetensors file.

        Raises:
            HoldfastError: no such file, not safetensors, or weights of another architecture.
        """
        if path.suffix in {".pt", ".pth", ".bin", ".pkl", ".pickle"}:
            raise HoldfastError(
                f"{path.name} looks like a pickle, and loading one runs whatever code is in it. Convert it where you "
                f"trust it: safetensors.torch.save_file(torch.load(path, weights_only=True), 'model.safetensors')."
            )
        if not path.exists():
            raise HoldfastError(f"No checkpoint at {path}. Expected a safetensors file with the weights of the host.")
        try:
            state = load_file(path, device=self.device)
        except SafetensorError as error:
            raise HoldfastError(f"{path.name} is not a safetensors file ({error}).") from None
        with torch.random.fork_rng(devices=[]):
            nets = Nets.of(self.host, [self.host.build()] * len(self.streams), backend=self.backend, device=self.device)
        for k in range(nets.k):
            nets.load(k, state)
        return nets
