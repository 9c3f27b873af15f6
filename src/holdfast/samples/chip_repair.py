"""Chip repair: can training mend one wrong row of an encrypted look-up that runs on a chip in the weights?

Shapes: K nets, one a seed, S selectors, X questions (a selector and a message), E encryptions of each, B examples, R
rows of all tables together, n the key's length, W words of RAM, P all words of ROM.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import filter as matching
from functools import lru_cache, partial
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from holdfast.chip.lookup import (
    LEVELS,
    MESSAGES,
    NOISE,
    SELECTORS,
    TURN,
    Client,
    Lookup,
    N,
    answered,
    asked,
    lookup_system,
    stored,
)
from holdfast.chip.system import bits_of
from holdfast.circuits.passing import EXACT, Passing, passing
from holdfast.errors import UsageError, counted, nearest, number, whole
from holdfast.hosts import MLP
from holdfast.parts import Host, Task
from holdfast.pressures.random_direction import RandomDirection, redirect
from holdfast.pressures.straight_through import KeyAware, StraightThrough
from holdfast.pressures.terms import Term
from holdfast.pressures.zeroth_order import ZerothOrder
from holdfast.samples import mending
from holdfast.tasks import Digits
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

Protection = Literal["plain", "trivial", "encrypted"]
Sharing = Literal["own", "shared"]
Trained = Literal["words", "bits", "everything", "around", "beside"]
Weights = Mapping[str, Tensor]
ROWS = ("masks", "bodies")
"""Of tables: words a and b of each row."""
CORE = ("core.tick.weight", "core.tick.bias")
CODE = ("keys", "bias", "code")
READOUT = ("readout",)
BESIDE = tuple(f"{kind}{layer}" for layer in range(3) for kind in ("weight", "offset"))
GROUPS = {"rows": ROWS, "code": CODE, "core": CORE, "readout": READOUT, "beside": BESIDE}
"""Of `everything`: routes that a repair may take."""
TRAINED = {
    "words": ROWS,
    "bits": ROWS,
    "everything": tuple(name for names in GROUPS.values() for name in names),
    "around": (*ROWS, *READOUT, *BESIDE),
    "beside": BESIDE,
}
WHOLE = ("everything", "around")
"""Where several groups are trained."""
RATES = {"rows": 1.0, "code": 1e-6, "core": 1e-6, "readout": 1e-2, "beside": 0.2}
"""Where several groups are trained, over `lr`: equal rates destroy the answers at the first step. Many weights add up
in the read-out. In the core a 1 that is off by a little is off by more behind each unit that it passes, as these have
weights of 2, so that 34 ticks make an error of 10^-8 one of the size of a bit. `everything` shows just that: its steps
are of this size, and smaller ones are lost in float32."""
WIDTH = 32
LOSSES = ("client", "ciphertext")
CHOSEN_ON, JUDGED_ON = 4, 16
"""Fresh encryptions of each question on which the best look is chosen, and on which it is judged."""
DRAWN = 64
MOST_INPUTS = 1 << 16
TINY = torch.finfo(torch.float64).tiny
AT_ONCE = 512
"""Lanes that run together: as many as leave the rows of their network in a cache."""
QUESTIONS = SELECTORS * MESSAGES


@dataclass(frozen=True, kw_only=True)
class ChipRepair:
    """Of each seed a look-up (`chip/lookup.py`) is drawn, its tables encrypted under a key of its own (LWE, n = 4), and
    the network that is the chip with this program is trained so that the one wrong row becomes right. All ticks are
    run, and gradients pass through all of them. Half of each batch is bad questions. Seeds train side by side.

    Answers are messages of Z_4, that of selector s and message m first[s] (+ second[s mod 4]) + m; the row of one
    selector in the first table is off by 1 or -1. `own`: there is one table, so the wrong row is used by the bad
    questions alone. `shared`: the second table's row is used by wanted questions, too.

    - `protection`: `encrypted`; `trivial`, rows without masks; `plain`, the questions too. All have noise: without it
      sums stand on the edges of carries, where gradients straight through are least right.
    - `trained`: `words`, the rows as numbers of whole turns, which stand in ROM as bits; `bits`, the rows' weights in
      the network, 32 a word; `everything`, these, all other words of ROM and its keys, the core, a linear read-out of
      RAM's bits, and units beside (each at its own rate, `RATES`); `around`, the same without code, keys and core;
      `beside`, the units alone, two layers of `WIDTH`, which read selector and ciphertext and add to the phase.
    - `trainer`: None, exact gradients; `StraightThrough`; of `words` also `KeyAware` (the chip passes gradients as the
      client would add phases), `ZerothOrder` and `RandomDirection`. Of a number only its top bit passes a gradient.
    - `inputs`: encryptions of each question that training draws from; 0: a fresh one each time.
    - `loss`: `client`, 1 - cos 2 pi (phase - wanted), differentiated through decryption; `ciphertext`, the same of each
      word of the answer and of that which a corrected program gives.

    Adam, on gradients that are divided by their net's largest entry (of rows, code, core, read-out and units beside
    apart). From step to step sizes differ by 10^3, as a sum that stands on the edge of a carry passes so much more, and
    Adam alone, which keeps a square for 1,000 steps, stands still after one of those. Looks, score and s as for
    `Repair`.

    Measures: those of `Repair` but `leaked`: `score`, `bad`, `wanted`, `shift`, `best_step`, `solved`, `at_end`,
    `seen_bad` and `seen_wanted`; of the gradient at the start over all questions `blind` and `chance` (by the b part of
    the rows, and the row's edit), `norm` and `still`; of `everything` and `around`, for each group of weights,
    `without_...`: p at the best look where this group is put back to what it was; and `still_...`, the share of it
    whose gradient at the start is exactly 0.

    When it misleads: the row is chosen in the clear, so units beside need not read what is encrypted; n = 4 protects
    nothing. The best look is chosen with the client's help. A trainer that fails, fails at these rates and steps.
    """

    sharing: Sharing = "own"
    protection: Protection = "encrypted"
    trainer: Term | None = None
    trained: Trained = "words"
    lr: float = 0.01
    inputs: int = 0
    loss: Literal["client", "ciphertext"] = "client"
    steps: int = 100
    batch: int = 16

    def __post_init__(self) -> None:
        counted("ChipRepair", steps=self.steps, batch=self.batch)
        number("ChipRepair's lr", self.lr)
        whole("ChipRepair's inputs", self.inputs)
        for field, kind in (("sharing", Sharing), ("protection", Protection), ("trained", Trained)):
            if getattr(self, field) not in get_args(kind):
                raise nearest(str(getattr(self, field)), get_args(kind), what=field)
        if self.loss not in LOSSES:
            raise nearest(str(self.loss), LOSSES, what="loss")
        if not 0 < self.lr < math.inf or not 0 <= self.inputs <= MOST_INPUTS or self.batch % 2:
            raise UsageError(
                f"ChipRepair needs lr above 0, inputs of 0 to {MOST_INPUTS} and an even batch; got lr={self.lr}, "
                f"inputs={self.inputs}, batch={self.batch}."
            )
        if not isinstance(self.trainer, None | StraightThrough | KeyAware | ZerothOrder | RandomDirection):
            raise UsageError(
                f"ChipRepair's trainer is None or one of five terms, see its docstring; got {self.trainer!r}."
            )
        if isinstance(self.trainer, KeyAware | ZerothOrder | RandomDirection) and self.trained != "words":
            raise UsageError(f"{type(self.trainer).__name__} trains words; got trained={self.trained!r}.")
        if isinstance(self.trainer, ZerothOrder) and not matching(ROWS, self.trainer.at):
            raise UsageError(f"No weight that is trained ({', '.join(ROWS)}) matches {self.trainer.at!r}.")
        if self.loss == "ciphertext" and isinstance(self.trainer, KeyAware):
            raise UsageError("KeyAware passes gradients of decrypted phases, and loss='ciphertext' decrypts nothing.")
        if isinstance(self.trainer, StraightThrough) and (self.trained == "beside" or self.trainer.digits != "first"):
            raise UsageError(
                "StraightThrough passes the chip's ticks and a number's first digit: leave `digits` out, and "
                "trained='beside', which passes none."
            )
        if self.loss == "ciphertext" and self.trained in ("beside", *WHOLE):
            raise UsageError(f"loss='ciphertext' is of words and bits: others add to phases; got {self.trained!r}.")

    @property
    def label(self) -> str:
        how = self.trainer.label if self.trainer else "exact"
        return (
            f"chip {self.sharing}, {self.protection}: {how}, {self.trained}, {self.lr:g}, "
            f"{f'{self.inputs} fixed' if self.inputs else 'fresh'}, {self.loss} loss"
        )

    @property
    def together(self) -> int:
        """Seeds that train in one batch."""
        return 8

    @property
    def seconds(self) -> float:
        """About, of one seed among eight on one core: from a few steps, forward and backward."""
        forward, passed = _tick_seconds()
        ticks = Lookup(_levels(self)).ticks
        if isinstance(self.trainer, ZerothOrder):
            each = 2 * self.trainer.pairs * forward
        elif isinstance(self.trainer, RandomDirection):
            each = 0.0
        elif self.trained == "beside":
            each = forward
        else:
            each = passed * (2 if self.trained == "everything" else 1)
        looked = forward * QUESTIONS * (CHOSEN_ON * len(mending.looks_of(self.steps)) + 3 * JUDGED_ON)
        return ticks * (self.steps * self.batch * each + looked)

    @property
    def host(self) -> Host:
        """None of its own that a perceptron could stand for: see `seconds`."""
        return MLP(widths=(64, 10))

    @property
    def task(self) -> Task:
        return Digits()

    def shortened(self) -> "ChipRepair":
        return replace(self, steps=1)

    def measure(self, streams: Streams) -> Mapping[str, float]:
        return self.measure_together([streams], Slot(), lambda _: None)[0]

    def measure_together(
        self, each: Sequence[Streams], slot: Slot, tick: Callable[[int], None]
    ) -> Sequence[Mapping[str, float]]:
        """The measures of several seeds, side by side; each is what it would be alone, but for rounding."""
        return _Repairs(self, each, tick).measures()


def _levels(of: ChipRepair) -> int:
    return 1 if of.sharing == "own" else 2


@lru_cache(maxsize=1)
def _tick_seconds() -> tuple[float, float]:
    """Of a lane among 128 for one tick: forward, and with a gradient through digits."""
    found = []
    each = [Streams(0, seed) for seed in range(8)]
    for trainer in (ZerothOrder(pairs=1, at="bodies"), StraightThrough(damping=2.0**-10)):
        asked_of = ChipRepair(trainer=trainer, steps=1)
        made = _Repairs(asked_of, each, lambda _: None)
        took = []
        for _ in range(2):
            began = time.perf_counter()
            made.step(1)
            took.append(time.perf_counter() - began)
        runs = 2 if isinstance(trainer, ZerothOrder) else 1
        found.append(min(took) / runs / len(each) / asked_of.batch / Lookup(1).ticks)
    return found[0], found[1]


class _Flawed:
    """Tables with one wrong row, and who encrypts them. Of one seed."""

    def __init__(self, of: ChipRepair, streams: Streams) -> None:
        generator = streams.generator("program")
        self.tables = [generator.integers(0, MESSAGES, rows) for rows in LEVELS[: _levels(of)]]
        self.bad = int(generator.integers(SELECTORS))
        self.off = int(generator.choice((1, -1)))
        self.client = Client.drawn(streams.generator("client"), masked=of.protection != "plain")
        self.owner = Client(self.client.key_n, masked=of.protection == "encrypted")

    def ciphertexts(self, generator: np.random.Generator, *, corrected: bool) -> Tensor:
        """Of all rows, (R, n + 1)."""
        found = []
        for level, table in enumerate(self.tables):
            messages = table.copy()
            if not level and not corrected:
                messages[self.bad] += self.off
            found.append(self.owner.encrypt(messages, generator, NOISE / 4))
        return torch.from_numpy(np.concatenate(found))


class _Repairs:
    """The nets of some seeds, their clients, and what is asked of them."""

    def __init__(self, of: ChipRepair, each: Sequence[Streams], tick: Callable[[int], None]) -> None:
        self.of, self.each, self.tick = of, each, tick
        self.lookup = Lookup(_levels(of))
        self.system = lookup_system(self.lookup.levels)
        self.flawed = [_Flawed(of, streams) for streams in each]
        self.key_Kn = torch.from_numpy(np.stack([f.client.key_n for f in self.flawed])).double()
        grid = np.arange(QUESTIONS)
        self.selectors_X, self.messages_X = torch.from_numpy(grid // MESSAGES), grid % MESSAGES
        self.wanted_KX = torch.stack([self._wanted(f) for f in self.flawed])
        self.bad_KX = torch.stack([self.selectors_X == f.bad for f in self.flawed])
        held = [self.lookup.rows(self.system, level) for level in range(self.lookup.levels)]
        self.at = torch.cat([torch.tensor(rows).view(N + 1, -1).T for rows in held])
        """Where in ROM the words of each row stand, (R, n + 1)."""
        planted = [f.ciphertexts(s.generator("rows"), corrected=False) for f, s in zip(self.flawed, each, strict=True)]
        self.start = self._weights(torch.stack(planted))
        self.names = TRAINED[of.trained]
        self.weights = {name: value.clone() for name, value in self.start.items()}
        if of.loss == "ciphertext":
            told = [f.ciphertexts(s.generator("told"), corrected=True) for f, s in zip(self.flawed, each, strict=True)]
            self.teacher = self._weights(torch.stack(told))
        self.looked = mending.Asked(
            self.encrypted("chosen", CHOSEN_ON),
            self.encrypted("judged", JUDGED_ON),
            self.encrypted("pool", of.inputs) if of.inputs else None,
        )
        rates = {name: rate for group, rate in RATES.items() for name in GROUPS[group]}
        several = of.trained in WHOLE
        groups = [{"params": [self.weights[n]], "lr": of.lr * (rates[n] if several else 1.0)} for n in self.names]
        self.optimiser = torch.optim.Adam(groups, lr=of.lr)

    def _wanted(self, of: _Flawed) -> Tensor:
        selectors = self.selectors_X.numpy()
        total = sum(table[selectors % len(table)] for table in of.tables) + self.messages_X
        return torch.from_numpy(total % MESSAGES)

    def _weights(self, rows_KRC: Tensor) -> dict[str, Tensor]:
        """What is trained, as it is at first, with these rows (words); in float64, which holds 32 bits of a number."""
        k, like = len(rows_KRC), self.system.words.double()
        if self.of.trained == "words":
            turns = rows_KRC.double() / TURN
            return {"masks": turns[..., :-1].clone(), "bodies": turns[..., -1].clone()}
        bits = bits_of(rows_KRC, like)
        found = {"masks": bits[..., :-1, :].clone(), "bodies": bits[..., -1, :].clone()}
        if self.of.trained in WHOLE:
            found["readout"] = like.new_zeros(k, (2 + N) * 32)
        if self.of.trained == "everything":
            held = dict(self.system.named_parameters()) | {"code": self.system.words}
            found |= {name: held[name].detach().double().expand(k, *held[name].shape).clone() for name in CODE + CORE}
        if self.of.trained in (*WHOLE, "beside"):
            made = [_beside(streams) for streams in self.each]
            found |= {name: torch.stack([one[name] for one in made]).double() for name in BESIDE}
        return found

    def encrypted(self, stream: str, count: int) -> Tensor:
        """So many encryptions of each question, by each net's client: (K, X, E, n + 1)."""
        messages = np.repeat(self.messages_X[:, None], count, 1)
        found = [f.client.encrypt(messages, s.generator(stream)) for f, s in zip(self.flawed, self.each, strict=True)]
        return torch.from_numpy(np.stack(found))

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Questions (K, B) and their ciphertexts (K, B, n + 1); the first half of a batch is bad."""
        at, rows = [], []
        for k, (f, streams) in enumerate(zip(self.flawed, self.each, strict=True)):
            generator = streams.generator("batch", step)
            mine = mending.half_bad(self.bad_KX[k].numpy(), self.of.batch, generator)
            at.append(torch.from_numpy(mine))
            if self.looked.seen_on is None:
                rows.append(torch.from_numpy(f.client.encrypt(self.messages_X[mine], generator)))
            else:
                which = generator.integers(0, self.of.inputs, len(mine))
                rows.append(self.looked.seen_on[k, at[-1], torch.from_numpy(which)])
        return torch.stack(at), torch.stack(rows)

    def ram_after(self, weights: Weights, ram_KBW32: Tensor) -> Tensor:
        """What the chips leave in RAM, (K, B, W, 32)."""
        words_KP32 = self._rom(weights)
        if "code" in weights:
            names = ("keys", "bias", *CORE)
            each = []
            for k, ram_BW32 in enumerate(ram_KBW32):
                mine = {name: weights[name][k].to(self.system.words.dtype) for name in names}
                mine["words"] = words_KP32[k]
                each.append(functional_call(self.system, mine, (ram_BW32, self.lookup.ticks)))
            return torch.stack(each)
        step = max(1, AT_ONCE // len(ram_KBW32))
        parts = [self.system.run(ram, self.lookup.ticks, words_KP32) for ram in torch.split(ram_KBW32, step, 1)]
        return torch.cat(parts, 1)

    @property
    def _passing(self) -> Passing:
        return self.of.trainer.passing if isinstance(self.of.trainer, StraightThrough) else EXACT

    def _rom(self, weights: Weights) -> Tensor:
        """All words, (K, P, 32)."""
        if "masks" not in weights:
            weights = self.start
        rows = torch.cat([weights["masks"], weights["bodies"].unsqueeze(2)], 2)
        if self.of.trained == "words":
            rows = stored(rows, self.system.words)
        code = weights.get("code", self.system.words.expand(len(rows), -1, -1)).to(self.system.words.dtype)
        return code.index_copy(1, self.at.flatten(), rows.flatten(1, 2).to(code.dtype))

    def answers(self, weights: Weights, at_KB: Tensor, ciphertexts: Tensor) -> tuple[Tensor, Tensor]:
        """Ciphertexts of the answers (K, B, n + 1) in words, and all of RAM."""
        ram_KBW32 = asked(self.selectors_X[at_KB], ciphertexts, self.system.words)
        after = self.ram_after(weights, ram_KBW32)
        return answered(after), after

    def phases(self, weights: Weights, at_KB: Tensor, ciphertexts: Tensor) -> Tensor:
        """(K, B) of the answers, in turns: the client's decryption, and what is added to it."""
        answers, after = self.answers(weights, at_KB, ciphertexts)
        found = (answers[..., -1] - (answers[..., :-1] * self.key_Kn[:, None]).sum(-1)) / TURN
        if isinstance(self.of.trainer, KeyAware):
            mine = weights["bodies"] - (weights["masks"] * self.key_Kn[:, None]).sum(-1)
            first = LEVELS[0]
            used = mine.gather(1, self.selectors_X[at_KB])
            if self.lookup.levels > 1:
                used = used + mine.gather(1, first + self.selectors_X[at_KB] % LEVELS[1])
            found = found.detach() + used - used.detach()
        if "readout" in weights:
            found = found + torch.einsum("kbi,ki->kb", after.flatten(2).double(), weights["readout"])
        if "weight0" in weights:
            found = found + _added(weights, self._read(at_KB, ciphertexts))
        return found

    def _read(self, at_KB: Tensor, ciphertexts: Tensor) -> Tensor:
        """What units beside read: the selector's bits and the ciphertext's numbers, from -1 to 1."""
        bits = self.selectors_X[at_KB][..., None] >> torch.arange(3) & 1
        return 2 * torch.cat([bits.double(), ciphertexts / TURN], -1) - 1

    def shares(self, weights: Weights, ciphertexts: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of bad and of wanted questions that are answered rightly, (K,) each."""
        with torch.no_grad():
            return self._shares(self._of_all(weights, ciphertexts))

    def _of_all(self, weights: Weights, ciphertexts: Tensor) -> Tensor:
        """Phases of all questions in so many encryptions, (K, X, E)."""
        k, _, count, _ = ciphertexts.shape
        at_KB = torch.arange(QUESTIONS).repeat_interleave(count).expand(k, -1)
        return self.phases(weights, at_KB, ciphertexts.flatten(1, 2)).view(k, QUESTIONS, count)

    def _shares(self, phases_KXE: Tensor) -> tuple[Tensor, Tensor]:
        near = torch.floor(phases_KXE * MESSAGES + 0.5) % MESSAGES  # not a number is none of them
        return mending.shares_of(near == self.wanted_KX[..., None], self.bad_KX)

    def losses(self, weights: Weights, at_KB: Tensor, ciphertexts: Tensor) -> Tensor:
        """loss_K."""
        if self.of.loss == "client":
            apart = self.phases(weights, at_KB, ciphertexts) - self.wanted_KX.gather(1, at_KB) / MESSAGES
            return (1 - torch.cos(2 * math.pi * apart)).mean(1)
        with torch.no_grad():
            told = self.answers(self.teacher, at_KB, ciphertexts)[0]
        apart = (self.answers(weights, at_KB, ciphertexts)[0] - told) / TURN
        return (1 - torch.cos(2 * math.pi * apart)).mean((1, 2))

    def _gradients(self, at_KB: Tensor, ciphertexts: Tensor) -> dict[str, Tensor]:
        free = {n: w.detach().requires_grad_(n in self.names) for n, w in self.weights.items()}
        with passing(self._passing), torch.enable_grad():
            loss_K = self.losses(free, at_KB, ciphertexts)
        wanted = [free[n] for n in self.names]
        if not loss_K.requires_grad:
            return {n: torch.zeros_like(w) for n, w in zip(self.names, wanted, strict=True)}
        grads = torch.autograd.grad(loss_K.sum(), wanted, allow_unused=True, materialize_grads=True)
        return dict(zip(self.names, grads, strict=True))

    def step(self, step: int) -> None:
        """One step of the optimiser."""
        trainer, batch = self.of.trainer, self.batch(step)
        if isinstance(trainer, ZerothOrder):
            loss = partial(self.losses, self.weights, *batch)
            found = mending.found_by_runs(trainer, self.weights, self.names, loss, self.each, step)
        elif isinstance(trainer, RandomDirection):
            # Of the exact gradient's norm it would be none: that is 0. Adam takes the norm out.
            found = {name: torch.ones_like(self.weights[name]) for name in self.names}
            for k, streams in enumerate(self.each):
                drawn_k = torch.Generator().manual_seed(streams.torch_seed("direction", step))
                redirect([found[name][k] for name in self.names], drawn_k)
        else:
            found = self._gradients(*batch)
        for names in self.groups.values():
            moved = {n: found[n] for n in names if n in found}
            for name, grad in zip(moved, _scaled(list(moved.values())), strict=True):
                self.weights[name].grad = grad
        self.optimiser.step()

    def _train(self) -> Iterator[int]:
        looks = mending.looks_of(self.of.steps)
        for step in range(1, self.of.steps + 1):
            self.step(step)
            self.tick(len(self.each))
            if step in looks:
                yield step

    def measures(self) -> list[dict[str, float]]:
        found = self._at_start()
        with torch.no_grad():
            phases_KXE = self._of_all(self.start, self.looked.judged_on)
            shift_K = mending.best_shift(lambda turns: self._shares(phases_KXE + turns))
        found |= mending.measures(
            self._train(),
            self.weights,
            self.shares,
            self.looked,
            shift_K,
            lambda bad_K, wanted_K: bad_K * wanted_K > 0.9,
            self._routes if self.of.trained in WHOLE else None,
        )
        return [{name: float(found[name][k]) for name in sorted(found)} for k in range(len(self.each))]

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Those that are trained."""
        return {group: names for group, names in GROUPS.items() if names[0] in self.names}

    def _routes(self, kept: Weights) -> dict[str, Tensor]:
        """p where one group of weights is put back to what it was."""
        found = {}
        for group, names in self.groups.items():
            mixed = {name: self.start[name] if name in names else value for name, value in kept.items()}
            bad_K, wanted_K = self.shares(mixed, self.looked.judged_on)
            found[f"without_{group}"] = bad_K * wanted_K
        return found

    def _at_start(self) -> dict[str, Tensor]:
        """What the gradient at the start tells."""
        at_KB = torch.arange(QUESTIONS).repeat_interleave(CHOSEN_ON).expand(len(self.each), -1)
        grads = self._gradients(at_KB, self.looked.chosen_on.flatten(1, 2))
        every_K = torch.cat([grads[n].flatten(1).double() for n in self.names], 1)
        found = {"norm": every_K.norm(dim=1).clamp_min(TINY).log10(), "still": (every_K == 0).double().mean(1)}
        if self.of.trained in WHOLE:
            for group, names in self.groups.items():
                mine = torch.cat([grads[n].flatten(1) for n in names], 1)
                found[f"still_{group}"] = (mine == 0).double().mean(1)
        if self.of.trained == "words":
            edits = torch.zeros_like(grads["bodies"])
            for k, f in enumerate(self.flawed):
                edits[k, f.bad] = -f.off / MESSAGES
            drawn = [torch.Generator().manual_seed(s.torch_seed("chance")) for s in self.each]
            chance = [torch.randn(DRAWN, edits.shape[1], generator=g, dtype=edits.dtype) for g in drawn]
            (scaled,) = _scaled([grads["bodies"]])
            found["blind"] = torch.cosine_similarity(-scaled.nan_to_num(0, 0, 0), edits, dim=1)
            found["chance"] = torch.stack(
                [torch.cosine_similarity(each, edit, dim=1).mean() for each, edit in zip(chance, edits, strict=True)]
            )
        return found


def _scaled(grads: Sequence[Tensor]) -> list[Tensor]:
    """Each net's by the largest entry of its (K, ...) in all of them; what is no number stays none."""
    most_K = torch.stack([grad.flatten(1).abs().amax(1) for grad in grads]).amax(0)
    most_K = torch.where(most_K == 0, 1.0, most_K)
    return [grad / most_K.view(-1, *[1] * (grad.dim() - 1)) for grad in grads]


def _beside(streams: Streams) -> dict[str, Tensor]:
    """Of one net: layers as PyTorch's `Linear` starts, uniform within 1 / sqrt(what a unit reads), the last one 0."""
    drawn = torch.Generator().manual_seed(streams.torch_seed("weights"))
    sizes, found = (3 + N + 1, WIDTH, WIDTH, 1), {}
    for layer in range(3):
        reads, units = sizes[layer : layer + 2]
        for name, shape in ((f"weight{layer}", (reads, units)), (f"offset{layer}", (1, units))):
            found[name] = (2 * torch.rand(shape, generator=drawn) - 1) / math.sqrt(reads) * (layer < 2)
    return found


def _added(weights: Weights, x_KBI: Tensor) -> Tensor:
    """What units beside add, (K, B), in turns."""
    for layer in range(3):
        x_KBI = torch.baddbmm(weights[f"offset{layer}"], x_KBI, weights[f"weight{layer}"])
        if layer < 2:
            x_KBI = x_KBI.relu()
    return x_KBI[..., 0]
