"""An encrypted program that is the whole network at first, beside units that it does not use.

Shapes: K nets, N examples, I inputs, C = 2 classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from holdfast.circuits.netlist import Netlist
from holdfast.encrypted import SETS, SecretKey, program_of
from holdfast.encrypted.enclosed import CLIENT, Enclosed, enclosed, noise_of
from holdfast.encrypted.program import Program
from holdfast.encrypted.trained import NAMES, TrainedNetwork
from holdfast.errors import UsageError
from holdfast.hosts.mlp import MLP
from holdfast.implants.predictor import answers_of, by_class, excess, log_odds
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site

PROGRAM, WAY, READ = "program", "way", "read"
"""Names of the parts of a network."""


@dataclass(frozen=True, kw_only=True)
class WithProgram:
    """A network that adds what an encrypted program says to the logits of a perceptron, the *way round*."""

    program: Program
    """The public one."""
    entries: tuple[int, ...]
    """Of each input bit of the program, the number of the input that it reads."""
    parameter_set: str
    way: MLP

    @property
    def label(self) -> str:
        return f"{self.way.label} beside {self.program.name}, {self.parameter_set}"

    def build(self) -> nn.Module:
        """The way round initialised as a perceptron is; the program's weights and its client's keys are all 0."""
        return _WithProgram(self)

    def forward(
        self, params: Mapping[str, Tensor], x_KBI: Tensor, drop: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """logits_KBC of K networks at once."""
        way_KBC = self.way.forward(_of(params, WAY), x_KBI, drop)
        return way_KBC + self.read(params, self.says(params, x_KBI))

    def says(self, params: Mapping[str, Tensor], x_KBI: Tensor) -> Tensor:
        """What the program puts out for each example, (K, B): 0 or 1 where it is whole."""
        x_KBI = x_KBI.flatten(2)
        held, client = _of(params, f"{PROGRAM}.network"), _of(params, PROGRAM)
        bits_KBI, noise_KB = x_KBI[..., list(self.entries)], torch.stack([noise_of(x_BI) for x_BI in x_KBI])
        weights, keys = {n: held[n] for n in NAMES}, {n: client[n] for n in CLIENT}
        return enclosed(self.program, SETS[self.parameter_set], weights, keys, bits_KBI, noise_KB)[..., 0]

    def read(self, params: Mapping[str, Tensor], says_KB: Tensor) -> Tensor:
        """What that adds to the logits, (K, B, C)."""
        weight_KC, bias_KC = params[f"{READ}.weight"][..., 0], params[f"{READ}.bias"]
        return says_KB[..., None] * weight_KC[:, None] + bias_KC[:, None]


class _WithProgram(nn.Module):
    def __init__(self, host: WithProgram) -> None:
        super().__init__()
        self.host = host
        self.way, self.read = host.way.build(), nn.Linear(1, host.way.widths[-1])
        self.program = Enclosed(TrainedNetwork(host.program, SETS[host.parameter_set]))

    def forward(self, x_BI: Tensor) -> Tensor:
        params = {name: value[None] for name, value in (*self.named_parameters(), *self.named_buffers())}
        return self.host.forward(params, x_BI[None])[0]


@dataclass(frozen=True, kw_only=True)
class EncryptedPredictor:
    """`Predictor` with its program encrypted: a Boolean program that answers a question of two classes, on ciphertexts.

    The network is a `WithProgram`: bits of the input are encrypted, the program computes on ciphertexts in encrypted
    tables of `tables` bits, its answer is decrypted and read linearly, and beside it stands a perceptron that is
    initialised as usual and whose last layer is 0 at first. The read-out is the best there is of the answer, as in
    `Predictor`, so at step 0 the net answers as the program does. All is trained: tables, evaluation keys (numbers of
    turns, at the rate of all other weights), the read-out, the way round.

    *Presence*: (agreement of the program's decrypted answer with the program's, less chance) / (1 - chance), at least
    0; chance is the best that can be had by the true class alone. Measures as in `Predictor`: `agreement`; `ablated`,
    the accuracy with the answer replaced by its mean; `cost`, accuracy minus that. The control is the way round alone,
    as it is initialised.

    When it misleads: `trivial` keys are a control (see `SecretKey`). Equal rates for keys and for all other weights
    destroy the program at the first step that reaches them; that is a program which training did not leave unchanged,
    and no repair.
    """

    netlist: Netlist
    entries: tuple[int, ...]
    """Of each input bit of the program, port after port, the number of the input that it reads."""
    parameter_set: str = "tiny"
    tables: int = 3
    trivial: bool = False

    def __post_init__(self) -> None:
        bits = len(self.netlist.input_bits)
        if len(self.entries) != bits or len(self.netlist.output_bits) != 1:
            raise UsageError(
                f"An encrypted predictor reads one input a bit and answers with one bit; {self.netlist.name} has "
                f"{bits} bits in and {len(self.netlist.output_bits)} out, and got {len(self.entries)} entries."
            )

    @property
    def label(self) -> str:
        return (
            f"predictor {self.netlist.name} encrypted, {self.parameter_set}{', trivial keys' if self.trivial else ''}"
        )

    @property
    def costs_at_most(self) -> float | None:
        return None

    @property
    def has_control(self) -> bool:
        return True

    def host(self, inputs: int, way_round: int) -> WithProgram:
        """A network that holds the program, beside two hidden layers of so many units."""
        return WithProgram(
            program=_program(self).public,
            entries=self.entries,
            parameter_set=self.parameter_set,
            way=MLP(widths=(inputs, way_round, way_round, 2)),
        )

    def plant(self, site: Site) -> Nets:
        """The host as it is initialised, with the program in it, under a key of each net's own (stream `client`)."""
        nets = self.control(site)
        for k, streams in enumerate(site.streams):
            key = SecretKey(
                SETS[self.parameter_set],
                streams.generator("client"),
                trivial="keys" if self.trivial else "nothing",
            )
            made = Enclosed(network := TrainedNetwork.of(key.network(_program(self))))
            made.hold(key, network)
            for name, value in made.state_dict().items():
                held = nets.params if f"{PROGRAM}.{name}" in nets.params else nets.buffers
                held[f"{PROGRAM}.{name}"][k].copy_(value)
        self._write_read_out(nets, site.data.train)
        return nets

    def control(self, site: Site) -> Nets:
        nets = site.started()
        last = _host(nets).way.layers[-1]
        for name in (f"{READ}.weight", f"{READ}.bias", f"{WAY}.{last}.weight", f"{WAY}.{last}.bias"):
            nets.params[name].zero_()
        return nets

    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        return {}

    def answers(self, split: Split) -> Tensor:
        """answers_N of the program itself, by the simulator."""
        return answers_of(self.netlist, self.entries, split)

    @torch.no_grad()
    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """presence, agreement, ablated and cost of each net."""
        host, x_KNI, answers_N = _host(nets), nets.shared(split.x), self.answers(split)
        params = {**nets.params, **nets.buffers}
        says_KN, way_KNC = host.says(params, x_KNI), host.way.forward(_of(params, WAY), x_KNI)
        mean_KN = says_KN.mean(1, keepdim=True).expand_as(says_KN)
        accuracy_K, ablated_K = (
            ((way_KNC + host.read(params, each)).argmax(-1) == split.y).double().mean(1) for each in (says_KN, mean_KN)
        )
        agreement_K = ((says_KN > 0.5) == answers_N).double().mean(1)
        return {
            "presence": excess(agreement_K, by_class(answers_N, split.y)),
            "agreement": agreement_K,
            "ablated": ablated_K,
            "cost": accuracy_K - ablated_K,
        }

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """The program's weights that are not 0, and its read-out."""
        inside = tuple(f"{part}." for part in (PROGRAM, READ))
        return {name: (p != 0) & name.startswith(inside) for name, p in nets.params.items()}

    @torch.no_grad()
    def _write_read_out(self, nets: Nets, train: Split) -> None:
        no, yes = log_odds(self.answers(train), train.y)
        for c, sign in ((0, -0.5), (1, 0.5)):
            nets.params[f"{READ}.weight"][:, c] = sign * (yes - no)
            nets.params[f"{READ}.bias"][:, c] = sign * no


def _of(params: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """What one part of a network holds, by its names there."""
    return {name.removeprefix(f"{part}."): p for name, p in params.items() if name.startswith(f"{part}.")}


def _host(nets: Nets) -> WithProgram:
    if not isinstance(nets.host, WithProgram):
        raise UsageError(
            f"An encrypted predictor stands in its own host; got {nets.host.label}. Take "
            f"predictor.host(inputs, way_round=...)."
        )
    return nets.host


@lru_cache(maxsize=8)
def _program(predictor: EncryptedPredictor) -> Program:
    return program_of(predictor.netlist, tables=predictor.tables, hidden=True)
