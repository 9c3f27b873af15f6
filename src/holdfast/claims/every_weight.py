"""Claim 4: gradient descent reaches in and adjusts every weight."""

from collections.abc import Sequence
from statistics import fmean

from holdfast.claims.anchors.resister import resister
from holdfast.claims.base import Anchor, Control, Evidence, Findings, Size
from holdfast.experiment import Experiment
from holdfast.hosts import LENET_300_100, MLP
from holdfast.implants import BadNets, Handcrafted, Uchida
from holdfast.parts import Host, Implant, Task
from holdfast.pressures import SGD, Adam, Fit, WeightDecay
from holdfast.probes import Unmoved
from holdfast.stats import Part, judge_mean
from holdfast.study import Study
from holdfast.tasks import Digits, FashionMNIST

IMPLANTS: dict[str, Implant] = {
    "BadNets": BadNets(),
    "handcrafted": Handcrafted(),
    "bits": Uchida(),
}
OPTIMISERS = {"SGD": SGD(lr=0.1), "Adam": Adam(lr=1e-3)}
DECIDES = "SGD"
"""Without decay. The other optimiser, and decay, stand beside it."""
WORKS = 0.5
"""A positive control: under decay more of a learned implant's weights than this must have moved."""


class EveryWeight:
    """Of the weights that training could reach, how many never moved?

    Host: a perceptron, trained on digits (`quick`: 64-64-10, 1,000 steps; `full`: LeNet-300-100 on Fashion-MNIST, 2,000
    steps). Pressure: fine-tuning on clean data. Within reach is a weight whose input varies over the training data and
    whose output has a path to the logits (`probes/unmoved.py`); unmoved is what is, to the bit, as at step 0.

    Parts: that share at the budget under SGD without decay, in the never-planted net (`host`), and among the weights of
    each kind of implant. Controls: the same under Adam; under decay, which moves weights without gradient (the check:
    more than half of an implant's must have moved); the share of the implant's weights with a gradient of exactly zero.

    When it misleads: a weight *into* a unit that is always off counts as within reach, since what it reads varies and
    its unit is heard; its gradient is exactly 0 all the same. So `host` is, but for rounding, the share of such
    weights.
    """

    name = "every-weight"
    sentence = "Gradient descent reaches in and adjusts every weight."
    parts = (
        Part(
            name="host",
            effect="share of the host's weights that never moved",
            d=0.01,
            more=False,
            necessary=True,
            bounds=(0, 1),
        ),
        *(
            Part(
                name=name, effect=f"share of the weights of {name} that never moved", d=0.01, more=False, bounds=(0, 1)
            )
            for name in IMPLANTS
        ),
    )

    def study(self, size: Size) -> Study:
        arms = []
        for name, implant in IMPLANTS.items():
            for optimiser in OPTIMISERS:
                for decay in (0.0, 0.1) if optimiser == DECIDES else (0.0,):
                    arms.append(self._arm(size, name, implant, optimiser, decay))
        return Study(name=f"{self.name}-{size}", question=self.sentence, arms=tuple(arms))

    @staticmethod
    def _arm(size: Size, name: str, implant: Implant, optimiser: str, decay: float) -> Experiment:
        host: Host = MLP(widths=(64, 64, 10)) if size == "quick" else LENET_300_100
        task: Task = Digits() if size == "quick" else FashionMNIST()
        terms = (OPTIMISERS[optimiser], *((WeightDecay(rate=decay),) if decay else ()))
        return Experiment(
            name=f"{name} / {optimiser}" + (", decay" if decay else ""),
            host=host,
            task=task,
            implant=implant,
            training=Fit(Adam(lr=3e-3 if size == "quick" else 1e-3), steps=600 if size == "quick" else 1500),
            pressure=Fit(*terms, steps=1000 if size == "quick" else 2000),
            seeds=20,
            checkpoints=10,
            probes=(Unmoved(),),
        )

    def judge(self, evidence: Evidence) -> Findings:
        host, *kinds = self.parts
        first = f"{next(iter(IMPLANTS))} / {DECIDES}"
        found = [judge_mean(host, list(evidence.at_budget(first, "unmoved", controls=True).values()), evidence.level)]
        for part in kinds:
            shares = evidence.at_budget(f"{part.name} / {DECIDES}", "unmoved_implant")
            found.append(judge_mean(part, list(shares.values()), evidence.level))
        controls = []
        for arm in evidence.study.named:
            moved = 1 - _mean(evidence.at_budget(arm, "unmoved_implant").values())
            zero = _mean(evidence.at_start(arm, "gradient_zero").values())
            whole = 1 - _mean(evidence.at_budget(arm, "unmoved", controls=True).values())
            controls.append(
                Control(
                    name=arm,
                    got=f"moved: {moved:.1%} of the implant's weights within reach, {whole:.1%} of the never-planted "
                    f"net's; gradient exactly 0 on {zero:.1%} of the implant's weights at step 0",
                    holds=not (arm.endswith("decay") and moved < WORKS),
                )
            )
        return Findings(parts=found, controls=controls)

    def anchors(self) -> Sequence[Anchor]:
        gradient, dead, fresh = resister()
        works = gradient == 0 and dead > 10 * fresh
        return [
            Anchor(
                name="a net whose last hidden layer is off, trained from f = 1 to sin(10 x)",
                expected="hidden gradients exactly 0; error .573 after 3,000 steps against .040 for a fresh net "
                "(the published one was meta-learned)",
                got=f"largest hidden gradient {gradient:g}; error {dead:.3f} against {fresh:.3f}",
                status="direction only" if works else "not reproduced",
            )
        ]


def _mean(values) -> float:  # type: ignore[no-untyped-def]
    finite = [value for value in values if value == value]
    return fmean(finite) if finite else float("nan")
