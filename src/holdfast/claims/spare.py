"""Claim 1: a large net has a lot of spare neurons; part of it would be left blank."""

from collections.abc import Sequence

import numpy as np

from holdfast.census import Census
from holdfast.claims.base import Anchor, Control, Curve, Evidence, Findings, Size
from holdfast.claims.measured import Values, band, learned, size_of, values
from holdfast.hosts import LENET_300_100, MLP
from holdfast.pressures import Adam, Fit
from holdfast.samples import SpareUnits, Tickets
from holdfast.stats import Part, judge_mean
from holdfast.study import Study
from holdfast.tasks import Digits, FashionMNIST

WITHIN = 0.5
"""Points of accuracy that may be lost."""
ANCHOR = 0.036
"""Frankle & Carbin 2019: share of LeNet-300-100's weights with which a ticket is as accurate as the dense net."""

HOSTS: dict[Size, tuple[MLP, ...]] = {
    "quick": tuple(MLP(widths=(64, width, 10)) for width in (32, 64, 128, 256)),
    "full": tuple(MLP(widths=(784, 3 * width, width, 10)) for width in (25, 50, 100, 200)),
}
"""Each twice as wide as the one before."""
JUDGED: dict[Size, MLP] = {"quick": HOSTS["quick"][-1], "full": LENET_300_100}
TRAININGS: dict[Size, Fit] = {
    "quick": Fit(Adam(lr=3e-3), steps=1000, batch=60),
    "full": Fit(Adam(lr=1.2e-3), steps=5000, batch=60),
}
TICKETS: dict[Size, Tickets] = {
    "quick": Tickets(
        host=MLP(widths=(64, 64, 10)), task=Digits(), training=Fit(Adam(lr=3e-3), steps=1500, batch=60), rounds=12,
        arms=("ticket",), every=25,
    ),
    "full": Tickets(
        host=LENET_300_100, task=FashionMNIST(), training=Fit(Adam(lr=1.2e-3), steps=6000, batch=60), rounds=15,
        arms=("ticket",), every=200, examples=2000,
    ),
}  # fmt: skip
SEEDS: dict[Size, int] = {"quick": 20, "full": 10}


class Spare:
    """How much of a trained net can be taken out, by units and by weights?

    Host: perceptrons on digits (`quick`: 64-w-10, w = 32 to 256; 1,000 steps) or Fashion-MNIST (`full`: 784-3w-w-10,
    w = 25 to 200, LeNet-300-100 among them; 5,000 steps), trained by Adam.

    Parts, over seeds: `blank`, the share of hidden units of the net (`quick`: the widest; `full`: LeNet-300-100) that
    can give their mean, all at once and without training, at half a point of test accuracy (`SpareUnits`). `grows`: the
    slope of that share along log2 of the width, by least squares over the four widths of a seed. `weights`: the share
    of weights that iterative magnitude pruning with rewinding has removed before a round loses more than half a point
    of test accuracy (`Tickets`; `quick`: 64-64-10).

    Controls: units ablated in random order, which must not spare more than the order by effect does, or else INVALID
    (by the interval of the difference, seed by seed); nets trained on permuted labels (accuracy there is that on the
    training data); nets that were not trained. INVALID where the nets have not learned the task.

    When it misleads: a unit that gives its mean is not blank if the mean is needed. The order is greedy, so `blank` is
    a lower bound. How much is spare depends on how easy the task is for a net of that size: on a harder one less is.
    """

    name = "spare"
    sentence = "A large net has a lot of spare neurons; part of it would be left blank."
    parts: tuple[Part, ...] = (
        Part(
            name="blank",
            effect="share of hidden units that can give their mean at half a point of accuracy",
            d=0.25,
            more=True,
            necessary=True,
            bounds=(0, 1),
        ),
        Part(name="grows", effect="how much that share grows with each doubling of the width", d=0.02, more=True),
        Part(
            name="weights",
            effect="share of weights that pruning with rewinding removes at half a point of accuracy",
            d=0.5,
            more=True,
            bounds=(0, 1),
        ),
    )

    def study(self, size: Size) -> Study:
        task = Digits() if size == "quick" else FashionMNIST()
        each = [SpareUnits(host=host, task=task, training=TRAININGS[size], within=WITHIN) for host in HOSTS[size]]
        censuses = [
            *(Census(name=sample.host.label, sample=sample, seeds=SEEDS[size]) for sample in each),
            Census(name="weights", sample=TICKETS[size], seeds=SEEDS[size]),
        ]
        for labels in ("random", "none"):
            control = SpareUnits(host=JUDGED[size], task=task, training=TRAININGS[size], within=WITHIN, labels=labels)
            censuses.append(Census(name=control.label, sample=control, seeds=max(4, SEEDS[size] // 2)))
        return Study(name=f"{self.name}-{size}", question=self.sentence, censuses=tuple(censuses))

    def judge(self, evidence: Evidence) -> Findings:
        size = size_of(evidence)
        blank, grows, weights = self.parts
        shares = [values(evidence, host.label, "share") for host in HOSTS[size]]
        judged = JUDGED[size].label
        removed, curve = _removed(evidence)
        doublings = np.arange(len(shares)) - (len(shares) - 1) / 2
        slopes = doublings @ np.stack(shares) / (doublings @ doublings)
        found = [
            judge_mean(blank, list(values(evidence, judged, "share")), evidence.level),
            judge_mean(grows, list(slopes), evidence.level),
            judge_mean(weights, list(removed), evidence.level),
        ]
        return Findings(
            parts=found,
            controls=_controls(evidence, size),
            anchors=[_anchor(evidence)],
            curves=[_widths(evidence, size), curve],
        )

    def anchors(self) -> Sequence[Anchor]:
        return ()


def _rounds(evidence: Evidence) -> range:
    sample = evidence.study.census("weights").sample
    assert isinstance(sample, Tickets)
    return range(1, sample.rounds + 1)


def _lost(evidence: Evidence, at: int) -> Values:
    """Points of accuracy that the tickets of a round lack."""
    dense, ticket = (values(evidence, "weights", f"{name}/accuracy") for name in ("dense/0", f"ticket/{at}"))
    return 100 * (dense - ticket)


def _removed(evidence: Evidence) -> tuple[Values, Curve]:
    """The share removed before a round loses more than the limit, by seed; and how much is lost at each."""
    rounds = _rounds(evidence)
    kept = {at: values(evidence, "weights", f"kept/{at}") for at in rounds}
    good = np.stack([_lost(evidence, at) <= WITHIN + 1e-9 for at in rounds])
    until = np.logical_and.accumulate(good)  # no round counts behind one that has lost more
    points = [(100 * float(kept[at].mean()), *band(-_lost(evidence, at))) for at in reversed(rounds)]
    curve = Curve(
        name="tickets against the dense net", x="weights left, %", y="points of accuracy", lines={"ticket": points},
        ratio=True,
    )  # fmt: skip
    removed: Values = np.max(until * np.stack([1 - kept[at] for at in rounds]), axis=0)
    return removed, curve


def _widths(evidence: Evidence, size: Size) -> Curve:
    lines = {}
    for label, measure in (("by effect", "share"), ("at random", "share_random")):
        lines[label] = [
            (float(values(evidence, host.label, "units")[0]), *band(100 * values(evidence, host.label, measure)))
            for host in HOSTS[size]
        ]
    return Curve(name="units that could go", x="hidden units", y="%", lines=lines, ratio=True)


def _controls(evidence: Evidence, size: Size) -> list[Control]:
    judged = JUDGED[size].label
    share, at_random = (values(evidence, judged, measure) for measure in ("share", "share_random"))
    more, low, high = band(share - at_random)
    found = [
        learned("the nets have learned the task", evidence, values(evidence, judged, "accuracy")),
        Control(
            name="units in random order",
            got=f"{at_random.mean():.1%} could go, {share.mean():.1%} in the order of their effects: "
            f"{100 * more:.1f} points more ({100 * low:.1f} to {100 * high:.1f})",
            holds=high > 0,
        ),
    ]
    for census in evidence.study.censuses:
        if isinstance(census.sample, SpareUnits) and census.sample.labels != "true":
            right, could = (float(values(evidence, census.title, m).mean()) for m in ("accuracy", "share"))
            found.append(Control(name=census.title, got=f"{could:.1%} could go, of nets that are {right:.1%} right"))
    return found


def _anchor(evidence: Evidence) -> Anchor:
    """The fewest weights with which tickets are, on average, as accurate as dense nets."""
    back = [at for at in _rounds(evidence) if _lost(evidence, at).mean() <= 0]
    least = float(values(evidence, "weights", f"kept/{back[-1]}").mean()) if back else 1.0
    return Anchor(
        name="fewest weights with which tickets are as accurate as the dense net",
        expected=f"{ANCHOR:.1%} (LeNet-300-100 on MNIST)",
        got=f"{least:.1%}",
        status="direction only" if least < 1 else "not reproduced",
    )
