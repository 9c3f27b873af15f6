"""A chain of students, each the teacher of the next."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from holdfast.errors import UsageError, whole
from holdfast.pressures.base import Checkpoint
from holdfast.pressures.distil import Distil
from holdfast.pressures.fit import Fit
from holdfast.pressures.wrapping import Wrapping
from holdfast.training.nets import Nets
from holdfast.training.site import Site


@dataclass(frozen=True, kw_only=True)
class Generations(Wrapping):
    """Distillation again and again: `fit` is run `count` times, and each student is the next one's teacher.

        Generations(fit=Fit(Adam(lr=3e-3), Distil(), steps=600), count=5)

    As in born-again networks (Furlanello et al. 2018, arXiv 1805.04770). The dose is the sum of all steps;
    optimisers begin anew with each generation. The first is `fit` alone, to the bit; each of the others has
    streams of its own (`<phase>/generation<g>`), so that with `init="other"` each student's fresh weights are
    others. A look past the last generation's end is at a student that trains on.

    Misleads: a look at a generation's end is at a finished student, one just after it at a fresh one, which knows
    nothing: read the curve at the ends. What training was shown between looks is not known (`TriggerRate`).
    """

    count: int

    def __post_init__(self) -> None:
        whole("count", self.count)
        if self.count < 1:
            raise UsageError(f"Generations needs a count of 1 or more; got {self.count}.")
        if not isinstance(self.fit, Fit) or not any(isinstance(term, Distil) for term in self.fit.terms):
            raise UsageError(f"Generations needs fit=Fit(..., Distil(...)); got {self.fit!r}.")

    @property
    def steps(self) -> int:
        return self.fit.steps * self.count

    @property
    def what(self) -> str:
        return f"{self.count} generations of {self.fit.steps} steps"

    def batch_key(self) -> Hashable:
        return super().batch_key(), self.fit.steps, self.count

    @classmethod
    def press(cls, each: Sequence[Self], site: Site, nets: Nets, looks: Sequence[int]) -> Iterator[Checkpoint]:
        """Train nets[k] under each[k], in place, and stop at every step of `looks` (ascending).

        Each generation saves where it stands in a slot of its own, and the last look is saved beside them, before
        the generation's own: so what a killed run repeats it doesn't show twice.
        """
        length, fits = each[0].fit.steps, [chain.fit for chain in each]
        students = max(1, min(each[0].count, -(-looks[-1] // length)))
        shown, previous = _shown(site, nets, students)
        for generation in range(students):
            begin, last = generation * length, generation == students - 1
            within = [at - begin for at in looks if at > begin or at == begin == 0]
            if not last:  # to its end, whether that is looked at or not
                within = sorted({*(at for at in within if at < length), length})
            for point in Fit.press(fits, _site(site, generation), nets, within):
                step = begin + point.step
                if step not in looks or step <= shown:
                    continue
                yield replace(point, step=step, previous=previous if step else nets, shown=None)
                previous = nets.copy()
                site.slot.save(step, previous.rows)


def _shown(site: Site, nets: Nets, students: int) -> tuple[int, Nets]:
    """(the last look that is recorded, -1 where there is none; the nets as they were then)."""
    previous = nets.copy()
    shown = site.slot.restore(previous.rows)
    if shown is None:  # what generations saved belongs to looks that are lost
        for generation in range(students):
            _site(site, generation).slot.clear()
        return -1, previous
    return shown, previous


def _site(site: Site, generation: int) -> Site:
    phase = f"{site.phase}/generation{generation}" if generation else site.phase
    return replace(site, phase=phase, slot=site.slot.phase(f"generation{generation}"))
