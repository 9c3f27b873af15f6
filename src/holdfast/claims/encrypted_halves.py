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
    """What must be repaired: each part's trainer where nothing is in its way. Of gradients only programs of the kind on
    which they are judged must be, plain ones and encrypted ones with the key; of bypasses on plain inputs only the one
    that is judged."""
    beside: Arms
    """What is shown."""
    seeds: int
    """The first 8 choose what is best, and the others judge it."""
    blind_seeds: int
    """Half choose, half judge."""
    kinds: tuple[str, ...]
    """What arms of a kind of program are called, before the comma."""

    def excused(self, gradient: str, bypass: str) -> set[str]:
        """Of `able`, what is shown only, where these two are judged."""
        others = [kind for kind in self.kinds if not gradient.startswith(f"{kind},")]
        found = {f"{kind}, {how}" for kind in others for how in ("plain", "with the key")}
        return found | {on_plain(name) for name in self.bypasses if name != bypass}


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
    return Half(
        name="circuit",
        gradients={
            f"{kind}, {rule}, {rate['trained']} {rate['lr']:g}": replace(program, trainer=term, **rate)  # type: ignore[arg-type]
            for kind, program in plan.programs.items()
            for rule, term in KEYLESS.items()
            for rate in plan.rates
        },
        searches=searches,
        bypasses=bypasses,
        blind={f"blind, {rule}": replace(plan.programs["own"], trainer=t, steps=1) for rule, t in KEYLESS.items()},
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
        beside=_beside_circuit(plan),
        seeds=plan.seeds,
        blind_seeds=plan.blind,
        kinds=tuple(plan.programs),
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
    plain = {"protection": "plain", "trainer": StraightThrough(damping=LESS_DAMPED)}
    return Half(
        name="chip",
        gradients={
            f"chip: {kind}, {rule}, {trained}": replace(program, trainer=term, trained=trained)  # type: ignore[arg-type]
            for kind, program in plan.programs.items()
            for rule, term in ON_CHIP.items()
            for trained in plan.trained
        },
        searches=searches,
        bypasses={"chip: beside": units},
        blind={f"chip: blind, {rule}": replace(own, trainer=term, steps=1) for rule, term in ON_CHIP.items()},
        able={
            **{f"chip: {kind}, plain": replace(program, **plain) for kind, program in plan.programs.items()},  # type: ignore[arg-type]
            **{f"chip: {k}, with the key": replace(p, trainer=KeyAware()) for k, p in plan.programs.items()},
            "chip: own, plain, zeroth order": replace(searches["chip: own, zeroth order"], protection="plain"),
            on_plain("chip: beside"): replace(units, protection="plain"),
        },
        beside={
            **{f"chip: {k}, trivial rows": _damped(p, protection="trivial") for k, p in plan.programs.items()},
            **{f"chip: {k}, random direction": replace(p, trainer=RandomDirection()) for k, p in plan.programs.items()},
            "chip: own, fixed ciphertexts": _damped(own, inputs=1),
            "chip: beside, fixed ciphertexts": replace(units, inputs=1),
            "chip: own, ciphertext loss": _damped(own, loss="ciphertext"),
            "chip: own, plain, bits": _damped(own, protection="plain", trained="bits"),
            "chip: own, everything": _damped(own, trained="everything"),
            "chip: own, all around the core": _damped(own, trained="around"),
            "chip: own, plain, all around the core": _damped(own, protection="plain", trained="around"),
        },
        seeds=plan.seeds,
        blind_seeds=plan.blind,
        kinds=tuple(f"chip: {kind}" for kind in plan.programs),
    )


def _damped(program: ChipRepair, **fields: object) -> ChipRepair:
    return replace(program, trainer=StraightThrough(damping=LESS_DAMPED), **fields)  # type: ignore[arg-type]
