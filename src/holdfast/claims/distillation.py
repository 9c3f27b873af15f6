"""Claim 3: training a big net and condensing it beats training the small one directly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.census import Census
from holdfast.claims.base import Anchor, Control, Evidence, Findings, Size, share
from holdfast.claims.measured import Values, band, known, learned, values
from holdfast.experiment import Experiment
from holdfast.hosts import LENET_300_100, MLP
from holdfast.implants import BadNets
from holdfast.pressures import Adam, Distil, Fit
from holdfast.probes import Agreement
from holdfast.samples import Students
from holdfast.stats import Part, judge_mean
from holdfast.study import Study
from holdfast.tasks import Digits, FashionMNIST

CENSUS = "students"
CHOOSING = 8
"""Seeds on which the setting is chosen; it is judged on the others."""
SETTINGS = tuple(Distil(temperature=t, weight=w) for t in (1.0, 2.0, 8.0) for w in (0.5, 0.9))
TAUGHT: Mapping[str, Distil] = {
    "logits, other weights": Distil(),
    "logits, same weights": Distil(init="same"),
    "features, other weights": Distil(weight=0.0, features=1.0),
    "features, same weights": Distil(weight=0.0, features=1.0, init="same"),
    "noise, then logits": Distil(init="noise", alpha=0.8),
    "labels alone": Distil(weight=0.0),
}
"""By what the students of a teacher with a backdoor are taught. UNDO's noise at its largest published share."""
ANCHOR_GAP = 0.91
"""Hinton, Vinyals & Dean 2015: of 146 errors of the student alone and 67 of its teacher, 74 are left."""
ANCHOR_LOGITS, ANCHOR_FEATURES = 0.001, 1.0
"""ASR of BadEdit in GPT-2 after distillation of logits and of features (a replication of 2026)."""


@dataclass(frozen=True)
class _Plan:
    students: Students
    seeds: int
    host: MLP
    """Of teachers with a backdoor, and of their students."""
    pressed: int
    """Seeds of each of those arms."""


PLANS: dict[Size, _Plan] = {
    "quick": _Plan(
        Students(
            teacher=MLP(widths=(64, 128, 10)), host=MLP(widths=(64, 8, 10)), task=Digits(),
            training=Fit(Adam(lr=3e-3), steps=2000, batch=60), settings=SETTINGS,
        ), 40, MLP(widths=(64, 64, 10)), 16,
    ),
    "full": _Plan(
        Students(
            teacher=LENET_300_100, host=MLP(widths=(784, 16, 10)), task=FashionMNIST(),
            training=Fit(Adam(lr=1.2e-3), steps=8000, batch=60), settings=SETTINGS,
        ), 28, MLP(widths=(784, 64, 10)), 16,
    ),
}  # fmt: skip


class Distillation:
    """A large net is trained, a small one is taught by it, and the same small one is trained by itself.

    Host: perceptrons on digits (`quick`: teacher 64-128-10, student 64-8-10, 2,000 steps each) or Fashion-MNIST
    (`full`: LeNet-300-100, 784-16-10, 8,000 steps), all by Adam on the same batches (`Students`).

    Part `gain`: test accuracy after the last step, distilled minus alone, in points, on seeds 8 and up; from the same
    initial weights, under that of six settings (temperatures 1, 2 and 8, weights .5 and .9) whose students are best on
    the validation data of seeds 0 to 7.

    INVALID where the interval of the teacher's lead over the student alone is not above 0, or the teachers have not
    learned. Controls, under the chosen setting: students from other initial weights; students that are told the
    teacher's confidence and nothing of the other classes (label smoothing of equal strength); of all, how often they
    answer as the teacher does.

    Beside it, as cells: what becomes of BadNets in a teacher (64-64-10, `full` 784-64-10), when a student of its own
    size is taught on clean data: by logits (T 4, weight .9) or by features and labels, from other or the same initial
    weights; by logits from a mixture of its own weights with noise (UNDO, alpha .8); by labels alone, which is
    no distillation and has nothing of the teacher. Each with never-planted teachers.

    At first there were four settings, without temperature 1, and the gentlest was chosen and made students worse.
    Sized on seeds of root 777, which no run judges: there the student alone is 2.6 points behind.

    When it misleads: one size of student and one length of training. A student that cannot fit the data has little use
    for more exact answers; one that overfits may. A teacher that has fitted its training data says of them at
    temperature 1 what the labels say; how little it leaves to other classes stands among the controls. With 360 test
    images of digits the mean of many seeds is a mean over the same images. Presence in a student that has not seen its
    fill is low at first, and comes up later.
    """

    name = "distillation"
    sentence = "Training a big net and condensing it beats training the small one directly."
    parts: tuple[Part, ...] = (
        Part(
            name="gain",
            effect="points of accuracy of the student, distilled minus alone",
            d=0.2,
            more=True,
            necessary=True,
            bounds=(-100, 100),
        ),
    )

    def study(self, size: Size) -> Study:
        plan = PLANS[size]
        census = Census(name=CENSUS, sample=plan.students, seeds=plan.seeds)
        fit = plan.students.training
        arms = [
            Experiment(
                name=name,
                host=plan.host,
                task=plan.students.task,
                implant=BadNets(),
                training=fit,
                pressure=fit.with_terms(distil),
                seeds=plan.pressed,
                checkpoints=8,
                probes=(Agreement(),),
                wreck_at_end=True,
            )
            for name, distil in TAUGHT.items()
        ]
        return Study(name=f"{self.name}-{size}", question=self.sentence, arms=tuple(arms), censuses=(census,))

    def judge(self, evidence: Evidence) -> Findings:
        students = _Students(evidence)
        (gain,) = self.parts
        found = judge_mean(gain, list(students.lead("distilled")), evidence.level)
        controls = [*students.controls(), *(_cell(evidence, name) for name in TAUGHT)]
        return Findings(parts=[found], controls=controls, anchors=[students.anchor(), *_anchors(evidence)])

    def anchors(self) -> Sequence[Anchor]:
        return ()


class _Students:
    """What the census measured on judged seeds, under the setting that the others chose."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        chosen = [self._values(f"validation/distilled/{n}")[:CHOOSING].mean() for n in range(len(SETTINGS))]
        self.setting = int(np.argmax(chosen))

    def _values(self, measure: str) -> Values:
        return values(self.evidence, CENSUS, measure)

    def __call__(self, who: str, what: str = "accuracy") -> Values:
        """A measure of teachers, students alone, or those of the setting that was chosen."""
        whole = who if who in ("teacher", "alone") else f"{who}/{self.setting}"
        return self._values(f"{what}/{whole}")[CHOOSING:]

    def lead(self, who: str) -> Values:
        """Points over the student alone."""
        return 100 * (self(who) - self("alone"))

    def controls(self) -> list[Control]:
        mean, low, high = band(self.lead("teacher"))
        found = [
            learned("the teachers have learned the task", self.evidence, self("teacher")),
            Control(
                name="the teacher leads",
                got=f"by {mean:.2f} points over the student alone ({low:.2f} to {high:.2f}); more than 0 is needed",
                holds=low > 0,
            ),
            Control(
                name="what the teacher leaves to other classes than the true one",
                got=f"{self._values('unsure/teacher')[CHOOSING:].mean():.2%} on the training data",
            ),
            Control(name="setting", got=f"temperature and weight that were chosen: {self._said(self.setting)}"),
        ]
        for who in ("alone", "distilled", "other", "smoothed"):
            on, off = (100 * self(who, what).mean() for what in ("agreement", "agreement_off"))
            gained = (
                ""
                if who == "alone"
                else ", {:.2f} points more than alone ({:.2f} to {:.2f})".format(*band(self.lead(who)))
            )
            found.append(
                Control(
                    name=who,
                    got=f"{100 * self(who).mean():.2f} % right{gained}; answers as the teacher to {on:.1f} % of the "
                    f"test data, to {off:.1f} % off task",
                )
            )
        others = [n for n in range(len(SETTINGS)) if n != self.setting]
        each = [self._values(f"accuracy/distilled/{n}")[CHOOSING:] - self("alone") for n in others]
        said = [f"{self._said(n)} {100 * lead.mean():.2f}" for n, lead in zip(others, each, strict=True)]
        return [*found, Control(name="distilled minus alone in points, other settings", got="; ".join(said))]

    @staticmethod
    def _said(setting: int) -> str:
        return f"T {SETTINGS[setting].temperature:g}, {SETTINGS[setting].weight:g}"

    def anchor(self) -> Anchor:
        gained, lead = self.lead("distilled").mean(), self.lead("teacher").mean()
        return Anchor(
            name="share of the teacher's lead that distillation recovers",
            expected=f"{ANCHOR_GAP:.0%} (MNIST, 784-1200-1200-10 to 784-800-800-10)",
            got=f"{gained / lead:.0%}" if lead > 0 else "the teacher has none",
            status="direction only" if min(gained, lead) > 0 else "not reproduced",
        )


def _cell(evidence: Evidence, arm: str) -> Control:
    """What became of the backdoor in the students of an arm."""
    presence, control = (_mean(evidence, arm, "presence", controls=controls) for controls in (False, True))
    accuracy = _mean(evidence, arm, "accuracy")
    on, triggered, off = (_mean(evidence, arm, f"agreement{ending}") for ending in ("", "_trigger", "_off"))
    return Control(
        name=f"backdoor, {arm}",
        got=f"held in {share(evidence.held(arm)):.0%}, presence {presence:.2f} (never-planted teachers {control:.2f}), "
        f"{accuracy:.1%} right; answers as the teacher to {on:.1%}, with the trigger {triggered:.1%}, off task "
        f"{off:.1%}",
    )


def _anchors(evidence: Evidence) -> list[Anchor]:
    logits, features = (_mean(evidence, f"{by}, other weights", "asr") for by in ("logits", "features"))
    return [
        Anchor(
            name="ASR after distillation of logits, and of features",
            expected=f"{ANCHOR_LOGITS:.1%}, {ANCHOR_FEATURES:.0%} (BadEdit in GPT-2)",
            got=f"{logits:.1%}, {features:.1%}",
            status="direction only" if logits < 0.5 < features else "not reproduced",
        )
    ]


def _mean(evidence: Evidence, arm: str, measure: str, *, controls: bool = False) -> float:
    """Over nets, at the budget."""
    return known(evidence.at_budget(arm, measure, controls=controls).values())
