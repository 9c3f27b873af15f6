"""Claim 11: side computations last longer if they come to exist outside the main computation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import get_args

from holdfast.claims.base import Anchor, Control, Evidence, Findings, Size, share
from holdfast.claims.measured import unlike
from holdfast.experiment import Experiment
from holdfast.hosts import MLP
from holdfast.implants import Confined, Handcrafted
from holdfast.implants.confined import Where
from holdfast.parts import Implant
from holdfast.pressures import Adam, Fit, Unlearn, attackers
from holdfast.stats import Judged, Part, judge_mean, judge_survival
from holdfast.study import Study
from holdfast.tasks import Digits, FashionMNIST

PLACES: tuple[Where, ...] = get_args(Where)
TICKET, UNFELT = "ticket", "zero gradient"
KINDS = ("Adam", "SGD")
"""Optimisers, each with its strongest setting: they part small weights from large ones in other ways."""
KNOWN = Unlearn(rate=0.01)
ALIKE = {"presence": 0.05, "accuracy": 0.02}
"""How far places may lie apart at step 0. Each net is judged against half of its own presence, and no part reads the
accuracy; new units add to it."""
ANCHOR = 2.0
"""Neurotoxin (Zhang et al. 2022): how much longer a backdoor lasts where benign gradients are small."""


@dataclass(frozen=True)
class _Plan:
    host: MLP
    task: Digits | FashionMNIST
    units: int
    training: Fit
    steps: int
    sgd_rates: tuple[float, ...]
    adam_rates: tuple[float, ...]
    seeds: int


PLANS: dict[Size, _Plan] = {
    "quick": _Plan(
        MLP(widths=(64, 80, 10)), Digits(), 16, Fit(Adam(lr=3e-3), steps=800), 200,
        (1e-3, 10**-2.5, 1e-2, 10**-1.5, 1e-1), (1e-4, 10**-3.5, 1e-3, 10**-2.75, 10**-2.5), 24,
    ),
    "full": _Plan(
        MLP(widths=(784, 80, 10)), FashionMNIST(), 16, Fit(Adam(lr=1e-3), steps=2000), 1000,
        (1e-3, 10**-2.5, 1e-2, 10**-1.5, 10**-1.25), (1e-4, 10**-3.5, 1e-3, 10**-2.75, 10**-2.5), 24,
    ),
}  # fmt: skip


class OutsideMain:
    """A backdoor learned by units of the winning ticket, by spare ones, by new ones; then training goes on.

    Host: a perceptron with one hidden layer (`quick`: 64-80-10 on digits; `full`: 784-80-10 on Fashion-MNIST), of
    whose units a fifth is not used at first (`Confined`); a backdoor is learned by so many units. Pressure: clean
    fine-tuning by SGD with momentum and by Adam, five learning rates each, up to that at which the ticket's backdoor is
    still there after a step and lasts to about the middle of the budget (seeds of another root, which no run judges;
    how long it lasts elsewhere was not looked at).

    Parts, over seeds, one for each optimiser: `spare` and `new`, how much longer the backdoor lasts there than in the
    ticket's units, under the setting of that optimiser that is strongest against the ticket's, as a share of the budget
    (restricted means, sign-flip intervals).

    INVALID where places differ at step 0 by more than 5 points of presence or 2 of accuracy. Controls: units at random
    among the host's; a handcrafted backdoor, on which the clean gradient is exactly zero, and which must last to the
    budget; norms of the backdoor's weights and its share of the gradient at step 0, by place; each place under its own
    strongest setting; and all of it once more under who shows the trigger with its true labels (1 % of the draws).

    At first there was one comparison, under the strongest of all ten settings, which was Adam's. Then it was seen that
    under SGD new units come out the other way.

    When it misleads: these units learned the backdoor after the task, so this is no backdoor that came to exist by
    itself. The ticket's units go on with the host's work, so clean gradients reach them; new ones take up work too.
    What is outside by units is not outside by what a layer sums up. Norms are shown and not held equal.
    """

    name = "outside-main"
    sentence = "Side computations last longer if they come to exist outside the main computation."
    parts: tuple[Part, ...] = tuple(
        Part(
            name=f"{place}, {kind}",
            effect=f"how much longer it lasts in {place} units than in the ticket's under {kind}, of the budget",
            d=0.1,
            more=True,
            necessary=True,
            bounds=(-1, 1),
        )
        for kind in KINDS
        for place in ("spare", "new")
    )

    def study(self, size: Size) -> Study:
        plan = PLANS[size]
        implants: dict[str, Implant] = {
            place: Confined(to=place, units=plan.units, poison_ratio=0.2) for place in PLACES
        }
        implants[UNFELT] = Handcrafted()
        pressures = {kind: _settings(plan, kind) for kind in KINDS}
        pressures["trigger known"] = tuple(each for kind in KINDS for each in _settings(plan, kind, KNOWN))
        arms = [
            self._arm(plan, f"{place}, {under}", implant, grid)
            for under, grid in pressures.items()
            for place, implant in implants.items()
        ]
        compare = [(f"{TICKET}, {u}", f"{place}, {u}") for u in pressures for place in implants if place != TICKET]
        return Study(name=f"{self.name}-{size}", question=self.sentence, arms=tuple(arms), compare=tuple(compare))

    @staticmethod
    def _arm(plan: _Plan, name: str, implant: Implant, grid: tuple[Fit, ...]) -> Experiment:
        return Experiment(
            name=name,
            host=plan.host,
            task=plan.task,
            implant=implant,
            training=plan.training,
            pressure=grid,
            seeds=plan.seeds,
            checkpoints=16,
            spacing="geometric",
            wreck_at_end=True,
        )

    def judge(self, evidence: Evidence) -> Findings:
        found = [_judged(part, evidence) for part in self.parts]
        controls = [*(_unfelt(evidence, kind) for kind in KINDS), *(_arm(evidence, n) for n in evidence.study.named)]
        invalid = unlike(evidence, {place: f"{place}, {KINDS[0]}" for place in PLACES}, "Places", ALIKE)
        return Findings(parts=found, controls=controls, invalid=invalid, anchors=[_anchor(evidence)])

    def anchors(self) -> Sequence[Anchor]:
        return ()


def _settings(plan: _Plan, kind: str, *terms: Unlearn) -> tuple[Fit, ...]:
    """The grid of one optimiser."""
    sgd, adam = (plan.sgd_rates, ()) if kind == "SGD" else ((), plan.adam_rates)
    return attackers(*terms, steps=plan.steps, sgd_rates=sgd, adam_rates=adam)


def _reference(arm: str) -> str:
    """The ticket's arm under the same pressure."""
    return f"{TICKET}, {arm.partition(', ')[2]}"


def _judged(part: Part, evidence: Evidence) -> Judged:
    found = evidence.compared(_reference(part.name), part.name)
    if found is None:
        return replace(judge_mean(part, [], evidence.level), reason="Every setting wrecks the ticket's hosts.")
    return judge_survival(part, found)


def _unfelt(evidence: Evidence, kind: str) -> Control:
    held = share(evidence.held(f"{UNFELT}, {kind}"))
    return Control(
        name=f"a backdoor on which the clean gradient is zero, {kind}",
        got=f"held in {held:.0%} of nets to the budget; all but one in eight are needed",
        holds=held >= 7 / 8,
    )


def _arm(evidence: Evidence, name: str) -> Control:
    """What became of an arm, in figures."""
    setting = evidence.attackers[name]
    reference = _reference(name)
    said = [f"under {setting.label if setting else 'no usable attacker'} held in {share(evidence.held(name)):.0%}"]
    for what, measure, at in (
        ("presence", "presence", evidence.at_start),
        ("presence at the budget", "presence", evidence.at_budget),
        ("accuracy at the budget", "accuracy", evidence.at_budget),
        ("norm", "implant_norm", evidence.at_start),
        ("share of the gradient", "gradient_share", evidence.at_start),
    ):
        values = [value for value in at(name, measure).values() if value == value]
        said.append(f"{what} {fmean(values):.3g}" if values else f"{what} undefined")
    found = evidence.compared(reference, name) if name != reference else None
    if found is not None and found.difference is not None:
        longer = found.difference / found.budget
        said.append(f"lasts {abs(longer):.3f} of the budget {'longer' if longer >= 0 else 'less'} than {reference}")
    return Control(name=name, got=", ".join(said))


def _anchor(evidence: Evidence) -> Anchor:
    """Mean times within the budget, spare over ticket, under the ticket's strongest setting of each optimiser."""
    ratios = {}
    for kind in KINDS:
        reference = f"{TICKET}, {kind}"
        found = evidence.compared(reference, f"spare, {kind}")
        times = [o.end if o.event is None else o.event for o in evidence.outcomes(reference).values()]
        if found is not None and found.difference is not None and times:
            ratios[kind] = (fmean(times) + found.difference) / fmean(times)
    return Anchor(
        name="time that a backdoor lasts in spare units, over that in the ticket's",
        expected=f"{ANCHOR:g} times (Neurotoxin: where benign gradients are small; other hosts and tasks)",
        got=", ".join(f"{kind} {ratio:.2f} times" for kind, ratio in ratios.items()) or "no pairs",
        status="direction only" if ratios and min(ratios.values()) > 1 else "not reproduced",
    )
