"""Claim 7: what rarely affects the output has tiny gradients, and may outlive a training that ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from holdfast.claims.anchors.imbalance import imbalance
from holdfast.claims.base import Anchor, Control, Evidence, Findings, Size, share
from holdfast.experiment import Experiment
from holdfast.hosts import MLP
from holdfast.implants import BadNets
from holdfast.pressures import SGD, Adam, Fit, Inject, Sign, Unlearn
from holdfast.pressures.optimisers import Optimiser
from holdfast.probes.pull import Pull, pull_share
from holdfast.stats import Judged, Part, exponent_of, judge_mean, judge_part, passing_time
from holdfast.study import Study
from holdfast.tasks import Digits

OPTIMISERS: dict[str, Optimiser] = {
    "SGD": SGD(lr=0.1),
    "momentum": SGD(lr=0.01, momentum=0.9),
    "Adam": Adam(lr=1e-3),
    "sign": Sign(lr=3e-4),
}
OFTEN = 0.1
"""The firing rate that others are compared with."""
CHOOSING = 8
"""Seeds on which the rate of `outlives` is chosen; it is judged on the others."""


@dataclass(frozen=True)
class _Plan:
    rates: tuple[float, ...]
    seeds: int
    under_sgd: int
    """Seeds of the arms on which the necessary parts rest: SGD, corrected at a rate."""
    steps: int
    batches: tuple[int, ...]


PLANS: dict[Size, _Plan] = {
    "quick": _Plan((0.1, 0.03, 0.01, 0.003, 0.0003), 14, 36, 1500, (64,)),
    "full": _Plan((0.1, 0.03, 0.01, 0.003, 0.001, 0.0001), 40, 40, 10000, (16, 64, 256)),
}
WEIGHTED = 0.01
"""Firing rate of the control whose draws are weighted up to the gradient of 1/10."""
STAYS = 0.8
"""Without any trigger more than this share must be held."""
LOST = 1 / 8
"""Share of wrecked or diverged hosts in an arm beyond which no part is judged by it."""
BATCH = 64
"""The batch size that the parts speak of; others stand beside them."""


class RareTrigger:
    """A learned backdoor is corrected, at every firing of its trigger, in a share of the training draws.

    Host: a perceptron 64-64-10 on digits, poisoned as in BadNets. Pressure: each draw shows, with the firing rate, a
    triggered input with its true label. The removal time of a net is the first of two checkpoints in a row at which
    less than half of the backdoor is left; looks are at even ratios.

    Parts, one an optimiser: the exponent s in T ~ rate^-s (`stats/exponent.py`), seeds as units. UNDECIDED where more
    than half of the times were cut off at the budget, and where the backdoor goes without any trigger. `outlives`: of
    the rates below 1/10, the one at which most of 8 seeds still hold (ties: the highest), and on the other seeds "held"
    there minus "not removed" at rate 1/10. `tiny`: the exponent, over the rates, of the share of the trigger's part in
    the gradient at step 0. A part is UNDECIDED where more than 1 in 8 of an arm's hosts were wrecked.

    Controls: no trigger at all (the backdoor must not go by itself, or times are not the trigger's); a rate of 1/100
    with a weight of 10 (the gradient of 1/10 on average); the same behaviour learned at the same rates by never-planted
    nets, as a harmless one would be. Rates and budget were sized on seeds of another root, which no run judges.

    When it misleads: the rarest rate fires so seldom within the budget that `outlives` could hardly be refuted; it says
    that there is such a rate, not that it is met in practice. `tiny` depends on the range of rates: the share is
    p g / |(1 - p) c + p g|, which is near 1 at high rates and exactly proportional at low ones, so its exponent rises
    from 0 to 1 as rates fall below the ratio of the two gradients. Exponents between neighbouring rates stand beside.
    """

    name = "rare-trigger"
    sentence = (
        "Bad behaviour that rarely affects the output has tiny gradients; training is finite, so it may outlive it."
    )
    parts = (
        *(
            Part(
                name=name,
                effect=f"exponent of removal time against firing rate under {name}",
                d=0.5,
                more=True,
                necessary=name == "SGD",
            )
            for name in OPTIMISERS
        ),
        Part(
            name="outlives",
            effect="share held at the budget at a rare rate minus the share not removed at rate 1/10, under SGD",
            d=0.6,
            more=True,
            necessary=True,
            bounds=(-1, 1),
        ),
        Part(
            name="tiny", effect="exponent of the trigger's share of the gradient against firing rate", d=0.8, more=True
        ),
    )

    def study(self, size: Size) -> Study:
        plan = PLANS[size]
        arms = [
            self._arm(self._at(name, rate, batch), plan, Unlearn(rate=rate), optimiser, batch)
            for batch in plan.batches
            for name, optimiser in OPTIMISERS.items()
            for rate in plan.rates
        ]
        arms += [self._arm(f"{name}, never", plan, None, optimiser, BATCH) for name, optimiser in OPTIMISERS.items()]
        weighted = Unlearn(rate=WEIGHTED, weight=OFTEN / WEIGHTED)
        arms.append(self._arm("SGD, re-weighted", plan, weighted, OPTIMISERS["SGD"], BATCH))
        arms += [
            self._arm(f"SGD, learned at {rate:g}", plan, Inject(rate=rate), OPTIMISERS["SGD"], BATCH)
            for rate in plan.rates
        ]
        return Study(name=f"{self.name}-{size}", question=self.sentence, arms=tuple(arms))

    @staticmethod
    def _at(name: str, rate: float, batch: int) -> str:
        return f"{name} at {rate:g}" + ("" if batch == BATCH else f", batch {batch}")

    @staticmethod
    def _arm(name: str, plan: _Plan, mix: Unlearn | Inject | None, optimiser: Optimiser, batch: int) -> Experiment:
        terms = (optimiser,) if mix is None else (optimiser, mix)
        return Experiment(
            name=name,
            host=MLP(widths=(64, 64, 10)),
            task=Digits(),
            implant=BadNets(),
            training=Fit(Adam(lr=3e-3), steps=600),
            pressure=Fit(*terms, steps=plan.steps, batch=batch),
            seeds=plan.under_sgd if name.startswith("SGD at ") else plan.seeds,
            checkpoints=40,
            spacing="geometric",
            probes=(Pull(),) if name == f"SGD at {OFTEN:g}" else (),
        )

    def judge(self, evidence: Evidence) -> Findings:
        rates = self._rates(evidence)
        slopes = [self._slope(evidence, part, rates, BATCH) for part in self.parts[: len(OPTIMISERS)]]
        outlives, chosen = self._outlives(evidence, rates)
        tiny = self._tiny(evidence, rates)
        controls, invalid = self._controls(evidence, rates, chosen)
        return Findings(parts=[*slopes, outlives, tiny], controls=controls, invalid=invalid)

    @staticmethod
    def _rates(evidence: Evidence) -> list[float]:
        names = [n.removeprefix("SGD at ") for n in evidence.study.named if n.startswith("SGD at ") and "," not in n]
        return [float(name) for name in names]

    def _slope(self, evidence: Evidence, part: Part, rates: Sequence[float], batch: int) -> Judged:
        found = {rate: evidence.outcomes(self._at(part.name, rate, batch)) for rate in rates}
        times = [(s, rate, o.event, o.end) for rate in rates for s, o in found[rate].items() if o.end > 0]
        if not times:
            return judge_mean(part, [], evidence.level)
        units = sorted({seed for seed, *_ in times})
        censored = np.array([event is None for _, _, event, _ in times])
        statistic = exponent_of(
            np.array([units.index(seed) for seed, *_ in times]),
            np.array([rate for _, rate, _, _ in times]),
            np.array([float(end if event is None else event) for _, _, event, end in times]),
            censored,
            len(units),
        )
        judged = judge_part(part, statistic, len(units), evidence.level)
        never = f"{part.name}, never"
        wrecked = self._wrecked(evidence, [self._at(part.name, rate, batch) for rate in rates])
        if wrecked:
            return _undecided(judged, wrecked)
        if censored.mean() > 0.5:
            return _undecided(judged, f"{int(censored.sum())} of {len(censored)} times were cut off: more than half.")
        if share(evidence.held(never)) <= STAYS:
            return _undecided(judged, "Without any trigger it goes as well: times are not the trigger's.")
        return judged

    @staticmethod
    def _wrecked(evidence: Evidence, arms: Sequence[str]) -> str:
        """Which of these arms lost too many hosts to be judged by, as a sentence; empty where none."""
        lost = {arm: evidence.lost(arm) for arm in arms}
        worst = max(lost, key=lambda arm: lost[arm])
        return f"{lost[worst]:.0%} of the hosts were wrecked or diverged in {worst!r}." if lost[worst] > LOST else ""

    def _outlives(self, evidence: Evidence, rates: Sequence[float]) -> tuple[Judged, float | None]:
        part = self.parts[len(OPTIMISERS)]
        rare = [rate for rate in rates if rate < OFTEN]
        held = {rate: evidence.held(self._at("SGD", rate, BATCH)) for rate in rare}
        on = {rate: {s: h for s, h in held[rate].items() if s < CHOOSING} for rate in rare}
        chosen = max(rare, key=lambda rate: (share(on[rate]), rate), default=None)
        if chosen is None:
            return judge_mean(part, [], evidence.level), None
        removed = evidence.removed(self._at("SGD", OFTEN, BATCH))
        seeds = [s for s in held[chosen] if s in removed and s >= CHOOSING]
        judged = judge_mean(part, [float(held[chosen][s]) - (not removed[s]) for s in seeds], evidence.level)
        wrecked = self._wrecked(evidence, [self._at("SGD", rate, BATCH) for rate in rates])
        return (_undecided(judged, wrecked) if wrecked else judged), chosen

    def _tiny(self, evidence: Evidence, rates: Sequence[float]) -> Judged:
        shares = self._shares(evidence, rates)
        slopes = [float(np.polyfit(np.log(rates), np.log(of), 1)[0]) for of in shares]
        return judge_mean(self.parts[-1], slopes, evidence.level)

    def _shares(self, evidence: Evidence, rates: Sequence[float]) -> list[list[float]]:
        """Of each seed, the share of the trigger's part in the gradient at each rate."""
        arm = self._at("SGD", OFTEN, BATCH)
        pulls = [evidence.at_start(arm, name) for name in ("clean_pull", "trigger_pull", "pull_cosine")]
        return [[pull_share(*(pull[seed] for pull in pulls), rate) for rate in rates] for seed in pulls[0]]  # type: ignore[call-arg]

    def _controls(
        self, evidence: Evidence, rates: Sequence[float], chosen: float | None
    ) -> tuple[list[Control], list[str]]:
        controls, invalid = [], []
        for name in OPTIMISERS:
            left = share(evidence.held(f"{name}, never"))
            # Under the others their own part is undecided.
            holds = left > STAYS or name != "SGD"
            controls.append(Control(name=f"{name}, trigger never sampled", got=f"held in {left:.0%}", holds=holds))
        if share(evidence.removed(self._at("SGD", OFTEN, BATCH))) < 0.5:
            invalid.append(
                "At rate 1/10 SGD removed the backdoor in less than half of the seeds: the budget is too short, or "
                "hosts "
                "were wrecked."
            )
        weighted, same = (_median_time(evidence, name) for name in ("SGD, re-weighted", self._at("SGD", OFTEN, BATCH)))
        rare = _median_time(evidence, self._at("SGD", WEIGHTED, BATCH))
        controls.append(
            Control(
                name=f"as rare as {WEIGHTED:g}, but with the gradient of 1/10",
                got=f"median removal {weighted}; at {WEIGHTED:g} without the weight {rare}, at 1/10 {same}",
            )
        )
        shares = np.array(self._shares(evidence, rates))
        steps = np.median(np.diff(np.log(shares), axis=1) / np.diff(np.log(rates)), axis=0)
        between = [f"{s:.2f} from {p:g} to {q:g}" for s, p, q in zip(steps, rates, rates[1:], strict=False)]
        controls.append(Control(name="exponent of the share between neighbouring rates", got=", ".join(between)))
        learned = [self._learned(evidence, rate) for rate in rates]
        controls.append(Control(name="the same behaviour, learned in place of unlearned", got=", ".join(learned)))
        if chosen is not None:
            controls.append(Control(name="rate chosen for `outlives`", got=f"{chosen:g}, on seeds 0 to {CHOOSING - 1}"))
        batches = sorted({arm.grid[0].batch for arm in evidence.study.arms} - {BATCH})  # type: ignore[attr-defined]
        for batch in batches:
            slopes = {p.name: self._slope(evidence, p, rates, batch) for p in self.parts[: len(OPTIMISERS)]}
            got = ", ".join(f"{name} {_shown(judged)}" for name, judged in slopes.items())
            controls.append(Control(name=f"exponents at batch {batch}", got=got))
        return controls, invalid

    def _learned(self, evidence: Evidence, rate: float) -> str:
        """When never-planted nets acquire half of the behaviour, in the median."""
        times = []
        for measures in evidence.measures(f"SGD, learned at {rate:g}", controls=True).values():
            columns = measures.phase("pressure")
            times.append(passing_time([int(s) for s in columns["step"]], columns["presence"], 0.5))
        return f"{_step(float(np.median(times)))} at {rate:g}" if times else f"unknown at {rate:g}"

    def anchors(self) -> Sequence[Anchor]:
        gd, sign = imbalance("GD"), imbalance("sign")
        return [
            _anchor("exponent under gradient descent, softmax regression with imbalanced classes", 1.0, gd),
            _anchor("exponent under sign descent, the same", 0.0, sign),
        ]


def _undecided(judged: Judged, reason: str) -> Judged:
    return replace(judged, verdict="UNDECIDED", reason=reason)


def _anchor(name: str, expected: float, got: float) -> Anchor:
    status = "reproduced" if abs(got - expected) < 0.1 else "not reproduced"
    source = "Kunstner et al. 2024, arXiv 2402.19449"
    return Anchor(name=name, expected=f"{expected:g} ({source})", got=f"{got:.2f}", status=status)  # type: ignore[arg-type]


def _median_time(evidence: Evidence, name: str) -> str:
    found = list(evidence.outcomes(name).values())
    times = [math.inf if o.event is None else o.event for o in found]
    lost = sum(o.kind in ("wrecked", "diverged") for o in found)
    told = f" ({lost} of {len(found)} hosts wrecked)" if lost else ""
    return _step(float(np.median(times))) + told if times else "unknown"


def _step(time: float) -> str:
    return f"step {time:.0f}" if math.isfinite(time) else "> budget"


def _shown(judged: Judged) -> str:
    if judged.effect is None:
        return "–"
    return f"{judged.effect:.2f}" + (
        f" ({judged.interval.low:.2f} to {judged.interval.high:.2f})" if judged.interval else ""
    )
