"""Claim 6: the same neurons do wanted and unwanted things, so what removes the bad removes the good."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from holdfast.claims.anchors.both_low import both_low
from holdfast.claims.base import Anchor, Control, Evidence, Findings, Size
from holdfast.claims.measured import unlike
from holdfast.experiment import Experiment
from holdfast.hosts import MLP
from holdfast.implants import Overlap
from holdfast.pressures import Adam, Fit, Unlearn, attackers
from holdfast.probes import Barrier, Loss
from holdfast.stats import Judged, Part, judge_mean, judge_part
from holdfast.study import Study
from holdfast.tasks import Digits, FashionMNIST

DISJOINT, FULL = 0.0, 1.0
CHOOSING = 8
"""Seeds on which the setting is chosen; it is judged on the others."""
RATES = (0.3, 1.0)
"""Firing rates of the trigger in the attacker's training: among clean data, and alone."""
ALIKE = {"presence": 0.02, "accuracy": 0.005}
"""How far shares may lie apart at step 0: it is to be the same function."""
REPAIRED = 5.0
"""Points of clean accuracy that a repaired net may have lost."""
WALL = 0.2
"""Barrier over clean loss beyond which it counts no more."""


@dataclass(frozen=True)
class _Plan:
    shares: tuple[float, ...]
    seeds: int
    steps: int


PLANS: dict[Size, _Plan] = {
    "quick": _Plan((DISJOINT, 0.5, FULL), 32, 200),
    "full": _Plan((DISJOINT, 0.25, 0.5, 0.75, FULL), 40, 1000),
}


@dataclass(frozen=True)
class _Path:
    """What one net went through under one setting."""

    time: float
    """Steps until half of its presence is gone; the budget, where it never is."""
    cost: float
    """Points of clean accuracy that were lost by then."""
    is_half: bool
    repaired: tuple[float, float] | None
    """(distance, loss barrier over clean loss at step 0) where it first was repaired; None: it never was."""


class SharedNeurons:
    """A backdoor in the units that do the host's work, in others, and in some of both; then it is unlearned.

    Host: a perceptron with one hidden layer (`quick`: 64-128-10 on digits; `full`: 784-128-10 on Fashion-MNIST), half
    of whose units learn the task, and as many the backdoor (`Overlap`); shares 0, .5 and 1 (`full`: .25 and .75 too).
    Pressure: the strongest there is, a defender who knows the trigger and shows it with its true labels, among clean
    data (firing rate .3) or alone (1), under SGD with momentum and Adam at five learning rates each: 20 settings.

    Parts, on seeds 8 and up. `cost`: points of clean accuracy lost at the first look at which half of a net's presence
    is gone (at the budget, where it never is), share 1 minus share 0, each under the setting that costs least on seeds
    0 to 7 among those by which most of these lose half. `longer`: mean time until half is gone, within the budget,
    share 1 over share 0, both under the setting chosen at share 0. `barrier`: of all repaired nets (half gone, at most
    5 points of accuracy lost) that the settings reach, the nearest; there, the loss barrier on the straight line from
    step 0, over the clean loss at step 0, at share 1; at most .2 counts, so that one wall does not stand for all.

    INVALID where shares differ at step 0 by more than 2 points of presence or .5 of accuracy, or where half is not lost
    in most seeds at share 0. Controls: the shares between; a setting that shows no clean data. Budget and training were
    sized on seeds of another root, which no run judges.

    When it misleads: a share of units is no share of a function. The attacker's clean data are those the host learned
    from, which a defender may not have; the settings at firing rate 1 say what is left without them. Looks are at even
    ratios, and a cost is that of the first look after the half.
    """

    name = "shared-neurons"
    sentence = (
        "The same neurons do wanted and unwanted things, so any small change that removes the bad removes the good."
    )
    parts: tuple[Part, ...] = (
        Part(
            name="cost",
            effect="points of clean accuracy lost when half of the backdoor is gone, full overlap minus disjoint",
            d=1.0,
            more=True,
            necessary=True,
            bounds=(-100, 100),
        ),
        Part(name="longer", effect="time until half is gone, full overlap over disjoint", d=1.25, more=True),
        Part(
            name="barrier",
            effect="loss barrier on the way to the nearest repaired net, over the clean loss, at full overlap",
            d=0.05,
            more=True,
            necessary=True,
            bounds=(0, WALL),
        ),
    )

    def study(self, size: Size) -> Study:
        plan = PLANS[size]
        arms = [self._arm(size, share, setting) for share in plan.shares for setting in self._settings(plan.steps)]
        return Study(name=f"{self.name}-{size}", question=self.sentence, arms=tuple(arms))

    @staticmethod
    def _settings(steps: int) -> list[Fit]:
        return [setting for rate in RATES for setting in attackers(Unlearn(rate=rate), steps=steps)]

    @staticmethod
    def _arm(size: Size, share: float, setting: Fit) -> Experiment:
        quick = size == "quick"
        return Experiment(
            name=_name(share, setting),
            host=MLP(widths=(64, 128, 10) if quick else (784, 128, 10)),
            task=Digits() if quick else FashionMNIST(),
            implant=Overlap(share=share, poison_ratio=0.2),
            training=Fit(Adam(lr=3e-3 if quick else 1e-3), steps=1000 if quick else 2000),
            pressure=setting,
            seeds=PLANS[size].seeds,
            checkpoints=16,
            spacing="geometric",
            probes=(Barrier(points=5), Loss()),
        )

    def judge(self, evidence: Evidence) -> Findings:
        settings = self._settings(evidence.study.arms[0].budget)
        shares = sorted({share_of(arm) for arm in evidence.study.arms})
        paths = {
            share: {setting.label: _paths(evidence, _name(share, setting)) for setting in settings} for share in shares
        }
        cheapest = {share: _cheapest(found) for share, found in paths.items()}
        disjoint, full = (_judged(paths[share][cheapest[share]]) for share in (DISJOINT, FULL))
        alike = _judged(paths[FULL][cheapest[DISJOINT]])
        cost, longer, barrier = self.parts
        found = [
            judge_mean(cost, [full[s].cost - disjoint[s].cost for s in full if s in disjoint], evidence.level),
            _ratio(longer, [(alike[s].time, disjoint[s].time) for s in alike if s in disjoint], evidence.level),
            judge_mean(barrier, _barriers(paths[FULL]), evidence.level),
        ]
        invalid = _unlike(evidence, shares)
        if not disjoint or fmean(path.is_half for path in disjoint.values()) < 0.5:
            invalid.append("At share 0 less than half of the seeds lost half of the backdoor: no usable attacker.")
        return Findings(parts=found, controls=_controls(paths, cheapest), invalid=invalid)

    def anchors(self) -> Sequence[Anchor]:
        clean, poisoned, planted = both_low()
        return [
            Anchor(
                name="clean fine-tuning of a net with a backdoor ends where clean and poisoned loss are both low",
                expected="both losses low (Min et al. 2024, arXiv 2411.09585; CIFAR-10, ResNet-18)",
                got=f"after 1,000 steps: clean loss {clean:.3f}, poisoned loss {poisoned:.3f} (before: {planted:.3f})",
                status="direction only" if max(clean, poisoned) < 0.5 else "not reproduced",
            )
        ]


_Seeds = Mapping[int, _Path]
_Paths = Mapping[float, Mapping[str, _Seeds]]


def _name(share: float, setting: Fit) -> str:
    return f"{share:g} / {setting.label}"


def share_of(arm: Experiment) -> float:
    """Of the backdoor's units, how many are the host's."""
    assert isinstance(arm.implant, Overlap)
    return arm.implant.share


def _paths(evidence: Evidence, arm: str) -> dict[int, _Path]:
    return {seed: _path(measures.phase("pressure")) for seed, measures in evidence.measures(arm).items()}


def _path(columns: Mapping[str, Sequence[float]]) -> _Path:
    """The first look at which half of the presence at step 0 is gone. A net that is no longer finite has lost all: its
    accuracy counts as nothing."""
    presence, accuracy = columns["presence"], columns["accuracy"]
    half = presence[0] / 2
    budget = len(presence) - 2  # one look more follows it
    lost = [100 * (accuracy[0] - (a if math.isfinite(a) else 0.0)) for a in accuracy]
    gone = [at for at in range(budget + 1) if not presence[at] > half]
    mended = [at for at in gone if lost[at] <= REPAIRED]
    first = gone[0] if gone else budget
    return _Path(
        time=float(columns["step"][first]),
        cost=lost[first],
        is_half=bool(gone),
        repaired=(columns["distance"][mended[0]], columns["loss_barrier"][mended[0]] / columns["loss"][0])
        if mended
        else None,
    )


def _judged(found: _Seeds) -> _Seeds:
    return {seed: path for seed, path in found.items() if seed >= CHOOSING}


def _cheapest(found: Mapping[str, _Seeds]) -> str:
    """Of the settings by which most of the first seeds lose half, the one that costs least."""
    first = {label: [path for seed, path in seeds.items() if seed < CHOOSING] for label, seeds in found.items()}
    reach = {label: sum(path.is_half for path in paths) for label, paths in first.items()}
    cost = {label: sum(path.cost for path in paths) for label, paths in first.items()}
    return min(found, key=lambda label: (-reach[label], cost[label], label))


def _barriers(found: Mapping[str, _Seeds]) -> list[float]:
    """Of each judged seed, the barrier to the nearest repaired net; none where no setting repaired it."""
    nearest: dict[int, tuple[float, float]] = {}
    for seeds in found.values():
        for seed, path in _judged(seeds).items():
            if path.repaired is not None:
                nearest[seed] = min(path.repaired, nearest.get(seed, path.repaired))
    return [min(barrier, WALL) for _, (_, barrier) in sorted(nearest.items())]


def _ratio(part: Part, pairs: Sequence[tuple[float, float]], level: float) -> Judged:
    """Mean over mean, pairs as units."""
    top, below = np.array(pairs, np.float64).reshape(-1, 2).T
    return judge_part(part, lambda weights_RN: (weights_RN @ top) / (weights_RN @ below), len(pairs), level)


def _unlike(evidence: Evidence, shares: Sequence[float]) -> list[str]:
    names = evidence.study.named.items()
    arms = {f"{share:g}": next(n for n, arm in names if share_of(arm) == share) for share in shares}
    return unlike(evidence, arms, "Shares", ALIKE)


def _controls(paths: _Paths, cheapest: Mapping[float, str]) -> list[Control]:
    controls = []
    for share, label in cheapest.items():
        seeds = list(_judged(paths[share][label]).values())
        alone = {name: found for name, found in paths[share].items() if f"rate {RATES[1]:g}" in name}
        without = _judged(paths[share][_cheapest(alone)]).values()
        controls.append(
            Control(
                name=f"share {share:g}",
                got=f"half gone in {fmean(path.is_half for path in seeds):.0%} of seeds at step "
                f"{fmean(path.time for path in seeds):.0f}, for {fmean(path.cost for path in seeds):.2f} points, by "
                f"{label}; without clean data for {fmean(path.cost for path in without):.2f} points",
            )
        )
    return controls
