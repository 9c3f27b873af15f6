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
from holdfast.encrypted.descent import refuse_untrained
from holdfast.encrypted.enclosed import CLIENT, Enclosed, enclosed, encrypted, noise_of
from holdfast.encrypted.program import Program
from holdfast.encrypted.trained import NAMES, CellByCell, TrainedNetwork
from holdfast.errors import UsageError, nearest, whole
from holdfast.hosts.mlp import MLP
from holdfast.implants.predictor import answers_of, by_class, excess, log_odds
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site

PROGRAM, WAY, READ = "program", "way", "read"
"""Names of the parts of a network."""
_LENGTHS = -27, 0, 2
"""Changes by which `EncryptedPredictor.added` measures, of the weight that is changed most: 2^-27 of a turn to 2^-1."""


@dataclass(frozen=True, kw_only=True)
class WithProgram:
    """A network that adds what an encrypted program says to the logits of a perceptron, the *way round*."""

    netlist: Netlist
    entries: tuple[int, ...]
    """Of each input bit of the program, the number of the input that it reads."""
    parameter_set: str
    tables: int
    way: MLP

    @property
    def label(self) -> str:
        return f"{self.way.label} beside {self.netlist.name}, {self.parameter_set}"

    @property
    def program(self) -> Program:
        """The public one: which tables there are, and what they read."""
        return _program(self.netlist, self.tables).public

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
        weights, keys = _held(params)
        return enclosed(self.program, SETS[self.parameter_set], weights, keys, *self._bits(x_KBI))[..., 0]

    def cells(self, params: Mapping[str, Tensor], x_KBI: Tensor) -> CellByCell:
        """The program's cells at work on these examples."""
        (weights, keys), p = _held(params), SETS[self.parameter_set]
        ciphertexts = encrypted(self.program, p, keys, *self._bits(x_KBI))
        return CellByCell(self.program, p, weights, keys["small"], ciphertexts)

    def _bits(self, x_KBI: Tensor) -> tuple[Tensor, Tensor]:
        """What the program is asked (K, B, bits), and each example's noise (K, B)."""
        x_KBI = x_KBI.flatten(2)
        return x_KBI[..., list(self.entries)], torch.stack([noise_of(x_BI) for x_BI in x_KBI])

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
    0; chance is the best that can be had by the true class alone. Measures as in `Predictor`: `agreement`; `heard`, the
    presence again, since nothing writes into the program; `ablated`, the accuracy with the answer replaced by its mean;
    `cost`, accuracy minus that. The control is the way round alone,
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
        if not isinstance(self.netlist, Netlist):
            raise UsageError(f"netlist is a circuit, as `trace` or `read` gives it; got {self.netlist!r}.")
        if self.parameter_set not in SETS:
            raise nearest(self.parameter_set, SETS, what="parameter set")
        refuse_untrained(SETS[self.parameter_set])
        whole("tables", self.tables)
        if not isinstance(self.trivial, bool):
            raise UsageError(f"trivial is True or False; got {self.trivial!r}.")
        if not all(type(entry) is int and entry >= 0 for entry in self.entries):
            raise UsageError(f"entries are numbers of the input's entries, 0 or above; got {self.entries}.")
        bits = len(self.netlist.input_bits)
        if len(self.entries) != bits or len(self.netlist.output_bits) != 1:
            raise UsageError(
                f"An encrypted predictor reads one input a bit and answers with one bit; {self.netlist.name} has "
                f"{bits} bits in and {len(self.netlist.output_bits)} out, and got {len(self.entries)} entries."
            )
        _program(self.netlist, self.tables)  # which refuses other numbers of bits a table

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
        """A network that holds the program, beside two hidden layers of so many units.

        Raises:
            UsageError: fewer inputs than it reads.
        """
        if max(self.entries) >= inputs:
            raise UsageError(f"The program reads entry {max(self.entries)}, and the input has {inputs}.")
        return WithProgram(
            netlist=self.netlist,
            entries=self.entries,
            parameter_set=self.parameter_set,
            tables=self.tables,
            way=MLP(widths=(inputs, way_round, way_round, 2)),
        )

    def plant(self, site: Site) -> Nets:
        """The host as it is initialised, with the program in it, under a key of each net's own (stream `client`)."""
        self._refuse_data(site)
        nets = self.control(site)
        for k, streams in enumerate(site.streams):
            key = SecretKey(
                SETS[self.parameter_set],
                streams.generator("client"),
                trivial="keys" if self.trivial else "nothing",
            )
            made = Enclosed(network := TrainedNetwork.of(key.network(self._program)))
            made.hold(key, network)
            for name, value in made.state_dict().items():
                held = nets.params if f"{PROGRAM}.{name}" in nets.params else nets.buffers
                held[f"{PROGRAM}.{name}"][k].copy_(value)
        self._write_read_out(nets, site.data.train)
        return nets

    def control(self, site: Site) -> Nets:
        nets = site.started()
        last = self._host(nets).way.layers[-1]
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
        """presence, agreement, heard, ablated and cost of each net."""
        host, x_KNI, answers_N = self._host(nets), nets.shared(split.x), self.answers(split)
        params = {**nets.params, **nets.buffers}
        says_KN, way_KNC = host.says(params, x_KNI), host.way.forward(_of(params, WAY), x_KNI)
        mean_KN = says_KN.mean(1, keepdim=True).expand_as(says_KN)
        accuracy_K, ablated_K = (
            ((way_KNC + host.read(params, each)).argmax(-1) == split.y).double().mean(1) for each in (says_KN, mean_KN)
        )
        agreement_K = ((says_KN > 0.5) == answers_N).double().mean(1)
        presence_K = excess(agreement_K, by_class(answers_N, split.y))
        return {
            "presence": presence_K,
            "agreement": agreement_K,
            "heard": presence_K,
            "ablated": ablated_K,
            "cost": accuracy_K - ablated_K,
        }

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """The program's weights that are not 0, and its read-out."""
        inside = tuple(f"{part}." for part in (PROGRAM, READ))
        return {name: (p != 0) & name.startswith(inside) for name, p in nets.params.items()}

    def inside(self, nets: Nets) -> dict[str, Tensor]:
        """Masks of the program's tables and keys."""
        return {n: torch.full_like(p, n.startswith(f"{PROGRAM}."), dtype=torch.bool) for n, p in nets.params.items()}

    def felt(self, nets: Nets, split: Split) -> dict[str, Tensor]:
        """The same without what no phase has: masks of switching keys where the small key's bit is 0, and numbers of
        tables that no example's phase falls on."""
        masks, small_Kn = self.inside(nets), nets.buffers[f"{PROGRAM}.small"]
        masks[f"{PROGRAM}.network.switch"][..., :-1] &= small_Kn[:, None, None] != 0
        cells = self._host(nets).cells({**nets.params, **nets.buffers}, nets.shared(split.x))
        masks[f"{PROGRAM}.network.bodies"] &= cells.read()
        return masks

    @torch.no_grad()
    def added(self, nets: Nets, way: Mapping[str, Tensor], split: Split) -> Tensor:
        """rms_K of what a direction of change adds to the phases of the cells that it touches, in each cell's noise
        margin (`Program.margins`) and per unit length, each cell reading what it read before.

        Phases round, and wrap at a turn. So it is measured where it is a quarter of a margin to one, and taken to grow
        with the change. 0 where no weight that is changed by half a turn or less does as much.
        """
        prefix = f"{PROGRAM}.network."
        weights = {name: nets.params[f"{prefix}{name}"] for name in NAMES}
        u = {name: way.get(f"{prefix}{name}", torch.zeros_like(w)) for name, w in weights.items()}
        cells = self._host(nets).cells({**nets.params, **nets.buffers}, nets.shared(split.x))
        margins_C = torch.tensor([float(m) for m in self._program.margins], dtype=torch.double, device=nets.device)
        by_cell_KC = torch.stack([(u[name] != 0).any(-1) for name in ("masks", "bodies")]).any(0)
        by_all_K = torch.stack([(u[name] != 0).flatten(1).any(1) for name in ("rotation", "switch", "fixed")]).any(0)
        touched_KC = by_cell_KC | by_all_K[:, None]
        length_K = torch.stack([value.abs().flatten(1).amax(1) for value in u.values() if value[0].numel()]).amax(0)
        unit_K = torch.zeros_like(length_K)
        for power in range(*_LENGTHS):
            scale_K = torch.where(length_K > 0, 2.0**power / length_K, 0.0)
            changed = {n: w + scale_K.view(-1, *[1] * (w.dim() - 1)) * u[n] for n, w in weights.items()}
            off_KBC = cells.added(changed) / margins_C * touched_KC[:, None]
            rms_K = (off_KBC.square().sum((1, 2)) / (off_KBC.shape[1] * touched_KC.sum(1)).clamp_min(1)).sqrt()
            unit_K = torch.where((unit_K == 0) & (rms_K >= 0.25), rms_K / scale_K, unit_K)
            if unit_K.all():
                break
        return unit_K

    def _host(self, nets: Nets) -> WithProgram:
        host = nets.host
        own = self.netlist, self.entries, self.parameter_set, self.tables
        if isinstance(host, WithProgram) and (host.netlist, host.entries, host.parameter_set, host.tables) == own:
            return host
        raise UsageError(
            f"An encrypted predictor stands in its own host, made for this program, these entries and this set; got "
            f"{host.label}. Take predictor.host(inputs, way_round=...)."
        )

    def _refuse_data(self, site: Site) -> None:
        x_NI = site.data.train.x.flatten(1)[:, list(self.entries)]
        if not ((x_NI == 0) | (x_NI == 1)).all():
            raise UsageError("An encrypted program reads bits: entries that are 0 or 1 in all training data.")

    @property
    def _program(self) -> Program:
        return _program(self.netlist, self.tables)

    @torch.no_grad()
    def _write_read_out(self, nets: Nets, train: Split) -> None:
        no, yes = log_odds(self.answers(train), train.y)
        for c, sign in ((0, -0.5), (1, 0.5)):
            nets.params[f"{READ}.weight"][:, c] = sign * (yes - no)
            nets.params[f"{READ}.bias"][:, c] = sign * no


def _held(params: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The program's weights, and its client's keys."""
    weights, client = _of(params, f"{PROGRAM}.network"), _of(params, PROGRAM)
    return {name: weights[name] for name in NAMES}, {name: client[name] for name in CLIENT}


def _of(params: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """What one part of a network holds, by its names there."""
    return {name.removeprefix(f"{part}."): p for name, p in params.items() if name.startswith(f"{part}.")}


@lru_cache(maxsize=8)
def _program(netlist: Netlist, tables: int) -> Program:
    return program_of(netlist, tables=tables, hidden=True)
