"""A training by steps that is no `Fit`: looks, and exact resume."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from torch import Tensor

from holdfast.pressures.base import Checkpoint
from holdfast.training.draws import Draws
from holdfast.training.gradients import gradients
from holdfast.training.nets import Nets
from holdfast.training.site import Site


class Stepped(ABC):
    """A batch of nets on their way. All that a step depends on is its number, the streams and `state`."""

    def __init__(self, site: Site, nets: Nets, batch: int) -> None:
        self.site, self.nets = site, nets
        self.draws = Draws(site, [()] * nets.k, batch)

    @abstractmethod
    def step(self, now: int) -> None:
        """One step of every net, after `now` of them."""

    @property
    @abstractmethod
    def state(self) -> Mapping[str, Tensor]:
        """What a killed run needs in order to go on, by name: tensors that are changed in place."""

    def show(self) -> None:  # noqa: B027
        """Make `nets` what a look is to see, where steps change something else."""

    def press(self, looks: Sequence[int]) -> Iterator[Checkpoint]:
        """Stop at every step of `looks` (ascending), as `Fit.press` does."""
        nets, saved = self.nets, self.site.slot.restore(self.state)
        step = saved or 0
        if saved is not None:
            self.show()
        gradient = lambda: gradients(nets, *self.draws.probe()[:2])
        if step == 0 and looks[0] == 0:
            yield Checkpoint(0, nets, nets, gradient)
        for look in looks:
            if look <= step:
                continue
            previous = nets.copy()
            for now in range(step, look):
                self.step(now)
            self.show()
            self.site.tick((look - step) * nets.k)
            shown = partial(self.draws.versions, step, look)
            step = look
            yield Checkpoint(look, nets, previous, gradient, shown=shown)
            self.site.slot.save(step, self.state)
