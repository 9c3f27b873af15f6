"""What hosts, tasks, implants, pressures, probes and samples must offer. Nothing is subclassed. Imports no torch."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.pressures.base import Checkpoint
    from holdfast.probes.base import Look
    from holdfast.tasks.base import Data, Split
    from holdfast.training.nets import Nets
    from holdfast.training.site import Site
    from holdfast.training.slot import Slot
    from holdfast.training.streams import Streams


@runtime_checkable
class Host(Protocol):
    """A network's architecture. A host may also have `forward(params, x_KB...)`, its batched forward pass."""

    @property
    def label(self) -> str: ...

    def build(self) -> "nn.Module":
        """One network, initialised from PyTorch's global generator."""


@runtime_checkable
class Task(Protocol):
    """Data with a loss."""

    @property
    def label(self) -> str: ...

    def load(self) -> "Data":
        """Training, validation and test data, always the same."""


@runtime_checkable
class Implant(Protocol):
    """The computation that is planted."""

    @property
    def label(self) -> str: ...

    @property
    def costs_at_most(self) -> float | None:
        """Percentage points of clean accuracy that planting may cost; None where the implant makes no such promise."""

    @property
    def has_control(self) -> bool:
        """Whether a never-planted net can be made."""

    def plant(self, site: "Site") -> "Nets":
        """The nets with the implant in them, one for each seed of the site."""

    def control(self, site: "Site") -> "Nets":
        """The same nets as they would be had nothing been planted."""

    def sources(self, split: "Split") -> Mapping[str, tuple["Tensor", "Tensor"]]:
        """Other versions of the same examples, by name, that pressures may mix in: `triggered`, `poisoned`."""

    def presence(self, nets: "Nets", split: "Split") -> Mapping[str, "Tensor"]:
        """Measures by name, each with one entry a net; `presence` (0 nothing, 1 perfect) is one of them."""

    def weights(self, nets: "Nets", split: "Split") -> Mapping[str, "Tensor"]:
        """Which weights carry the implant: boolean masks in the nets' shapes."""


def parts_of(implant: Implant) -> Mapping[str, Implant]:
    """What an implant is made of, by the ending that its measures carry: `""` for itself, where it is one thing."""
    parts: Mapping[str, Implant] = getattr(implant, "parts", {"": implant})
    return parts


@runtime_checkable
class Pressure(Protocol):
    """What training does to a net."""

    @property
    def label(self) -> str: ...

    @property
    def steps(self) -> int | None:
        """The dose: optimiser steps. None where that is not known before it is run."""

    def batch_key(self) -> Hashable:
        """Pressures with equal keys can act on one batch of nets together."""

    @classmethod
    def press(cls, each: Sequence[Self], site: "Site", nets: "Nets", looks: Sequence[int]) -> Iterator["Checkpoint"]:
        """Train nets[k] under each[k], and stop at every step of `looks`.

        A pressure that owns its loop and can't stop in it shows its looks through `site.see`, and yields the first and
        the last. If it can't be resumed in the middle, it says so with `resumes = False`.
        """


@runtime_checkable
class Probe(Protocol):
    """One measurement at a checkpoint."""

    def __call__(self, look: "Look") -> Mapping[str, "Tensor"]:
        """Measures by name, each with one entry a net."""


@runtime_checkable
class Sample(Protocol):
    """Something that is measured and not trained: random nets, an enumeration, a circuit under noise."""

    @property
    def label(self) -> str: ...

    def measure(self, streams: "Streams") -> Mapping[str, float]:
        """Measures by name, of one seed: a function of the sample's fields and of the streams, and of nothing else."""


@runtime_checkable
class TrainedSample(Sample, Protocol):
    """A sample that trains nets of its own, of several seeds at once: a pruning ladder, a chain of students.

    One that takes other than its host's time for a step also says `seconds`, of one seed in a full batch.
    """

    @property
    def steps(self) -> int:
        """Optimiser steps of one seed, summed over its nets."""

    @property
    def together(self) -> int:
        """How many seeds train in one batch. What is measured of a seed doesn't depend on it."""

    @property
    def host(self) -> Host: ...

    @property
    def task(self) -> Task: ...

    @property
    def batch(self) -> int:
        """Examples a step; with host and task they tell how long it will take."""

    def shortened(self) -> Self:
        """The same with next to no steps, for `holdfast check`."""

    def measure_together(
        self, each: Sequence["Streams"], slot: "Slot", tick: Callable[[int], None]
    ) -> Sequence[Mapping[str, float]]:
        """The measures of several seeds. `slot` is for what a killed run goes on from, `tick` is told net-steps."""


def expect(field: str, value: object, protocol: type) -> None:
    """Refuse what cannot be such a part, before anything is run.

    Raises:
        UsageError: it lacks what the protocol asks for, or is the class in place of an object of it.
    """
    if isinstance(value, type):
        raise UsageError(f"{field} expects an object; got the class {value.__name__}. Write {value.__name__}(...).")
    if not isinstance(value, protocol):
        raise UsageError(f"{field} expects something with what holdfast.parts.{protocol.__name__} asks; got {value!r}.")
