"""Bypass: can trainable units beside an encrypted program learn to mend its wrong answers?

Shapes: K nets, one a seed, S steps, B examples, n the key's length, C = n + 3 columns of an example (`COLUMNS`), W
units of a hidden layer, U periodic units.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from holdfast.encrypted.noise import Noise
from holdfast.encrypted.parameters import SETS
from holdfast.errors import UsageError, counted, nearest, number, whole
from holdfast.hosts import MLP
from holdfast.parts import Host, Task
from holdfast.samples import mending
from holdfast.samples.flawed import CONSTANT
from holdfast.tasks import Digits
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

Reads = Literal["raw", "cos/sin", "periodic"]
Protection = Literal["plain", "encrypted"]
MESSAGES = 8
"""Of three bits. A message m has the phase (m + 1/2) / 16 turns: the middle of its slot in a table's half turn."""
QUARTER = 0.25
"""What an answer of 1 is, in turns."""
COLUMNS = 3
"""Of an example, after a_1 .. a_n: b, the phase of the planted program's output, the phase that is wanted."""
GATE = Noise(SETS["tiny"]).gate
"""Noise of the planted output, in turns: far below what could turn an answer over, in any set."""
UNITS, MIDDLE, SPREAD = 128, 0.5, 0.25
"""Periodic units, and mean and standard deviation of their w at the start. Midway between what a secret holds, 0 and 1:
from there each unit is correlated with the message a little, by prod_i sinc(w_i - s_i); around 0 hardly any is, and
n = 12 was not learnt (tried on other seeds than those judged)."""
LAYERS = 3
FIRST_LOOK = 25
"""Looks are at this step and each doubling of it, and at the last."""
CHOSEN_ON, JUDGED_ON, SEEN_ON = 512, 2048, 512
"""Bad ciphertexts, and as many wanted ones, on which the best look is chosen and is judged; and of the pool."""
SOLVED = 0.95
BLOCK = 32
"""Steps whose batches are drawn at once."""
Rows = NDArray[np.float32]


class Table(NamedTuple):
    """A table of three bits with wrong entries."""

    answers_M: NDArray[np.bool_]
    """What is wanted, by message."""
    bad_M: NDArray[np.bool_]
    """Where the planted program gives the inverse."""


def flawed_table(bad: int, generator: np.random.Generator) -> Table:
    """Draw answers and `bad` wrong entries, uniformly among those for which one answer to everything repairs x keeps
    `CONSTANT` at most (`samples/flawed.py`). There are such tables for 1 and 2 wrong entries."""
    while True:
        answers_M = generator.random(MESSAGES) < 0.5
        bad_M = np.isin(np.arange(MESSAGES), generator.permutation(MESSAGES)[:bad])
        same = [(answers_M[bad_M] == v).mean() * (answers_M[~bad_M] == v).mean() for v in (False, True)]
        if max(same) <= CONSTANT:
            return Table(answers_M, bad_M)


@dataclass(frozen=True, kw_only=True)
class Bypass:
    """Of each seed a table of three bits with `bad` wrong entries is drawn (`flawed_table`), and a secret with n // 2
    ones. The encrypted program is frozen; beside it a net with two hidden layers of `width` ReLU units reads the
    program's input, one LWE ciphertext, and its output is added to the phase of the program's output (in the network:
    to its b). It is trained by Adam to mend the wrong answers; half of each batch is bad. All seeds train side by side.

    An input: a uniform in [0, 1)^n in 2^-24ths, b = <a, s> + (m + 1/2) / 16 + e mod 1, e normal of standard deviation
    `noise`, in turns. The program is not run: the phase of its output is taken to be its answer, 0 or 1/4, plus the
    noise of a gate (normal, `GATE`), which is what its client would decrypt.

    - `reads`, what the net reads: `raw`, 2a - 1 and 2b - 1; `cos/sin`, cos and sin of 2 pi times each of a and b;
      `periodic`, cos and sin of 2 pi (b - <w, a - 1/2>) from `UNITS` units whose w is trained, from N(`MIDDLE`,
      `SPREAD`^2): they know the form of LWE and that secrets are of 0 and 1; one unit with w = s is the decryption.
    - `protection`: `encrypted`; `plain`, a = 0, so that b is the message: the control that has to be learnt.
    - `inputs`: ciphertexts of each message that training draws from, with their output noise; 0: fresh ones each time.

    Loss: 1 - cos 2 pi (phase - wanted), mean over the batch. It is differentiated through the client's decryption, so
    the trainer is told by how much the phase of each output is off, and nothing else of the key.

    Of the looks (steps 25, 50, 100, ... `steps`) the one with the best p on fresh ciphertexts is judged on others. p is
    the share of bad answers that became right times that of wanted ones that stayed right; an answer is the nearer of
    the two bits. s is p of the best constant shift of the unrepaired program's output.

    Measures: `score` = (p - s) / (1 - s), -1 at the least; `bad` and `wanted`, the two shares; `shift`, s; `best_step`,
    the chosen look; `solved`, the first look with both shares above .95 (not a number: none); `at_end`, p at the last
    look; `seen_bad` and `seen_wanted`, on the pool at the look that is best there. (A census keeps `step` and `end` for
    itself.)

    Random streams: `program`, `client` (the secret), `weights`, `pool`, `chosen`, `judged`, `seen`, and `batch` by
    blocks of `BLOCK` steps. Torch's float32; inputs are reduced modulo 1 in float64 before.

    When it misleads: a net that fails here fails at this size, rate and budget; it is no statement about LWE. Nets that
    know the form of LWE (`periodic`) go farther, and descent is a poor way to look for s: who tries all secrets has it
    at n = 8 after 2^8 of them. The best look is chosen with the client's help. Nets that fail may have a p below s,
    because what is descended is 1 - cos and not p. An input here is one ciphertext; three, one for each bit, are three
    times as many numbers.

    Source: the project's own. Networks that are trained to read LWE from its ciphertexts: SALSA (Wenger et al. 2022,
    arXiv 2207.04785).
    """

    n: int = 8
    reads: Reads = "raw"
    inputs: int = 0
    protection: Protection = "encrypted"
    bad: int = 2
    """Wrong entries of 8, 1 or 2."""
    noise: float = 2.0**-10
    """Of input ciphertexts, in turns."""
    steps: int = 4000
    batch: int = 256
    lr: float = 2e-3
    width: int = 128

    def __post_init__(self) -> None:
        counted("Bypass", n=self.n, steps=self.steps, batch=self.batch, width=self.width)
        whole("Bypass's inputs", self.inputs)
        number("Bypass's noise", self.noise)
        number("Bypass's lr", self.lr)
        for field, known in (("reads", Reads), ("protection", Protection)):
            if getattr(self, field) not in get_args(known):
                raise nearest(str(getattr(self, field)), get_args(known), what=field)
        if self.n < 2 or self.inputs < 0 or self.batch % 2 or self.bad not in (1, 2):
            raise UsageError(
                f"Bypass needs n of 2 or more, inputs of 0 or more, an even batch and bad of 1 or 2; got n={self.n}, "
                f"inputs={self.inputs}, batch={self.batch}, bad={self.bad}."
            )
        if self.lr <= 0 or not 0 <= self.noise < 1 / 64:
            raise UsageError(
                f"Bypass needs lr above 0, and noise from 0 to below 1/64 turn, half of what keeps messages apart; got "
                f"lr={self.lr}, noise={self.noise}."
            )

    @property
    def label(self) -> str:
        inputs = f"{self.inputs} fixed" if self.inputs else "fresh"
        return f"bypass {self.reads}, n={self.n}, {self.protection}, {inputs}, {self.bad} bad"

    @property
    def together(self) -> int:
        """Seeds that train in one batch."""
        return 8

    @property
    def host(self) -> Host:
        """For the estimate of time: a perceptron that takes about as long a step."""
        return MLP(widths=(64, self.width, self.width, 10))

    @property
    def task(self) -> Task:
        return Digits()

    def shortened(self) -> "Bypass":
        return replace(self, steps=1)

    def measure(self, streams: Streams) -> Mapping[str, float]:
        return self.measure_together([streams], Slot(), lambda _: None)[0]

    def measure_together(
        self, each: Sequence[Streams], slot: Slot, tick: Callable[[int], None]
    ) -> Sequence[Mapping[str, float]]:
        """The measures of several seeds, side by side; each is what it would be alone."""
        return _Bypasses(self, each, tick).measures()


class _Client:
    """One seed's program, secret and ciphertexts."""

    def __init__(self, asked: Bypass, streams: Streams) -> None:
        self.asked, self.streams = asked, streams
        self.table = flawed_table(asked.bad, streams.generator("program"))
        ones = streams.generator("client").permutation(asked.n)[: asked.n // 2]
        self.secret_n = np.isin(np.arange(asked.n), ones).astype(np.float64)
        pool = np.broadcast_to(np.arange(MESSAGES)[:, None], (MESSAGES, asked.inputs))
        self.pool_MIC = self.encrypted(pool, streams.generator("pool"))

    def encrypted(self, messages: NDArray[np.int64], generator: np.random.Generator) -> Rows:
        """Examples of messages: (...) -> (..., C), in turns."""
        n, shape = self.asked.n, messages.shape
        rows = np.empty((*shape, n + COLUMNS), np.float32)
        phase = (messages + 0.5) / (2 * MESSAGES) + generator.normal(0, self.asked.noise, shape)
        gate = generator.normal(0, GATE, shape)
        if self.asked.protection == "plain":
            rows[..., :n] = 0
        else:
            a = generator.random((*shape, n), np.float32)
            rows[..., :n] = a
            phase += a.astype(np.float64) @ self.secret_n
        wanted = self.table.answers_M[messages]
        rows[..., n] = phase % 1
        rows[..., n + 1] = (wanted ^ self.table.bad_M[messages]) * QUARTER + gate
        rows[..., n + 2] = wanted * QUARTER
        return rows

    def fresh(self, generator: np.random.Generator, *shape: int) -> Rows:
        """(..., B) -> fresh examples (..., B, C), of which the first half is bad."""
        return self.encrypted(self._messages(generator, *shape), generator)

    def fixed(self, generator: np.random.Generator, *shape: int) -> Rows:
        """The same from the pool."""
        messages = self._messages(generator, *shape)
        return self.pool_MIC[messages, generator.integers(0, self.asked.inputs, shape)]

    def block(self, number: int) -> Rows:
        """Batches of `BLOCK` steps, (S, B, C)."""
        draw = self.fixed if self.asked.inputs else self.fresh
        return draw(self.streams.generator("batch", number), BLOCK, self.asked.batch)

    def _messages(self, generator: np.random.Generator, *shape: int) -> NDArray[np.int64]:
        *lead, both = shape
        bad_M = self.table.bad_M
        return np.concatenate([generator.choice(np.flatnonzero(m), (*lead, both // 2)) for m in (bad_M, ~bad_M)], -1)


class _Bypasses:
    """The nets of some seeds, their clients, and what is asked of them."""

    def __init__(self, asked: Bypass, each: Sequence[Streams], tick: Callable[[int], None]) -> None:
        self.asked, self.tick = asked, tick
        self.clients = [_Client(asked, streams) for streams in each]
        made = [self._initial(streams) for streams in each]
        self.weights = {name: torch.stack([one[name] for one in made]) for name in made[0]}
        chosen_on, judged_on = (
            torch.from_numpy(np.stack([c.fresh(c.streams.generator(name), 2 * count) for c in self.clients]))
            for name, count in (("chosen", CHOSEN_ON), ("judged", JUDGED_ON))
        )
        seen_on = None
        if asked.inputs:
            seen = [c.fixed(c.streams.generator("seen"), 2 * SEEN_ON) for c in self.clients]
            seen_on = torch.from_numpy(np.stack(seen))
        self.looked = mending.Asked(chosen_on, judged_on, seen_on)

    def _initial(self, streams: Streams) -> dict[str, Tensor]:
        """Of one net: layers as PyTorch's `Linear` starts, uniform within 1 / sqrt(what a unit reads)."""
        asked, drawn = self.asked, torch.Generator().manual_seed(streams.torch_seed("weights"))
        found = {}
        inputs = {"raw": asked.n + 1, "cos/sin": 2 * (asked.n + 1), "periodic": 2 * UNITS}[asked.reads]
        if asked.reads == "periodic":
            found["w"] = MIDDLE + SPREAD * torch.randn(asked.n, UNITS, generator=drawn)
        sizes = (inputs, asked.width, asked.width, 1)
        for layer in range(LAYERS):
            reads, units = sizes[layer : layer + 2]
            for name, shape in ((f"weight{layer}", (reads, units)), (f"bias{layer}", (1, units))):
                found[name] = (2 * torch.rand(shape, generator=drawn) - 1) / math.sqrt(reads)
        return found

    def measures(self) -> list[dict[str, float]]:
        rows_KBC = self.looked.judged_on
        planted_KB = rows_KBC[..., self.asked.n + 1]
        shift_K = mending.best_shift(lambda turns: self._shares(planted_KB + turns, rows_KBC))
        found = mending.measures(
            self._train(),
            self.weights,
            self.shares,
            self.looked,
            shift_K,
            lambda bad_K, wanted_K: (bad_K > SOLVED) & (wanted_K > SOLVED),
        )
        return [{name: float(found[name][k]) for name in sorted(found)} for k in range(len(self.clients))]

    def phases(self, weights: Mapping[str, Tensor], rows_KBC: Tensor) -> Tensor:
        """Of the outputs with what the nets add, (K, B), in turns."""
        x_KBW = self._read(weights, rows_KBC)
        for layer in range(LAYERS):
            x_KBW = torch.baddbmm(weights[f"bias{layer}"], x_KBW, weights[f"weight{layer}"])
            if layer < LAYERS - 1:
                x_KBW = x_KBW.relu()
        return rows_KBC[..., self.asked.n + 1] + x_KBW[..., 0]

    def _read(self, weights: Mapping[str, Tensor], rows_KBC: Tensor) -> Tensor:
        """What the first layer reads."""
        n = self.asked.n
        if self.asked.reads == "raw":
            return 2 * rows_KBC[..., : n + 1] - 1
        if self.asked.reads == "periodic":
            # a around 0: else each step of w would turn what the unit gives, and what reads it could not follow.
            turns = rows_KBC[..., n : n + 1] - (rows_KBC[..., :n] - 0.5) @ weights["w"]
        else:
            turns = rows_KBC[..., : n + 1]
        angle = 2 * math.pi * turns
        return torch.cat([angle.cos(), angle.sin()], -1)

    @torch.no_grad()
    def shares(self, weights: Mapping[str, Tensor], rows_KBC: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of bad and of wanted inputs that are answered rightly, (K,) each."""
        return self._shares(self.phases(weights, rows_KBC), rows_KBC)

    def _shares(self, phases_KB: Tensor, rows_KBC: Tensor) -> tuple[Tensor, Tensor]:
        ones_KB = (phases_KB - 0.125) % 1 < 0.5  # nearer to a quarter than to 0; not a number is neither
        right_KB = (ones_KB == (rows_KBC[..., -1] > 0)) & phases_KB.isfinite()
        half = right_KB.shape[1] // 2
        return right_KB[:, :half].float().mean(1), right_KB[:, half:].float().mean(1)

    def _train(self) -> Iterator[int]:
        """Descend, and stop at the looks."""
        asked = self.asked
        for value in self.weights.values():
            value.requires_grad_()
        optimiser = torch.optim.Adam(self.weights.values(), lr=asked.lr)
        looks, look = {asked.steps}, FIRST_LOOK
        while look < asked.steps:
            looks.add(look)
            look *= 2
        for step in range(asked.steps):
            if step % BLOCK == 0:
                block_KSBC = torch.from_numpy(np.stack([client.block(step // BLOCK) for client in self.clients]))
            rows_KBC = block_KSBC[:, step % BLOCK]
            apart_KB = self.phases(self.weights, rows_KBC) - rows_KBC[..., -1]
            loss_K = (1 - torch.cos(2 * math.pi * apart_KB)).mean(1)
            optimiser.zero_grad()
            torch.autograd.backward(loss_K.sum())
            optimiser.step()
            self.tick(len(self.clients))
            if step + 1 in looks:
                yield step + 1
