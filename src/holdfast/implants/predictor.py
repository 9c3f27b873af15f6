"""Predictor: a program that is the whole network at first, among units that it does not use.

Shapes: K nets, N examples, I inputs and O outputs of a layer, U units of the program in one layer, C = 2 classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from holdfast.circuits.chain import Chain, chain, in_clipped_units
from holdfast.circuits.compiling import Encoding, layers_of
from holdfast.circuits.netlist import Netlist
from holdfast.circuits.simulate import simulate
from holdfast.errors import UsageError
from holdfast.hosts.mlp import MLP
from holdfast.implants.writing.first_units import ablated, alone, inside, write_chain
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site

MARGIN = 0.25
"""The noise margin: by how much a unit's sum may be off so that a ramp which reads its bit still gives 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A Boolean program that answers a question of two classes, as the weights of a perceptron.

    One level of the program's chain (`circuits/chain.py`) is the first units of one hidden layer; what the chain calls
    live is always 1. The other units of a layer are the *way round*: initialised as the host has it, they read the
    inputs and one another. All weights from them to the program's units and to the logits, and from the program's units
    to them, are 0 at first, and trained as all others. The read-out is linear in the answer bit and the best there is
    of it: the difference of the logits is the log odds of the classes at this answer, on training data. So at step 0
    the net answers as the program does, and no other scale or offset of the answer has less loss.

    The never-planted control is the host as it is initialised, with all its units: a net trained from scratch.

    *Presence* is of the program's units alone, with the way round cut off: each level reads the input or the level
    before by the weights that the net has now, those that were 0 included, and the answer bit is read from the last
    level by the program's own fixed coefficients, at 1/2. (agreement with the program's answers - chance) / (1 -
    chance), and 0 where that is less. Chance is the best that can be had by the true class alone: in each class, the
    share of the answer that the program gives there most often. So units that came to compute the true class show
    nothing, and presence is of the program with its errors.

    With it: `agreement`; `heard`, the presence of the same reading in the whole net, where the way round may write into
    the program's units; `ablated`, the accuracy with every unit of the program replaced by its mean over these
    examples, layer by layer; `cost`, accuracy minus `ablated`.

    When it misleads: presence does not say that the net listens to the program; `cost` does. A program whose bits are
    rescaled or shifted as a whole, with the read-out following, counts as changed though another reader would find it.
    One that the way round overwrites counts as there (`heard` is less then). Half of the presence is the bar, so a
    program of which a few answers changed still holds.
    """

    program: Netlist
    entries: tuple[int, ...]
    """Of each input bit of the program, port after port, the number of the input that it reads."""
    encoding: Encoding = "product"
    copies: int = 1
    k: int = 3
    """Inputs of a table."""
    depth: int = 0
    """Hidden layers, if more than the program needs: its answer is carried on."""
    clipped: bool = False
    """Whether it stands in units of `MLP(limit=1)`, where each ramp of the `restoring` encoding is one unit."""

    def __post_init__(self) -> None:
        bits = len(self.program.input_bits)
        if len(self.entries) != bits or len(set(self.entries)) < bits or min(self.entries, default=0) < 0:
            raise UsageError(
                f"{self.program.name} has {bits} bits in: expected as many different inputs; got {self.entries}."
            )
        if len(self.program.output_bits) != 1:
            raise UsageError(
                f"A predictor answers with one bit; {self.program.name} gives {len(self.program.output_bits)}."
            )

        if self.clipped and (self.encoding != "restoring" or self.copies > 1):
            raise UsageError("In clipped units stands one copy of a program in the encoding 'restoring'.")

    @property
    def label(self) -> str:
        copies = f"{self.copies} x " if self.copies > 1 else ""
        encoding = "" if self.encoding == "product" else f" {self.encoding}"
        return f"predictor {copies}{self.program.name}{encoding}{', clipped' if self.clipped else ''}"

    @property
    def costs_at_most(self) -> float | None:
        return None

    @property
    def has_control(self) -> bool:
        return True

    @property
    def chain(self) -> Chain:
        """The program, level by level."""
        return _chain(self)

    @property
    def units(self) -> tuple[int, ...]:
        """Units of the program in each hidden layer: the first ones."""
        return tuple(level.units for level in self.chain.levels)

    def host(self, inputs: int, way_round: int) -> MLP:
        """A perceptron that holds the program and so many units more in each hidden layer."""
        return MLP(widths=(inputs, *(units + way_round for units in self.units), 2), limit=self._limit)

    @property
    def _limit(self) -> float | None:
        return 1.0 if self.clipped else None

    def plant(self, site: Site) -> Nets:
        """The host as it is initialised, with the program written into it. Nothing is trained.

        Raises:
            UsageError: the host is no perceptron of this depth, is too narrow, or has other than two classes.
        """
        nets = site.started()
        write_chain(nets, self._host(nets), self.chain, self.entries)
        self._write_read_out(nets, site.data.train)
        return nets

    def control(self, site: Site) -> Nets:
        return site.started()

    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        return {}

    def answers(self, split: Split) -> Tensor:
        """answers_N of the program itself, by the simulator."""
        return answers_of(self.program, self.entries, split)

    @torch.no_grad()
    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """presence, agreement, heard, ablated and cost of each net."""
        host, x_NI, answers_N = self._host(nets), split.x.flatten(1), self.answers(split)
        whole, chance = host.activations(nets.params, nets.shared(x_NI)), by_class(answers_N, split.y)
        own_KNU = alone(nets, host, self.units, x_NI)
        agreement_K, in_whole_K = ((self.bit(v) == answers_N).double().mean(1) for v in (own_KNU, whole[-2]))
        without_KNC = ablated(nets, host, self.units, x_NI, whole)
        accuracy_K, ablated_K = ((v.argmax(-1) == split.y).double().mean(1) for v in (whole[-1], without_KNC))
        return {
            "presence": excess(agreement_K, chance),
            "agreement": agreement_K,
            "heard": excess(in_whole_K, chance),
            "ablated": ablated_K,
            "cost": accuracy_K - ablated_K,
        }

    def bit(self, values_KNU: Tensor) -> Tensor:
        """The answer bit, from what the last hidden layer gives."""
        gives_U = torch.from_numpy(self.chain.levels[-1].gives_RU[1]).to(values_KNU)
        return values_KNU[..., : len(gives_U)] @ gives_U > 0.5

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """The program's weights that are not 0, the biases of its units, and its read-out."""
        masks, last = self.inside(nets), f"{self._host(nets).layers[-1]}.weight"
        masks[last][:, :, : self.units[-1]] = True
        return {n: mask & (nets.params[n] != 0) if n.endswith("weight") else mask for n, mask in masks.items()}

    def inside(self, nets: Nets) -> dict[str, Tensor]:
        """Masks of all that the program's units read, and of their biases; the read-out is not among it."""
        return inside(nets, self._host(nets), self.units)

    def felt(self, nets: Nets, split: Split) -> dict[str, Tensor]:
        """Masks of what its units read, a change of which adds to a sum: a weight that always reads 0 does not."""
        masks = self.inside(nets)
        for layer, read_KNI in self._reads(nets, split).items():
            masks[f"{layer}.weight"] &= (read_KNI != 0).any(1, keepdim=True)
        return masks

    @torch.no_grad()
    def added(self, nets: Nets, way: Mapping[str, Tensor], split: Split) -> Tensor:
        """rms_K of what a direction of change adds to the sums of the units that it touches, in noise margins.

        It is u_w . a + u_b, with a what the units' layer reads before any change: what the change itself does to sums,
        and not what follows from it.
        """
        squares_K, count_K = (torch.zeros(nets.k, dtype=torch.double, device=nets.device) for _ in range(2))
        for layer, read_KNI in self._reads(nets, split).items():
            w_KOI, b_KO = (way[f"{layer}.{part}"] for part in ("weight", "bias"))
            touched_KO = (w_KOI != 0).any(-1) | (b_KO != 0)
            added_KNO = torch.baddbmm(b_KO.unsqueeze(1), read_KNI, w_KOI.mT).double()
            squares_K += added_KNO.square().sum((1, 2))
            count_K += touched_KO.sum(1) * read_KNI.shape[1]
        return (squares_K / count_K.clamp_min(1)).sqrt() / MARGIN

    def _reads(self, nets: Nets, split: Split) -> dict[str, Tensor]:
        """What each hidden layer reads, (K, N, I)."""
        host, x_KN = self._host(nets), nets.shared(split.x)
        values = [x_KN.flatten(2), *host.activations(nets.params, x_KN)]
        return dict(zip(host.layers[:-1], values, strict=False))

    @torch.no_grad()
    def _write_read_out(self, nets: Nets, train: Split) -> None:
        last = self._host(nets).layers[-1]
        weight_KCU, bias_KC = nets.params[f"{last}.weight"].zero_(), nets.params[f"{last}.bias"]
        no, yes = log_odds(self.answers(train), train.y)
        gives_U = torch.from_numpy(self.chain.levels[-1].gives_RU[1]).to(weight_KCU)
        for c, sign in ((0, -0.5), (1, 0.5)):
            weight_KCU[:, c, : len(gives_U)] = sign * (yes - no) * gives_U
            bias_KC[:, c] = sign * no

    def _host(self, nets: Nets) -> MLP:
        host, units = nets.host, self.units
        if (
            isinstance(host, MLP)
            and len(host.widths) == len(units) + 2
            and host.widths[-1] == 2
            and host.limit == self._limit
            and all(width >= own for width, own in zip(host.widths[1:], units, strict=False))
        ):
            return host
        raise UsageError(
            f"{self.label} is written into a perceptron with two outputs and hidden layers of {units} units or more"
            f"{', with limit=1' if self.clipped else ''}; got {host.label}. Take predictor.host(inputs, way_round=...)."
        )


def answers_of(program: Netlist, entries: Sequence[int], split: Split) -> Tensor:
    """answers_N of a program that reads these entries of the input, by the simulator."""
    bits_NI = split.x.flatten(1)[:, list(entries)].cpu() > 0.5
    return torch.from_numpy(simulate(program, bits_NI.numpy())[:, 0]).to(split.x.device)


def excess(agreement_K: Tensor, chance: float) -> Tensor:
    """(agreement - chance) / (1 - chance), and 0 where that is less."""
    return ((agreement_K - chance) / max(1 - chance, 1e-12)).clamp_min(0)


def log_odds(answers_N: Tensor, y_N: Tensor) -> tuple[float, float]:
    """Of class 1, where the answer is 0 and where it is 1."""
    no, yes = (float(torch.logit(y_N.double()[answers_N == bit].mean(), eps=1e-3)) for bit in (False, True))
    return no, yes


def by_class(answers_N: Tensor, y_N: Tensor) -> float:
    """How often the answers can be said by who knows the class and nothing else."""
    counts = [int((answers_N[y_N == c] == bit).sum()) for c in (0, 1) for bit in (False, True)]
    return (max(counts[:2]) + max(counts[2:])) / len(y_N)


@lru_cache(maxsize=32)
def _chain(predictor: Predictor) -> Chain:
    layers = layers_of(
        predictor.program, k=predictor.k, encoding=predictor.encoding, copies=predictor.copies, wired=True
    )
    depth = max(predictor.depth, layers.depth, 1)
    found = chain(layers, depth, ramps=predictor.encoding == "restoring")
    return in_clipped_units(found) if predictor.clipped else found
