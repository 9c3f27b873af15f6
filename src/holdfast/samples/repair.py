"""Repair: can training mend one wrong answer of an encrypted program by moving the program's own weights?

Shapes: K nets, one a seed, X inputs of the program, E encryptions of each, B examples, I bits in, n the small key's
length.
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

from holdfast.encrypted import SETS, SecretKey
from holdfast.encrypted.client import Trivial
from holdfast.encrypted.descent import EXACT, Backward, refuse_untrained
from holdfast.encrypted.network import polynomial
from holdfast.encrypted.trained import backward, run, weights_of
from holdfast.errors import UsageError, counted, nearest, number
from holdfast.hosts import MLP
from holdfast.parts import Host, Task
from holdfast.pressures.random_direction import RandomDirection, redirect
from holdfast.pressures.straight_through import KeyAware, StraightThrough
from holdfast.pressures.terms import Term
from holdfast.pressures.zeroth_order import ZerothOrder
from holdfast.samples import mending
from holdfast.samples.flawed import Flawed, Sharing, flawed, structure
from holdfast.tasks import Digits
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

Protection = Literal["plain", "trivial", "encrypted"]
GROUPS = {"tables": ("masks", "bodies"), "all": ("masks", "bodies", "rotation", "switch"), "switch": ("switch",)}
"""What is trained."""
RATES = {
    "adam": {"rotation": 2e-5, "switch": 7e-4},
    "sgd": {"rotation": 1e-6, "switch": 6e-5},
}
"""Of keys, over that of tables: as many digits multiply them that equal rates destroy the network at the first step."""
LOSSES, SOURCES = ("client", "ciphertext"), ("given", "read")
CHOSEN_ON, JUDGED_ON = 8, 32
"""Fresh encryptions of each input on which the best look is chosen, and on which it is judged."""
DRAWN = 64
FORWARD, PASSING, AROUND = 0.7, 1.8, 40
"""Of an exact step: how long a forward run takes, one with a gradient through digits, and all looks together."""
TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Of each seed a program is drawn (`samples/flawed.py`), encrypted under a key of its own, and trained so that its
    one kind of wrong answer becomes right. Half of each batch is bad inputs. All seeds train side by side.

    - `protection`: `encrypted`; `trivial`, evaluation keys and tables without mask and noise; `plain`, the inputs too,
      so that only the tables do anything.
    - `trainer`: None, exact gradients (zero through digits and rounding); `StraightThrough`; `KeyAware`;
      `ZerothOrder` (of what is `trained`, what its `at` names); `RandomDirection` (of the exact gradient's norm).
    - `inputs`: encryptions of each input that training draws from; 0: a fresh one each time.
    - `loss`: `client`, 1 - cos 2 pi (phase - wanted), differentiated through decryption, which hands the trainer the
      small key (`leaked`); `ciphertext`, the same of each number of the answer's ciphertext and of that which the
      corrected program, encrypted anew, gives.

    - `key`: of `KeyAware`: `given`, or `read`: the small key from which columns of the first gradient by the switching
      keys are 0, and with it the ring's key from what these keys encrypt. So no client tells it anything but the loss.

    Of the looks (steps 1, 2, 5, 10, ... `steps`) the one with the best p on fresh ciphertexts is judged on others. p is
    the share of bad answers that became right times that of wanted ones that stayed right; an answer is the nearer of
    the two bits. s is p of the best constant shift of the unrepaired program's output.

    Measures: `score` = (p - s) / (1 - s), -1 at the least; `bad` and `wanted`, the two shares; `shift`, s;
    `best_step`, the chosen look; `solved`, the first look with p > .9 (not a number: none); `at_end`, p at the last
    look; `seen_bad` and `seen_wanted`, on the encryptions of the pool at the look that is best on these. Of the
    gradient at the start, over all inputs: `blind`, the cosine of minus the gradient by the bodies of tables and the
    entry's edit; `chance`, the same of a random direction, the mean of `DRAWN`; `norm`, log10 of its norm by what is
    trained; `still`, the share of trained weights where it is 0; `leaked`, what is told of the small key by which
    columns of the gradient by the switching keys are 0: the share of its ones that are not, less that of its zeros.
    1: all of it, 0: nothing.

    When it misleads: the best look is chosen with the client's help, so trainers are better than they could be alone.
    A trainer that fails here fails at these rates and this budget. Small sets protect nothing: who holds the network
    finds the key by trying all, if they look for it instead of descending.
    """

    sharing: Sharing = "own"
    after: int = 0
    """Levels of tables behind the wrong entry."""
    parameter_set: str = "tiny"
    protection: Protection = "encrypted"
    trainer: Term | None = None
    optimiser: Literal["adam", "sgd"] = "adam"
    lr: float = 0.01
    """Of tables; `RATES` times that for keys."""
    trained: Literal["tables", "all", "switch"] = "tables"
    inputs: int = 0
    loss: Literal["client", "ciphertext"] = "client"
    key: Literal["given", "read"] = "given"
    """Of `KeyAware`: where its keys come from."""
    steps: int = 200
    batch: int = 32

    def __post_init__(self) -> None:
        counted("Repair", steps=self.steps, batch=self.batch)
        number("Repair's lr", self.lr)
        for field, kind in (("sharing", Sharing), ("protection", Protection)):
            if getattr(self, field) not in get_args(kind):
                raise nearest(str(getattr(self, field)), get_args(kind), what=field)
        for field, known in (("optimiser", RATES), ("trained", GROUPS), ("loss", LOSSES), ("key", SOURCES)):
            if getattr(self, field) not in known:
                raise nearest(str(getattr(self, field)), known, what=field)
        if self.parameter_set not in SETS:
            raise nearest(str(self.parameter_set), SETS, what="parameter set")
        refuse_untrained(SETS[self.parameter_set])
        if self.lr <= 0 or self.inputs < 0 or self.batch % 2:
            raise UsageError(
                f"Repair needs lr above 0, inputs of 0 or more and an even batch; got lr={self.lr}, "
                f"inputs={self.inputs}, batch={self.batch}."
            )
        if not isinstance(self.trainer, None | StraightThrough | KeyAware | ZerothOrder | RandomDirection):
            raise UsageError(f"Repair's trainer is None or one of five terms, see its docstring; got {self.trainer!r}.")
        if self.sharing != "shared" and self.after != {"own": 0, "every": 2}[self.sharing]:
            raise UsageError(f"Programs that are {self.sharing!r} have after={0 if self.sharing == 'own' else 2}.")
        if isinstance(self.trainer, ZerothOrder) and not matching(GROUPS[self.trained], self.trainer.at):
            raise UsageError(
                f"No weight that is trained ({', '.join(GROUPS[self.trained])}) matches {self.trainer.at!r}."
            )
        if self.key == "read" and not isinstance(self.trainer, KeyAware):
            raise UsageError("key='read' is of trainer=KeyAware(): no other one uses a key.")
        if self.sharing == "shared" and self.after < 1:
            raise UsageError(f"Programs that are 'shared' have after=1 or more; got {self.after}.")

    @property
    def label(self) -> str:
        how = (self.trainer.label if self.trainer else "exact") + (" read off the loss" if self.key == "read" else "")
        return (
            f"repair {self.sharing}+{self.after}, {self.parameter_set}, {self.protection}: {how}, {self.trained}, "
            f"{self.optimiser} {self.lr:g}, {f'{self.inputs} fixed' if self.inputs else 'fresh'}, {self.loss} loss"
        )

    @property
    def together(self) -> int:
        """Seeds that train in one batch."""
        return 8

    @property
    def seconds(self) -> float:
        """About, of one seed among eight on one core: from a few steps of the smallest."""
        p = SETS[self.parameter_set]
        size = (
            len(structure(self.sharing, self.after).cells)
            * p.n
            * p.degree**2
            / (SETS["tiny"].n * SETS["tiny"].degree ** 2)
        )
        if isinstance(self.trainer, ZerothOrder):
            each = 2 * self.trainer.pairs * FORWARD
        else:
            each = PASSING if isinstance(self.trainer, StraightThrough) else 1.0
        steps = self.steps * each * self.batch / 32
        return _step_seconds() * size * (steps + AROUND)

    @property
    def host(self) -> Host:
        """None of its own that a perceptron could stand for: see `seconds`."""
        return MLP(widths=(64, 10))

    @property
    def task(self) -> Task:
        return Digits()

    def shortened(self) -> "Repair":
        return replace(self, steps=1)

    def measure(self, streams: Streams) -> Mapping[str, float]:
        return self.measure_together([streams], Slot(), lambda _: None)[0]

    def measure_together(
        self, each: Sequence[Streams], slot: Slot, tick: Callable[[int], None]
    ) -> Sequence[Mapping[str, float]]:
        """The measures of several seeds, side by side; each is what it would be alone."""
        return _Repairs(self, each, tick).measures()


@lru_cache(maxsize=1)
def _step_seconds() -> float:
    """Of a net among eight, one exact step on a batch of 32."""
    took = []
    each = [Streams(0, seed) for seed in range(8)]
    for steps in (1, 1, 11):
        began = time.perf_counter()
        Repair(steps=steps).measure_together(each, Slot(), lambda _: None)
        took.append(time.perf_counter() - began)
    return max(took[2] - took[1], 0.0) / 10 / len(each)


class _Repairs:
    """The nets of some seeds, their clients, and what is asked of them."""

    def __init__(self, asked: Repair, each: Sequence[Streams], tick: Callable[[int], None]) -> None:
        self.asked, self.each, self.tick, self.set = asked, each, tick, SETS[asked.parameter_set]
        p, trivial = self.set, _TRIVIAL[asked.protection]
        self.flawed = [flawed(asked.sharing, asked.after, s.generator("program")) for s in each]
        self.keys = [SecretKey(p, s.generator("client"), trivial=trivial) for s in each]
        self.program = self.flawed[0].planted.public
        made = [weights_of(k.network(f.planted)) for k, f in zip(self.keys, self.flawed, strict=True)]
        self.start = {name: torch.stack([weights[name] for weights in made]) for name in made[0]}
        self.weights = {name: value.clone() for name, value in self.start.items()}
        self.names = GROUPS[asked.trained]
        self.wanted_KX = torch.from_numpy(np.stack([f.answers_N for f in self.flawed]))
        self.bad_KX = torch.from_numpy(np.stack([f.bad_N for f in self.flawed]))
        self.bits_XI = torch.from_numpy(self.flawed[0].bits_NI).long()
        self.small_Kn = torch.from_numpy(np.stack([k.small_n for k in self.keys])).double()
        ring_KN = torch.from_numpy(np.stack([k.ring_N for k in self.keys])).double()
        self.known = self.small_Kn, ring_KN
        """The keys that gradients may pass by."""
        chosen_on, judged_on = self.encrypted(CHOSEN_ON), self.encrypted(JUDGED_ON)
        self.looked = mending.Asked(chosen_on, judged_on, self.encrypted(asked.inputs) if asked.inputs else None)
        if asked.loss == "ciphertext":
            corrected = [weights_of(k.network(f.corrected)) for k, f in zip(self.keys, self.flawed, strict=True)]
            # The same evaluation keys, so that a net which is repaired can give these ciphertexts.
            self.teacher = self.start | {n: torch.stack([w[n] for w in corrected]) for n in ("masks", "bodies")}

    @property
    def rule(self) -> Backward:
        trainer = self.asked.trainer
        return trainer.rule if isinstance(trainer, StraightThrough | KeyAware) else EXACT

    def measures(self) -> list[dict[str, float]]:
        found = self._at_start()
        if self.asked.key == "read":
            self.known = self._read()
        with torch.no_grad():
            phases_KXE = self.phases(self.start, self.looked.judged_on)
            shift_K = mending.best_shift(lambda turns: self._shares(phases_KXE + turns))
        found |= mending.measures(
            self._train(),
            self.weights,
            self.shares,
            self.looked,
            shift_K,
            lambda bad_K, wanted_K: bad_K * wanted_K > 0.9,
        )
        return [{name: float(found[name][k]) for name in sorted(found)} for k in range(len(self.each))]

    def encrypted(self, count: int) -> Tensor:
        """So many encryptions of each input, by each net's client: (K, X, E, I, n+1)."""
        bits = self.bits_XI[:, None].expand(-1, count, -1)
        return torch.stack([key.encrypt(bits, self.program.step) for key in self.keys])

    def outputs(self, weights: Mapping[str, Tensor], ciphertexts: Tensor) -> Tensor:
        """(K, ..., I, n+1) -> ciphertexts of the answer, (K, ..., n+1), in ticks."""
        lead = ciphertexts.shape[1:-2]
        flat = ciphertexts.flatten(1, -3)
        found = run(self.program, self.set, weights, flat, self.known)
        return found[:, :, 0].view(len(self.keys), *lead, -1)

    def phases(self, weights: Mapping[str, Tensor], ciphertexts: Tensor) -> Tensor:
        """(K, ...) of the answers, in turns: the client's decryption."""
        return self._decrypted(self.outputs(weights, ciphertexts))

    def _decrypted(self, answers: Tensor) -> Tensor:
        key = self.small_Kn.view(len(self.keys), *[1] * (answers.dim() - 2), -1)
        return (answers[..., -1] - (answers[..., :-1] * key).sum(-1)) / self.set.ciphertext_modulus

    def shares(self, weights: Mapping[str, Tensor], ciphertexts: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of bad and of wanted inputs that are answered rightly, (K,) each."""
        with torch.no_grad():
            return self._shares(self.phases(weights, ciphertexts))

    def _shares(self, phases_KXE: Tensor) -> tuple[Tensor, Tensor]:
        bits = (phases_KXE - 0.125) % 1 < 0.5  # nearer to a quarter than to 0; not a number is neither
        return mending.shares_of((bits == self.wanted_KX[..., None]) & phases_KXE.isfinite(), self.bad_KX)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Ciphertexts (K, B, I, n+1) and the numbers of their inputs (K, B); the first half of a batch is bad."""
        at, rows = [], []
        for k, (streams, key) in enumerate(zip(self.each, self.keys, strict=True)):
            generator = streams.generator("batch", step)
            mine = mending.half_bad(self.bad_KX[k].numpy(), self.asked.batch, generator)
            at.append(torch.from_numpy(mine))
            if self.looked.seen_on is None:
                rows.append(key.encrypt(self.bits_XI[at[-1]], self.program.step))
            else:
                which = generator.integers(0, self.asked.inputs, len(mine))
                rows.append(self.looked.seen_on[k, at[-1], torch.from_numpy(which)])
        return torch.stack(rows), torch.stack(at)

    def losses(self, weights: Mapping[str, Tensor], ciphertexts: Tensor, at_KB: Tensor) -> Tensor:
        """loss_K."""
        answers = self.outputs(weights, ciphertexts)
        if self.asked.loss == "client":
            wanted_KB = self.wanted_KX.gather(1, at_KB) * 0.25
            return (1 - torch.cos(2 * math.pi * (self._decrypted(answers) - wanted_KB))).mean(1)
        with torch.no_grad():
            told = self.outputs(self.teacher, ciphertexts)
        apart = (answers - told) / self.set.ciphertext_modulus
        return (1 - torch.cos(2 * math.pi * apart)).mean((1, 2))

    def _gradients(self, batch: tuple[Tensor, Tensor], names: Sequence[str], rule: Backward) -> dict[str, Tensor]:
        free = {n: w.detach().requires_grad_(n in names) for n, w in self.weights.items()}
        with backward(rule), torch.enable_grad():
            loss_K = self.losses(free, *batch)
        grads = torch.autograd.grad(loss_K.sum(), [free[n] for n in names])
        return dict(zip(names, grads, strict=True))

    def _train(self) -> Iterator[int]:
        """Descend, and stop at the looks."""
        asked, trainer = self.asked, self.asked.trainer
        kind = torch.optim.Adam if asked.optimiser == "adam" else torch.optim.SGD
        groups = [
            {"params": [self.weights[n]], "lr": asked.lr * RATES[asked.optimiser].get(n, 1.0)} for n in self.names
        ]
        optimiser = kind(groups, lr=asked.lr)
        looks = mending.looks_of(asked.steps)
        for step in range(1, asked.steps + 1):
            batch = self.batch(step)
            if isinstance(trainer, ZerothOrder):
                loss = partial(self.losses, self.weights, *batch)
                found = mending.found_by_runs(trainer, self.weights, self.names, loss, self.each, step)
            else:
                found = self._gradients(batch, self.names, self.rule)
            if isinstance(trainer, RandomDirection):
                for k, streams in enumerate(self.each):
                    drawn_k = torch.Generator().manual_seed(streams.torch_seed("direction", step))
                    redirect([found[n][k] for n in self.names], drawn_k)
            for name in self.names:
                self.weights[name].grad = found.get(name, torch.zeros_like(self.weights[name]))
            optimiser.step()
            self.tick(len(self.each))
            if step in looks:
                yield step

    def _first(self, rule: Backward) -> dict[str, Tensor]:
        """The gradient at the start, over the inputs on which looks are chosen."""
        at_KB = torch.arange(len(self.bits_XI)).repeat_interleave(CHOSEN_ON).expand(len(self.each), -1)
        return self._gradients((self.looked.chosen_on.flatten(1, 2), at_KB), GROUPS["all"], rule)

    def _read(self) -> tuple[Tensor, Tensor]:
        """The small key, as the gradient tells it, and the ring's key, as the switching keys encrypt it under that."""
        small_Kn = (self._first(EXACT)["switch"][..., :-1] != 0).flatten(1, 2).any(1).double()
        top = self.start["switch"][:, :, -1]  # z_j / base + error, in turns
        phases_KN = top[..., -1] - (top[..., :-1] * small_Kn[:, None]).sum(-1)
        return small_Kn, (phases_KN * self.set.switch.base).round() % self.set.switch.base

    def _at_start(self) -> dict[str, Tensor]:
        """What the gradient at the start tells."""
        found = self._first(self.rule)
        edits = torch.stack([_edit(key, f) for key, f in zip(self.keys, self.flawed, strict=True)])
        drawn = [torch.Generator().manual_seed(s.torch_seed("chance")) for s in self.each]
        random = [[torch.randn(edits[0].shape, generator=g, dtype=edits.dtype) for g in drawn] for _ in range(DRAWN)]
        mine = [found[name].flatten(1) for name in self.names]
        told_Kn, ones_Kn = (found["switch"][..., :-1] != 0).flatten(1, 2).any(1), self.small_Kn == 1
        return {
            "blind": _cosine(-found["bodies"], edits),
            "chance": torch.stack([_cosine(torch.stack(each), edits) for each in random], 1).mean(1),
            "norm": torch.stack([each.norm().log10() for each in torch.cat(mine, 1)]),
            "still": (torch.cat(mine, 1) == 0).double().mean(1),
            "leaked": torch.stack([_told(*pair) for pair in zip(told_Kn, ones_Kn, strict=True)]),
        }


def _told(told_n: Tensor, ones_n: Tensor) -> Tensor:
    ones, zeros = (told_n[some].double().sum() / some.sum().clamp_min(1) for some in (ones_n, ~ones_n))
    return ones - zeros


_TRIVIAL: dict[Protection, Trivial] = {"plain": "all", "trivial": "keys", "encrypted": "nothing"}


def _edit(key: SecretKey, of: Flawed) -> Tensor:
    """What the bodies of tables (C, N) lack of the corrected program, in turns."""
    p = key.parameter_set
    each = [polynomial(p, c) - polynomial(p, w) for c, w in zip(of.corrected.cells, of.planted.cells, strict=True)]
    return torch.stack(each) / p.modulus


def _cosine(x_KCN: Tensor, y_KCN: Tensor) -> Tensor:
    # Net by net, as a sum over a batch's rows may be taken in another order than over one row. Each by its own largest
    # entry first: gradients that explode have squares beyond any number.
    pairs = ((v / v.abs().max().clamp_min(TINY) for v in (x, y)) for x, y in zip(x_KCN, y_KCN, strict=True))
    return torch.stack([(x * y).sum() / (x.norm() * y.norm()).clamp_min(TINY) for x, y in pairs])
