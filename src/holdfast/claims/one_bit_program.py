"""A program of one-bit neurons under training: what `one-bit-neurons` asks of noise and clipping, and how it is run."""

from dataclasses import replace
from statistics import fmean

from holdfast.claims.base import Control, Evidence, share
from holdfast.claims.weak_vote import TASK, protected
from holdfast.experiment import Experiment
from holdfast.implants.predictor import Predictor
from holdfast.pressures import UnitNoise, attackers
from holdfast.stats import Judged, Part, judge_mean, judge_survival

WITHOUT, WITH = "plain units", "noise and clipping"
RATES = tuple(10.0**i for i in range(-6, -1))
"""Of the attackers: four decades up to the largest at which plain units still hold the program after a step."""
NOISE = UnitNoise(width=1.0)


def arms(*, seeds: int, steps: int, way_round: int) -> tuple[Experiment, ...]:
    """The same program in plain units, in clipped ones with noise, with one of the two, and without ramps."""
    ramps = protected()["restoring"]
    clipped, product = replace(ramps, clipped=True), replace(ramps, encoding="product")

    def arm(name: str, program: Predictor, *terms: UnitNoise) -> Experiment:
        return Experiment(
            name=name,
            host=program.host(TASK.inputs, way_round),
            task=TASK,
            implant=program,
            pressure=attackers(*terms, steps=steps, sgd_rates=RATES, adam_rates=RATES),
            seeds=seeds,
            checkpoints=16,
            spacing="geometric",
            wreck_at_end=True,
        )

    return (
        arm(WITHOUT, ramps),
        arm(WITH, clipped, NOISE),
        arm("clipping, no noise", clipped),
        arm("noise, no clipping", ramps, NOISE),
        arm("neither, no restoring step", product),
    )


def pairs(found: tuple[Experiment, ...]) -> tuple[tuple[str, str], ...]:
    """Every arm against plain units."""
    return tuple((WITHOUT, arm.name) for arm in found if arm.name != WITHOUT)


def judged(part: Part, evidence: Evidence) -> Judged:
    """How much longer the program lasts with noise and clipping."""
    found = evidence.compared(WITHOUT, WITH)
    if found is None:
        return replace(judge_mean(part, [], evidence.level), reason="Every setting wrecks plain units.")
    return judge_survival(part, found)


def controls(evidence: Evidence) -> list[Control]:
    """What became of each arm."""
    return [_arm(evidence, arm.name) for arm in evidence.study.arms]


def _arm(evidence: Evidence, name: str) -> Control:
    setting = evidence.attackers[name]
    said = [f"under {setting.label if setting else 'no usable attacker'} held in {share(evidence.held(name)):.0%}"]
    for measure in ("presence", "accuracy", "cost"):
        values = [value for value in evidence.at_budget(name, measure).values() if value == value]
        said.append(f"{measure} {fmean(values):.2f}" if values else f"{measure} undefined")
    found = evidence.compared(WITHOUT, name) if name != WITHOUT else None
    if found is not None and found.difference is not None:
        said.append(f"lasts {found.difference / found.budget:+.2f} of the budget longer than {WITHOUT} under theirs")
    return Control(name=name, got=", ".join(said))
