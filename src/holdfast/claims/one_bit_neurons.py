"""Claim 8: with values kept within [-1, 1] and uniform noise each neuron stores one bit, and nothing is left over."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from holdfast.census import Census
from holdfast.claims import one_bit_program as program
from holdfast.claims.anchors.error_law import observed
from holdfast.claims.base import Anchor, Control, Evidence, Findings, Size
from holdfast.parts import Sample
from holdfast.samples import Capacity, Memory, Tolerance
from holdfast.samples.tolerance import GRID, SIZES
from holdfast.stats import Part, judge_mean
from holdfast.study import Study

MOST = 8
"""The most levels that are tried: 3 bits."""
SOFT = 16.0
"""Steepness of the control whose ramps take a sixteenth of the noise width."""


SEEDS = 120
"""Of what is judged. Where all agree on 1 bit others might hold none or 3, and the interval lies in .9 to 1.1 from 117
seeds on; a share of 1 in all lies above .9 from 57 on."""


@dataclass(frozen=True)
class _Plan:
    memory: Memory
    messages: int
    """For each number of levels."""
    changed: int
    """Messages under which single weights are changed."""
    weights: int
    beside: int
    """Seeds of the controls."""
    trained: int
    """Seeds of the program that is trained."""
    steps: int
    way_round: int
    """Units in each hidden layer that the program does not use."""

    def capacity(self, memory: Memory) -> Sample:
        return Capacity(memory=memory, messages=self.messages, most=MOST)

    def change(self, memory: Memory, levels: int, *, own: bool = False) -> Sample:
        return Tolerance(memory=memory, levels=levels, messages=self.changed, weights=self.weights, own=own)


PLANS: dict[Size, _Plan] = {
    "quick": _Plan(
        Memory(neurons=64, layers=8),
        messages=256,
        changed=1024,
        weights=16,
        beside=12,
        trained=36,
        steps=300,
        way_round=24,
    ),
    "full": _Plan(
        Memory(neurons=128, layers=32),
        messages=4096,
        changed=4096,
        weights=64,
        beside=24,
        trained=40,
        steps=3000,
        way_round=64,
    ),
}
COUNTS = {"two": 2, "three": 3}


class OneBitNeurons:
    """A memory of N neurons and D layers, in which every neuron holds one of L levels (`samples/memory.py`).

    Levels are equally spaced in [-1, 1]; noise U[0, 1] is added to every neuron in every layer, and its mean taken off;
    what is read is clipped and brought back to a level by ramps. A memory is not trained: a seed draws messages,
    permutations and noise. `quick`: 64 neurons, 8 layers; `full`: 128 and 32.

    Parts. `capacity`: log2 of the most levels, of 2 to 8, at which no symbol is recalled wrongly. `immediate`: over
    random single weights, the mean of the smallest change in either direction, in noise widths, at which one is, at two
    levels and at three. `minimum`: of random single weights changed by 1/100, 1/10, 1/2 and 1 noise width in both
    directions, the share that raises the loss; at two levels, which is the one bit that the sentence speaks of.
    `holds`: mean time until half of the program's presence is gone, within the budget, with noise and clipping minus
    without, over the budget. The program is the vote of `weak_vote.py`, the whole net at first, trained on its task as
    in `any-algorithm` (`one_bit_program.py`). With: units give min(relu(z), 1), and z gets noise U[0, 1] whose mean
    is taken off; the program's z is -1/2 or less, or 3/2 or more, so every unit holds one bit and bears this noise
    and no more. Without: the same ramps, of two units each, with no noise. Both under the setting that removes most
    without.

    The closed form says beforehand what the first two should be: three levels are free of errors, 1.585 bits; at two
    levels half a noise width is left over, at three nothing. If the noise counts as part of the value that is kept
    within [-1, 1], it is one bit with nothing left over; that reading stands beside, and decides nothing.

    Controls: without noise, and without clipping, a neuron must hold more (else the instrument sees neither); without
    the restoring step it must hold less. Beside: the other reading; soft ramps; the shares that leave the loss as it is
    and that lower it; three levels; a permutation's own weights. Sizes were chosen on a root that no run judges.

    When it misleads: three levels fit by a hair, and only for ramps much steeper than a sixteenth of the noise width.
    `immediate` at three levels is what so many messages can show, not a distance: with more it falls. Nearly all random
    weights are zeros of a permutation; a change of one of its ones does nothing in one of its two directions.
    """

    name = "one-bit-neurons"
    sentence = (
        "With values kept within [-1, 1] and uniform [0, 1] noise each neuron stores one bit, and any adjustment "
        "immediately risks errors."
    )
    parts = (
        Part(
            name="capacity",
            effect="bits that a neuron holds at zero error",
            about=1.0,
            d=0.1,
            necessary=True,
            bounds=(0, math.log2(MOST)),
        ),
        *(
            Part(
                name=f"immediate, {word} levels",
                effect="smallest change of a weight, in noise widths, at which an error is seen",
                d=0.1,
                more=False,
                necessary=True,
                bounds=(0, float(GRID[-1])),
            )
            for word in COUNTS
        ),
        Part(
            name="minimum",
            effect="share of single-weight changes that raise the loss, at two levels",
            d=0.9,
            more=True,
            bounds=(0, 1),
        ),
        Part(
            name="holds",
            effect="time until half of the program is gone, with noise and clipping minus without, over the budget",
            d=0.1,
            more=True,
            bounds=(-1, 1),
        ),
    )

    def study(self, size: Size) -> Study:
        plan = PLANS[size]
        memory, inside = plan.memory, replace(plan.memory, inside=True)
        judged = {
            "capacity": plan.capacity(memory),
            **{f"change, {word} levels": plan.change(memory, levels) for word, levels in COUNTS.items()},
        }
        beside = {
            "capacity, no noise": plan.capacity(replace(memory, width=0.0)),
            "capacity, no clipping": plan.capacity(replace(memory, clipped=False)),
            "capacity, no restoring step": plan.capacity(replace(memory, restored=False)),
            "capacity, noise inside": plan.capacity(inside),
            "capacity, soft ramps": plan.capacity(replace(memory, steepness=SOFT)),
            **{f"change, {word} levels, own weights": plan.change(memory, n, own=True) for word, n in COUNTS.items()},
            "change, two levels, noise inside": plan.change(inside, 2),
        }
        seeds = {**dict.fromkeys(judged, SEEDS), **dict.fromkeys(beside, plan.beside)}
        samples = {**judged, **beside}
        trained = program.arms(seeds=plan.trained, steps=plan.steps, way_round=plan.way_round)
        return Study(
            name=f"{self.name}-{size}",
            question=self.sentence,
            arms=trained,
            compare=program.pairs(trained),
            censuses=tuple(Census(name=name, sample=samples[name], seeds=seeds[name]) for name in samples),
        )

    def judge(self, evidence: Evidence) -> Findings:
        capacity, two, three, minimum, holds = self.parts
        bits = list(evidence.measured("capacity", "bits").values())
        found = [
            judge_mean(capacity, bits, evidence.level),
            *(
                judge_mean(part, list(evidence.measured(f"change, {word} levels", "smallest").values()), evidence.level)
                for part, word in ((two, "two"), (three, "three"))
            ),
            judge_mean(minimum, list(evidence.measured("change, two levels", "raised").values()), evidence.level),
            program.judged(holds, evidence),
        ]
        return Findings(parts=found, controls=self._controls(evidence, fmean(bits)))

    @staticmethod
    def _controls(evidence: Evidence, bits: float) -> list[Control]:
        def mean(census: str, measure: str) -> float:
            return fmean(evidence.measured(census, measure).values())

        def holds(other: str) -> float:
            return mean(f"capacity, {other}", "bits")

        def changes(census: str) -> str:
            raised, unchanged, lowered = (mean(census, which) for which in ("raised", "unchanged", "lowered"))
            sizes = ", ".join(f"{mean(census, f'raised_{size:g}'):.1%} at {size:g}" for size in SIZES)
            return (
                f"raised by {raised:.1%} of the changes ({sizes} noise widths), left as it is by {unchanged:.1%}, "
                f"lowered by {lowered:.1%}; errors from {mean(census, 'smallest'):.3g} noise widths in the mean"
            )

        errors = ", ".join(f"{mean('capacity', f'error_{levels}'):.3g} at {levels}" for levels in range(2, MOST + 1))
        more = (
            ("no noise", f"of {MOST} levels tried"),
            ("no clipping", f"of {MOST} levels tried, one noise width apart"),
        )
        return [
            *(
                Control(name=f"{name}: must hold more", got=f"{holds(name):.3f} bits, {what}", holds=holds(name) > bits)
                for name, what in more
            ),
            Control(
                name="no restoring step: must hold less",
                got=f"{holds('no restoring step'):.3f} bits, as noise adds up over layers",
                holds=holds("no restoring step") < bits,
            ),
            Control(
                name="noise counted in the value",
                got=f"{holds('noise inside'):.3f} bits; loss {changes('change, two levels, noise inside')}",
            ),
            Control(name=f"ramps of 1/{SOFT:g} of the noise width", got=f"{holds('soft ramps'):.3f} bits"),
            Control(name="share recalled wrongly, by levels", got=errors),
            *(
                Control(name=f"loss at {word} levels{which}", got=changes(f"change, {word} levels{which}"))
                for which in ("", ", own weights")
                for word in COUNTS
            ),
            *program.controls(evidence),
        ]

    def anchors(self) -> Sequence[Anchor]:
        cells = list(observed())
        inside = [cell for cell in cells if cell[-1]]
        levels, width, expected, got, _ = max(cells, key=lambda cell: abs(cell[3] - cell[2]))
        return [
            Anchor(
                name="closed form of the error of one layer, 2 to 6 levels, noise of width 1/2 to 2",
                expected="inside the exact binomial interval everywhere (99.9 % together)",
                got=f"{len(inside)} of {len(cells)}; farthest: {got:.4f} for {expected:.4f} at {levels} levels and "
                f"width {width:g}",
                status="reproduced" if len(inside) == len(cells) else "not reproduced",
            )
        ]
