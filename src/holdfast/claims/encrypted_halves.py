"""The two halves of claim 5: an encrypted program as a circuit, and one that runs on a chip in the weights.

Each half has one wrong answer and everything that might mend it, as arms of a census.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args

from holdfast.claims.base import Size
from holdfast.pressures import KeyAware, RandomDirection, StraightThrough, ZerothOrder
from holdfast.pressures.terms import Term
from holdfast.samples import Bypass, ChipRepair, Repair
from holdfast.samples.bypass import Reads

Sample = Repair | Bypass | ChipRepair
Arms = Mapping[str, Sample]
DAMPED = 2.0**-10
LESS_DAMPED = 2.0**-4
"""On the chip, where signs of gradients are right from here on: plain programs, whose sums lie on the edges of carries,
need more of what passes there."""
LARGEST = 64
"""n of the bypass that is judged."""

KEYLESS: dict[str, Term | None] = {
    "exact": None,
    "raw": StraightThrough(),
    "damped": StraightThrough(damping=DAMPED),
    "normalised": StraightThrough(normalised=True),
}
"""Gradients that need no key."""


@dataclass(frozen=True)
class Half:
    """Arms by what they are for."""

    name: str
    gradients: Arms
    """Of the program's own weights, without the key. The best is judged."""
    searches: Arms
    bypasses: Arms
    blind: Arms
    """One step, for the gradient at the start: one arm for each rule."""
    able: Arms
    """What must be repaired: each part's trainer where nothing is in its way."""
    able_for: Mapping[str, tuple[str, ...]]
    """Of `able`, what must be repaired only where this gradient is judged, as it is of that kind of program and trains
    the same, or this bypass."""
    sighted: Arms
    """One step with the key, whose gradient must be seen to point to the repair."""
    beside: Arms
    """What is shown."""
    seeds: int
    """The first 8 choose what is best, and the others judge it."""
    blind_seeds: int
    """Half choose, half judge."""

    def excused(self, *chosen: str) -> set[str]:
        """Of `able`, what is shown only, where these are judged."""
        needed = {name for each in chosen for name in self.able_for[each]}
        return {name for names in self.able_for.values() for name in names} - needed


def halves(size: Size) -> tuple[Half, Half]:
    """The circuit's and the chip's."""
    return _circuit(size), _chip(size)


def on_plain(bypass: str) -> str:
    """What a bypass on plain inputs is called."""
    return f"{bypass}, plain"


# The circuit's


@dataclass(frozen=True)
class _Plan:
    programs: Mapping[str, Repair]
    """What is to be repaired, by how much wanted and unwanted share."""
    rates: tuple[Mapping[str, object], ...]
    """What is trained, and how fast."""
    seeds: int
    blind: int
    bypass: int
    """Steps of the units beside."""


_RATES = ({"trained": "tables", "lr": 0.01}, {"trained": "all", "lr": 0.001})
_QUICK = {"own": Repair(steps=200), "shared": Repair(sharing="shared", after=1, steps=200)}
PLANS: dict[Size, _Plan] = {
    "quick": _Plan(_QUICK, _RATES[:1], 32, 64, 2000),
    "full": _Plan(_QUICK | {"every": Repair(sharing="every", after=2, steps=200)}, _RATES, 24, 200, 4000),
}
_ABLE: dict[str, dict[str, object]] = {
    "plain": {"protection": "plain", "trainer": StraightThrough(), "lr": 0.001},
    "with the key": {"trainer": KeyAware(), "lr": 0.001},
}


def _circuit(size: Size) -> Half:
    plan = PLANS[size]
    searches = {
        f"{kind}, zeroth order": replace(program, trainer=ZerothOrder(at="bodies"), lr=0.003)
        for kind, program in plan.programs.items()
    }
    bypasses = {f"beside, {reads}": Bypass(n=LARGEST, reads=reads, steps=plan.bypass) for reads in get_args(Reads)}
    of_kinds = {
        kind: {
            f"{kind}, {rule}, {rate['trained']} {rate['lr']:g}": replace(program, trainer=term, **rate)  # type: ignore[arg-type]
            for rule, term in KEYLESS.items()
            for rate in plan.rates
        }
        for kind, program in plan.programs.items()
    }
    able_for = {
        name: tuple(f"{kind}, {how}" for how in _ABLE if kind in _QUICK)
        for kind, arms in of_kinds.items()
        for name in arms
    }
    own = plan.programs["own"]
    return Half(
        name="circuit",
        gradients={name: sample for arms in of_kinds.values() for name, sample in arms.items()},
        searches=searches,
        bypasses=bypasses,
        blind={f"blind, {rule}": replace(own, trainer=t, steps=1) for rule, t in KEYLESS.items()},
        able={
            **{
                f"{kind}, {name}": replace(plan.programs[kind], **how)  # type: ignore[arg-type]
                for kind in plan.programs
                if kind in _QUICK
                for name, how in _ABLE.items()
            },
            "own, plain, zeroth order": replace(searches["own, zeroth order"], protection="plain"),
            **{on_plain(name): replace(units, protection="plain") for name, units in bypasses.items()},
            "beside, periodic, n = 4": replace(bypasses["beside, periodic"], n=4),
        },
        able_for=able_for | {name: (on_plain(name),) for name in bypasses},
        sighted={"blind, with the key": replace(own, trainer=KeyAware(), steps=1)},
        beside=_beside_circuit(plan),
        seeds=plan.seeds,
        blind_seeds=plan.blind,
    )


def _beside_circuit(plan: _Plan) -> Arms:
    found: dict[str, Sample] = {}
    for kind, program in plan.programs.items():
        if kind not in _QUICK:
            found |= {f"{kind}, {name}": replace(program, **how) for name, how in _ABLE.items()}  # type: ignore[arg-type]
        found[f"{kind}, trivial keys"] = replace(program, protection="trivial", trainer=StraightThrough(), lr=0.001)
        for lr in (0.001, 0.01):
            found[f"{kind}, random direction {lr:g}"] = replace(program, trainer=RandomDirection(), lr=lr)
    own = plan.programs["own"]
    found["own, fixed ciphertexts"] = replace(own, trained="switch", inputs=1, lr=0.05)
    found["own, ciphertext loss"] = replace(own, loss="ciphertext", lr=0.003)
    found["own, key read off the loss"] = replace(own, trainer=KeyAware(), key="read", lr=0.001)
    found["own, ciphertext loss, raw"] = replace(own, loss="ciphertext", trainer=StraightThrough(), lr=0.003)
    return found


# The chip's


@dataclass(frozen=True)
class _ChipPlan:
    programs: Mapping[str, ChipRepair]
    trained: tuple[str, ...]
    seeds: int
    blind: int
    bypass: int


_LOOKUPS = {"own": ChipRepair(steps=60), "shared": ChipRepair(sharing="shared", steps=60)}
CHIP_PLANS: dict[Size, _ChipPlan] = {
    "quick": _ChipPlan(_LOOKUPS, ("words", "bits"), 20, 32, 200),
    "full": _ChipPlan(
        {kind: replace(program, steps=200, batch=32) for kind, program in _LOOKUPS.items()},
        ("words", "bits"), 40, 100, 1000,
    ),
}  # fmt: skip
ON_CHIP = KEYLESS | {"less damped": StraightThrough(damping=LESS_DAMPED)}


def _chip(size: Size) -> Half:
    plan = CHIP_PLANS[size]
    own = plan.programs["own"]
    searches: Arms = {
        f"chip: {kind}, zeroth order": replace(program, trainer=ZerothOrder(at="bodies"))
        for kind, program in plan.programs.items()
    }
    units = replace(own, trained="beside", steps=plan.bypass)
    gradients, able, able_for = {}, {}, {}
    for kind, program in plan.programs.items():
        keyed = f"chip: {kind}, with the key"
        able[keyed] = replace(program, trainer=KeyAware())
        for trained in plan.trained:
            plain = f"chip: {kind}, plain, {trained}"
            able[plain] = _damped(program, protection="plain", trained=trained)
            for rule, term in ON_CHIP.items():
                name = f"chip: {kind}, {rule}, {trained}"
                gradients[name] = replace(program, trainer=term, trained=trained)  # type: ignore[arg-type]
                able_for[name] = (keyed, plain)
    return Half(
        name="chip",
        gradients=gradients,
        searches=searches,
        bypasses={"chip: beside": units},
        blind={f"chip: blind, {rule}": replace(own, trainer=term, steps=1) for rule, term in ON_CHIP.items()},
        able={
            **able,
            "chip: own, plain, zeroth order": replace(searches["chip: own, zeroth order"], protection="plain"),
            on_plain("chip: beside"): replace(units, protection="plain"),
        },
        able_for=able_for | {"chip: beside": (on_plain("chip: beside"),)},
        sighted={"chip: blind, with the key": replace(own, trainer=KeyAware(), steps=1)},
        beside={
            **{f"chip: {k}, trivial rows": _damped(p, protection="trivial") for k, p in plan.programs.items()},
            **{f"chip: {k}, random direction": replace(p, trainer=RandomDirection()) for k, p in plan.programs.items()},
            "chip: own, fixed ciphertexts": _damped(own, inputs=1),
            "chip: beside, fixed ciphertexts": replace(units, inputs=1),
            "chip: own, ciphertext loss": _damped(own, loss="ciphertext"),
            "chip: own, everything": _damped(own, trained="everything"),
            "chip: own, all around the core": _damped(own, trained="around"),
            "chip: own, plain, all around the core": _damped(own, protection="plain", trained="around"),
        },
        seeds=plan.seeds,
        blind_seeds=plan.blind,
    )


def _damped(program: ChipRepair, **fields: object) -> ChipRepair:
    return replace(program, trainer=StraightThrough(damping=LESS_DAMPED), **fields)  # type: ignore[arg-type]
