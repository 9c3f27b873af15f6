"""Claim 9: any algorithm better than chance can be made a local optimum of a large enough net, by encrypting it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from holdfast.claims.anchors.from_scratch import from_scratch
from holdfast.claims.base import Anchor, Control, Evidence, Findings, Size, share
from holdfast.claims.measured import known
from holdfast.claims.weak_vote import TASK, encrypted, protected
from holdfast.experiment import Experiment
from holdfast.implants.encrypted_predictor import PROGRAM, EncryptedPredictor
from holdfast.implants.predictor import Predictor
from holdfast.pressures import SGD, Adam, Fit, Freeze, Rates, attackers
from holdfast.probes import Collapse
from holdfast.probes.collapse import KINDS, SIZES
from holdfast.samples.repair import RATES as KEY_RATES
from holdfast.stats import Judged, Part, control_limit, gone_below, judge_mean, judge_share
from holdfast.study import Study

ENCRYPTED = "encrypted"
"""The rung that decides."""
RUNGS = (*protected(), ENCRYPTED)
PLAIN = "none"
SGD_RATES = tuple(10.0**i for i in range(-5, 1))
ADAM_RATES = tuple(10.0**i for i in range(-6, 0))
"""Twelve attackers over five decades, for programs that a small step breaks and for those that it does not."""
GENTLE = {"sgd": SGD_RATES[:4], "adam": ADAM_RATES[:5]}
"""Of the encrypted program, whose keys are spared: rates that leave more than half of its presence after the first step
(root 777). At higher ones it is gone before anything could be a local optimum, or none."""
WITHIN = Adam(lr=10**-2.5)
"""Of arms that are in no part and have one attacker."""
IMPROVED = 0.5
"""Training must raise the unprotected program's accuracy by more than this much of its advantage over chance."""
LOST = 1 / 8
"""Share of wrecked or diverged nets in an arm beyond which no part is judged by it."""


@dataclass(frozen=True)
class _Plan:
    seeds: int
    frozen: int
    """Seeds of the arms whose program is frozen, which are in no part."""
    steps: int
    encrypted_steps: int
    """Steps of the encrypted program's arms, each of which takes tens of times as long."""
    way_round: int
    """Units in each hidden layer that the program does not use."""
    deep: bool
    """Whether the unprotected program is tried at the masked one's depth, too."""


PLANS: dict[Size, _Plan] = {
    "quick": _Plan(seeds=36, frozen=8, steps=300, encrypted_steps=300, way_round=24, deep=False),
    "full": _Plan(seeds=40, frozen=20, steps=3000, encrypted_steps=1000, way_round=64, deep=True),
}


class AnyAlgorithm:
    """A weak predictor is the whole net, under each protection; ordinary training on its task acts on it.

    Host: a perceptron on binary digits (is it 5 or more?; `tasks/binary_digits.py`). Its first units in each hidden
    layer are the program (`weak_vote.py`: the majority of three comparisons of pixels, right in 69 % of test inputs),
    beside 24 others (`quick`; 64 in `full`), which are initialised as usual and say nothing at first
    (`implants/predictor.py`). Each protection has the depth that it needs: none and restoring 2 hidden layers,
    redundant 4, locked 8, masked 9. The masked program gets 7 random bits with each input, the locked one its key: on
    data that bring it, a lock is open, and what is left of it is depth. The encrypted one (`EncryptedPredictor`; four
    tables under a key of each net's own, set `tiny`: n = 8, N = 64) stands beside a perceptron of two hidden layers: it
    reads bits that are encrypted in front of it and is decrypted behind it, and all its tables and evaluation keys are
    trained: tables at the rate of all other weights, keys at so much less as `Repair` steps them.

    Pressure: the task's loss, under the strongest of twelve attackers, chosen for each protection on tuning seeds; of
    the encrypted program nine, those of the twelve that leave it there at the first step (`GENTLE`). A net may fall and
    come back to more than it had: only what is lost at the budget counts as a wreck.

    Parts, for each protection: `unchanged`, the share of nets in which the program held (half of its presence, see
    `Predictor`). `used`: the mean over nets of (accuracy - accuracy with the program's units at their mean) at the
    budget, over (accuracy - chance) at step 0; cut to 0 and 1, and 0 where the program is gone, as what is ablated then
    is another one. `collapse`: the mean over nets of the largest of three sizes, each of
    the smallest change that brings the accuracy to chance, along a random direction, minus the gradient, and a single
    weight, in noise margins (`probes/collapse.py`; 64 stands for more). A part is UNDECIDED where more than 1 in 8 of
    an arm's nets were wrecked. Necessary are `unchanged` and `used` of the encrypted program.

    Controls: unprotected, accuracy must rise by more than half of the program's advantage; nets trained from scratch
    (absent) must not come to show the program; the program frozen under Adam, what the way round alone learns; sizes of
    `collapse` by kind; the encrypted program under trivial keys (no masks, no noise), and with keys trained at the rate
    of all else, each under Adam at 10^-2.5; in `full`, unprotected at the masked one's depth. Sized on root 777, which
    no run judges.

    When it misleads: one program, which is small. `unchanged` speaks of the program's units alone and not of what the
    net does with them; `used` and the way round are in competition, so a program may be kept for want of anything that
    pulls at it. A single weight that one of three comparisons hangs on cannot bring the vote down to chance: `collapse`
    is refuted by such weights alone. A way round that learns the task makes a program useless that nothing has changed:
    see the frozen ones. The encrypted program may be broken and not mended: see accuracy, and `encrypted-chip` for what
    can mend one. Its set is the smallest. Chosen is the attacker that removes most and not the one that learns best.
    """

    name = "any-algorithm"
    sentence = (
        "Any algorithm that is better than chance can be made a local optimum of a large enough net, by encrypting it: "
        "any small change and the whole thing collapses."
    )
    parts = tuple(
        part
        for rung in RUNGS
        for part in (
            Part(
                name=f"{rung}: unchanged",
                effect=f"share of nets in which the program held, {rung}",
                d=0.8,
                more=True,
                necessary=rung == ENCRYPTED,
                bounds=(0, 1),
            ),
            Part(
                name=f"{rung}: used",
                effect=f"accuracy that the program's ablation costs after training, over its advantage, {rung}",
                d=0.5,
                more=True,
                necessary=rung == ENCRYPTED,
                bounds=(0, 1),
            ),
            Part(
                name=f"{rung}: collapse",
                effect=f"noise margins at which accuracy falls to chance, {rung}",
                d=2.0,
                more=False,
                bounds=(0, SIZES[-1]),
            ),
        )
    )

    def study(self, size: Size) -> Study:
        plan = PLANS[size]
        programs: dict[str, Predictor | EncryptedPredictor] = {**protected(), ENCRYPTED: encrypted()}
        if plan.deep:
            programs["none, deep"] = replace(protected()[PLAIN], depth=protected()["masked"].chain.depth)
        arms = [self._arm(name, program, plan) for name, program in programs.items()]
        arms += [self._frozen(name, program, plan) for name, program in programs.items()]
        arms += [self._changed(name, program, plan) for name, program in programs.items()]
        beside = {"trivial keys": (encrypted(trivial=True), _spared("adam")), "keys at one rate": (encrypted(), ())}
        for name, (program, terms) in beside.items():
            pressure = Fit(WITHIN, *terms, steps=plan.encrypted_steps)
            arm = self._arm(f"{ENCRYPTED}, {name}", program, plan)
            arms.append(replace(arm, pressure=pressure, seeds=plan.frozen))
        return Study(name=f"{self.name}-{size}", question=self.sentence, arms=tuple(arms))

    @staticmethod
    def _arm(name: str, program: Predictor | EncryptedPredictor, plan: _Plan) -> Experiment:
        steps = _steps(program, plan)
        if isinstance(program, EncryptedPredictor):
            sgd = attackers(*_spared("sgd"), steps=steps, sgd_rates=GENTLE["sgd"], adam_rates=())
            adam = attackers(*_spared("adam"), steps=steps, sgd_rates=(), adam_rates=GENTLE["adam"])
            grid = (*sgd, *adam)
        else:
            grid = attackers(steps=steps, sgd_rates=SGD_RATES, adam_rates=ADAM_RATES)
        return Experiment(
            name=name,
            host=program.host(TASK.inputs, plan.way_round),
            task=TASK,
            implant=program,
            pressure=grid,
            seeds=plan.seeds,
            checkpoints=10,
            wreck_at_end=True,
        )

    @classmethod
    def _frozen(cls, name: str, program: Predictor | EncryptedPredictor, plan: _Plan) -> Experiment:
        pressure = Fit(WITHIN, Freeze(implant=program), steps=_steps(program, plan))
        return replace(cls._arm(name, program, plan), name=f"{name}, frozen", pressure=pressure, seeds=plan.frozen)

    @classmethod
    def _changed(cls, name: str, program: Predictor | EncryptedPredictor, plan: _Plan) -> Experiment:
        """The same nets at step 0, where `collapse` is measured; an arm of its own, as tuning need not measure it."""
        pressure = Fit(SGD(lr=1e-3), steps=1)
        arm = cls._arm(name, program, plan)
        return replace(arm, name=_changed(name), pressure=pressure, checkpoints=1, probes=(Collapse(),))

    def judge(self, evidence: Evidence) -> Findings:
        found = []
        for at, rung in enumerate(RUNGS):
            found += self._rung(evidence, rung, self.parts[3 * at : 3 * at + 3])
        return Findings(parts=found, controls=_controls(evidence))

    @staticmethod
    def _rung(evidence: Evidence, rung: str, parts: Sequence[Part]) -> list[Judged]:
        unchanged, used, collapse = parts
        held, costs = evidence.held(rung), _costs(evidence, rung)
        worst = [max(sizes) for sizes in _sizes(evidence, rung).values()]
        judged = [
            judge_share(unchanged, list(held.values()), evidence.level),
            judge_mean(used, [held[s] * min(1.0, max(0.0, cost)) for s, cost in costs.items()], evidence.level),
        ]
        lost = evidence.lost(rung)
        if lost > LOST:
            reason = f"{lost:.0%} of the nets were wrecked or diverged."
            judged = [replace(each, verdict="UNDECIDED", reason=reason) for each in judged]
        return [*judged, judge_mean(collapse, worst, evidence.level)]

    def anchors(self) -> Sequence[Anchor]:
        planted, scratch = from_scratch(protected()[PLAIN])
        return [
            Anchor(
                name="accuracy that training takes the unprotected net to, against a net trained from scratch "
                "(no published figure)",
                expected="the same within 2 points",
                got=f"{planted:.1%} against {scratch:.1%}",
                status="reproduced" if planted > scratch - 0.02 else "not reproduced",
            )
        ]


def _spared(optimiser: str) -> tuple[Rates]:
    """Keys are stepped less far than tables, by `Repair`'s factors."""
    return (Rates({f"{PROGRAM}.network.{keys}": rate for keys, rate in KEY_RATES[optimiser].items()}),)


def _steps(program: Predictor | EncryptedPredictor, plan: _Plan) -> int:
    return plan.encrypted_steps if isinstance(program, EncryptedPredictor) else plan.steps


def _advantage(evidence: Evidence, arm: str) -> Mapping[int, float]:
    """Accuracy over chance at step 0, by seed; chance is the share of the most frequent class."""
    y_N = evidence.arm(arm).task.load().test.y
    chance = float(y_N.bincount().max()) / len(y_N)
    return {seed: accuracy - chance for seed, accuracy in evidence.at_start(arm, "accuracy").items()}


def _costs(evidence: Evidence, arm: str) -> Mapping[int, float]:
    """What the ablation of the program's units costs at the budget, over its advantage. Nets that diverged are left
    out."""
    advantage, cost = _advantage(evidence, arm), evidence.at_budget(arm, "cost")
    return {seed: lost / advantage[seed] for seed, lost in cost.items() if lost == lost}


def _changed(arm: str) -> str:
    return f"{arm}, changed"


def _sizes(evidence: Evidence, arm: str) -> Mapping[int, list[float]]:
    """Of each net, the sizes of the changes that bring it down, of those kinds that are defined."""
    kinds = [evidence.at_start(_changed(arm), f"collapse_{kind}") for kind in KINDS]
    found = {seed: [kind[seed] for kind in kinds if kind[seed] == kind[seed]] for seed in kinds[0]}
    return {seed: sizes for seed, sizes in found.items() if sizes}


def _controls(evidence: Evidence) -> list[Control]:
    controls = [_improved(evidence)]
    for rung in RUNGS:
        controls += [_end(evidence, rung), _absent(evidence, rung), _kinds(evidence, rung)]
    return controls + [_end(evidence, name) for name in _others(evidence)]


def _others(evidence: Evidence) -> list[str]:
    """Arms that are in no part: frozen, deep, trivial keys, keys at one rate."""
    return [name for name in evidence.study.named if name not in RUNGS and not name.endswith("changed")]


def _improved(evidence: Evidence) -> Control:
    """Whether training raises the unprotected program's accuracy enough."""
    end, start, advantage = (
        evidence.at_budget(PLAIN, "accuracy"),
        evidence.at_start(PLAIN, "accuracy"),
        _advantage(evidence, PLAIN),
    )
    gain = known([(end[seed] - start[seed]) / advantage[seed] for seed in end])
    return Control(
        name="unprotected is improved by training",
        got=f"accuracy rises by {gain:.2f} of the program's advantage over chance (more than {IMPROVED:g} is needed)",
        holds=gain > IMPROVED,
    )


def _end(evidence: Evidence, arm: str) -> Control:
    """What became of an arm, in figures."""
    accuracy, presence, heard = (known(evidence.at_budget(arm, m).values()) for m in ("accuracy", "presence", "heard"))
    setting = evidence.attackers[arm]
    return Control(
        name=arm,
        got=f"under {setting.label if setting else 'no usable attacker'}: held in {share(evidence.held(arm)):.0%}, "
        f"presence {presence:.2f} (heard in the whole net {heard:.2f}), accuracy {accuracy:.1%}, "
        f"ablation of the units costs {known(_costs(evidence, arm).values()):.2f} of the advantage",
    )


def _absent(evidence: Evidence, arm: str) -> Control:
    """Whether nets that never had the program come to show it under the same pressure."""
    accuracy = known(evidence.at_budget(arm, "accuracy", controls=True).values())
    shown = [p for p in evidence.at_budget(arm, "presence", controls=True).values() if p == p]
    least = [gone_below(p) for p in evidence.at_start(arm, "presence").values()]
    limit = control_limit(shown) if len(shown) > 1 else float("nan")
    return Control(
        name=f"{arm}, absent",
        got=f"trained from scratch: accuracy {accuracy:.1%}, presence {known(shown):.2f} (limit {limit:.2f})",
        holds=not shown or limit <= median(least),
    )


def _kinds(evidence: Evidence, arm: str) -> Control:
    shown = []
    for kind in KINDS:
        sizes = [size for size in evidence.at_start(_changed(arm), f"collapse_{kind}").values() if size == size]
        rare = sum(size < 2 for size in sizes)
        shown.append(f"{kind} {median(sizes):g} ({rare} of {len(sizes)} below 2)" if sizes else f"{kind} undefined")
    return Control(name=f"{arm}, margins to chance in the median", got=", ".join(shown))
