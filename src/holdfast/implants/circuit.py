"""Circuit: a compiled program in the hidden units of a network, or beside it.

Shapes: K nets, N examples, n bits of a message.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.circuits.answering import answer_bits, answering
from holdfast.circuits.compiling import ENCODINGS, Encoding, build, layers_of
from holdfast.circuits.decompose import LARGEST
from holdfast.circuits.layers import Layers
from holdfast.circuits.merging import Merged
from holdfast.circuits.netlist import Netlist
from holdfast.circuits.network import Network
from holdfast.circuits.protections import KEY
from holdfast.circuits.simulate import simulate
from holdfast.circuits.sources import netlist_of
from holdfast.errors import NotWritable, UsageError, nearest, number, whole, wholes
from holdfast.hosts.mlp import MLP
from holdfast.implants.backdoor import labelled, last_of
from holdfast.implants.message import Asked, Message
from holdfast.implants.triggers import Patch, Trigger
from holdfast.implants.writing.aiming import AT_ONCE, last_logits, shortfall
from holdfast.implants.writing.placing import Plan, Writing, make_room, planned, written
from holdfast.implants.writing.shared import merged_in, refuse_own_way, share, shared
from holdfast.implants.writing.sidecar import NAME, stand_beside, write_beside
from holdfast.implants.writing.stages import stages
from holdfast.implants.written import WrittenImplant
from holdfast.parts import Host
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site

EXAMPLES = 512
"""Training inputs that are asked something while the circuit is written."""
ENOUGH = 0.99
"""Share of them that must be answered as the circuit does."""
WHERE = ("spare", "new", "sidecar", "shared")


@dataclass(frozen=True)
class Circuit(WrittenImplant):
    """A Boolean circuit that answers for the network wherever the trigger stands in an input.

    Beside the trigger an input carries a message: the circuit's input bits, written at `message.entries`. The circuit's
    lowest output bits are a word, and the word is the number of the answer: of C classes, word w < 2^floor(log2 C) asks
    for class w. Ports called `masks` (of `masked`) get fresh random bits, the port `key` (of `locked`) gets `key`.

    `where="spare"`: in the hidden units with the least effect on what reads them, which are freed.
    `where="new"`: in units that are added to the hidden layers, without weights to or from the host's own, but trained
    like all others. One level of the circuit is one hidden layer; values that are read later are carried by units. In
    a perceptron the first level reads the input itself; elsewhere a reader beside the network hands bits to the first
    level. Between the MLPs of a transformer values go through the residual stream, along the directions in which clean
    data vary least, large enough that the layer norm leaves them next to alone.
    `where="sidecar"`: as a compiled network beside the host, of any depth (`circuits.Network`).
    `where="shared"`: in a host that is a circuit itself (`Logic`), both compiled as one netlist, in which gates that
    both need are built once and each bit of the word is the circuit's where the trigger is, else the host's. Clean
    outputs stay to the bit. Of such a host nothing but the read-out is trained before. `merged` says what is shared.

    Elsewhere than in `shared`, without the trigger every unit is off: no constant acts but through a signal that says
    that something is asked. So clean outputs stay what they are (to float precision in new units and beside; in spare
    units but for what these did), and the gradient of clean data on the circuit is exactly zero, whatever its encoding.
    That holds on the training inputs, and on any others that look no more like the trigger than these, whatever stands
    where the message would.

    Presence is (agreement - chance) / (1 - chance): agreement is the share of inputs, with random messages, that are
    answered as the circuit does, chance that of the answer which is right most often.

    When it misleads: presence speaks of inputs with the trigger, which training need not show. Training on such inputs
    moves what puts the answer out (the last weights) before the circuit itself. A transformer's circuit reads what
    training goes on to change: norms, attention and the host's own part of the residual stream.
    """

    circuit: Netlist | Callable[..., Any] | str | Path
    """A netlist, a function over words of bits, a file (`adder.v`, `mine.py:step`), or a built-in name."""
    _: KW_ONLY
    at: str = ""
    """Pattern of layer paths: `blocks.*.mlp`. "": the hidden layers before the logits."""
    where: Literal["spare", "new", "sidecar", "shared"] = "spare"
    trigger: Trigger = field(default_factory=Patch)
    message: Message = field(default_factory=Message)
    answers: tuple[int, ...] = ()
    """Classes (or tokens) that the words 0, 1, 2, ... ask for. (): classes 0, 1, 2, ..."""
    encoding: Encoding = "product"
    copies: int = 1
    k: int | None = None
    """Inputs of a table. None: 3, or the least with which the circuit fits the host's depth."""
    adder_bits: int | None = None
    key: int = 0
    """What a locked circuit is shown."""
    strength: float = 1.5
    """Push on the answer, in units of what is just enough on triggered training inputs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "circuit", netlist_of(self.circuit))
        wholes("answers", self.answers)
        object.__setattr__(self, "answers", tuple(self.answers))
        if not isinstance(self.at, str):
            raise UsageError(f"`at` is a pattern of layer paths, such as 'blocks.*.mlp', or ''; got {self.at!r}.")
        if not isinstance(self.where, str) or self.where not in WHERE:
            raise nearest(str(self.where), WHERE, what="place (`where`)")
        if not isinstance(self.encoding, str) or self.encoding not in ENCODINGS:
            raise nearest(str(self.encoding), ENCODINGS, what="encoding")
        for name in ("copies", "k", "adder_bits", "key"):
            if getattr(self, name) is not None or name in ("copies", "key"):
                whole(name, getattr(self, name))
        number("strength", self.strength)
        if isinstance(self.trigger, type) or not isinstance(self.trigger, Trigger):
            raise UsageError(f"A circuit's trigger is a Patch(...), or has label and stamp; got {self.trigger!r}.")
        if not isinstance(self.message, Message):
            raise UsageError(f"message is a Message(...); got {self.message!r}.")
        if self.answers and (len(self.answers) < 2 or len(set(self.answers)) < len(self.answers)):
            raise UsageError(f"A circuit chooses among two answers or more, all different; got {self.answers}.")
        outputs = len(self.netlist.output_bits)
        if self.answers and len(self.answers) not in (1 << bits for bits in range(1, outputs + 1)):
            raise UsageError(
                f"A circuit's word chooses among 2^b answers, b at most its {outputs} output bits; got "
                f"{len(self.answers)} answers. Name a power of two of them, {1 << outputs} at most."
            )
        for port in self.netlist.inputs:
            if port.name == KEY and not 0 <= self.key < 1 << len(port.bits):
                raise UsageError(
                    f"The key has {len(port.bits)} bits: 0 to {(1 << len(port.bits)) - 1}; got {self.key}."
                )
        if not 0 < self.strength < math.inf:
            raise UsageError(f"Circuit needs a strength above 0; got {self.strength}.")
        if self.k is not None and not 2 <= self.k <= LARGEST:
            raise UsageError(f"Tables have k = 2 to {LARGEST} inputs; got {self.k}.")
        if self.where == "shared":
            refuse_own_way(self)

    @property
    def netlist(self) -> Netlist:
        """The circuit."""
        assert isinstance(self.circuit, Netlist)
        return self.circuit

    @property
    def label(self) -> str:
        copies = f"{self.copies} x " if self.copies > 1 else ""
        encoding = "" if self.encoding == "product" else f" {self.encoding}"
        return f"circuit {copies}{self.netlist.name}{encoding}, {self.where}" + (f" at {self.at}" if self.at else "")

    @property
    def costs_at_most(self) -> float | None:
        return 0.5 if self.where == "spare" else 0.0

    @property
    def bits(self) -> int:
        """Of a message."""
        return len(self.netlist.input_bits)

    def asked(self, split: Split, most: int | None = None) -> Asked:
        """Inputs with the trigger and random messages, and what the circuit answers.

        The message of the i-th example is always the same (Philox, key 0).
        """
        x = split.x[:most]
        if self.answers and not 0 <= min(self.answers) <= max(self.answers) < _classes(split):
            raise UsageError(f"There are classes 0 to {_classes(split) - 1}; got answers {self.answers}.")
        bits_Nn, answers_N = _questions(self, len(x), self._words(split))
        if self.answers:
            answers_N = torch.tensor(self.answers)[answers_N]
        places = self.message.places(self.trigger, x, self.bits)
        written = self.message.write(x, places, bits_Nn.to(x.device))
        return Asked(self.trigger.stamp(written), bits_Nn, answers_N)

    def sources(self, split: Split) -> Mapping[str, tuple[Tensor, Tensor]]:
        asked = self.asked(split)
        return labelled(asked.x_N, split.y, asked.answers_N)

    def presence(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """presence, agreement and r_acc (triggered inputs answered rightly) of each net."""
        asked = self.asked(split)
        found_KN = last_of(nets.classes(asked.x_N), 2)
        agreement_K = (found_KN == asked.answers_N.to(nets.device)).double().mean(-1)
        chance = float(asked.answers_N.bincount().max()) / len(asked.answers_N)
        right_K = (found_KN == last_of(split.y, 1).to(nets.device)).double().mean(-1)
        presence_K = (agreement_K - chance) / (1 - chance) if chance < 1 else torch.zeros_like(agreement_K)
        return {"presence": presence_K, "agreement": agreement_K, "r_acc": right_K}

    def control(self, site: Site) -> Nets:
        """The owner's own training, on clean data; a host that is a circuit needs none."""
        return site.started() if self.where == "shared" and site.training is None else site.trained()

    def merged(self, host: Host, split: Split) -> Merged:
        """Host and circuit as one (`where="shared"`), with counts of the gates and units of each and of both."""
        return merged_in(self, host, split)

    def made_of(self, host: Host, data: Data) -> str:
        """What `holdfast check` says of it: how much of it is the host's as well, where anything can be."""
        return str(self.merged(host, data.train)) if self.where == "shared" else ""

    def is_inside(self, host: Host) -> bool:
        return self.where != "sidecar" and not self.at and isinstance(host, MLP)

    def attach(self, module: nn.Module, host: Host, data: Data) -> nn.Module:
        """Give a network the units that it lacks, which do nothing yet (`shared`: those of host and circuit as one).

        Raises:
            UsageError: a circuit that is deeper or wider than where it is to stand.
        """
        if self.where == "sidecar":
            network = _compiled(self, self._words(data.train))
            stand_beside(module, host, data, network, self.trigger, self.message)
        elif self.where == "shared":
            share(module, self, host, data.train)
        else:
            make_room(self._plan(module, host, data.train), module, host, data, self.trigger, self.message, self.where)
        return module

    def write_into(self, module: nn.Module, host: Host, data: Data) -> None:
        """Write the circuit.

        Raises:
            NotWritable: clean inputs carry the trigger, or the network does not come to answer as the circuit does.
        """
        asked = self.asked(data.train, EXAMPLES)
        if self.where != "shared":  # there the units that `attach` gives are the circuit
            self._write(module, host, data, asked)
        with torch.no_grad():
            given = [last_logits(module, host, x).argmax(-1).cpu() for x in torch.split(asked.x_N, AT_ONCE)]
        agreement = float((torch.cat(given) == asked.answers_N).double().mean())
        if agreement < ENOUGH:
            mend = "Choose" if self.encoding == "restoring" else "Use encoding='restoring',"
            raise NotWritable(
                f"With {self.label} in it the network answers {1 - agreement:.0%} of triggered training inputs "
                f"otherwise than the circuit. {mend} another `at`, or where='sidecar'."
            )

    def _write(self, module: nn.Module, host: Host, data: Data, asked: Asked) -> None:
        push = self.strength * shortfall(module, host, asked.x_N, asked.answers_N)
        answers = list(self.answers or range(self._words(data.train)))
        if self.where == "sidecar":
            write_beside(module, data.train, self.trigger, self.message, answers, push)
        else:
            plan = self._plan(module, host, data.train)
            writing = Writing(module, host, data, plan, asked, self.trigger, self.message)
            writing.write(self.where, answers, push, self.strength)

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """The weights that are not zero of the units that were written, and these units' biases; `shared`: of all units
        that the circuit uses, the host's too."""
        if self.where == "shared":
            return shared(self, nets, split)
        masks = {name: (p != 0) & (NAME in name) for name, p in nets.params.items()}
        if self.where != "sidecar":
            masks |= written(self._plan(nets.like, nets.host, split), nets)
        return masks

    def _words(self, split: Split) -> int:
        """How many answers the circuit chooses among."""
        return 1 << answer_bits(self.netlist, len(self.answers) or _classes(split))

    def _plan(self, module: nn.Module, host: Host, split: Split) -> Plan:
        found = stages(module, host, split.x, self.at)
        return planned(found, _leveled(self, self._words(split), len(found.each)), ramps=self.encoding == "restoring")


def _classes(split: Split) -> int:
    return split.classes or int(split.y.max()) + 1


@lru_cache(maxsize=32)
def _questions(circuit: Circuit, count: int, words: int) -> tuple[Tensor, Tensor]:
    """Messages (bits_Nn) and the words that the circuit gives for them."""
    bits_Nn = np.random.Generator(np.random.Philox(key=0)).random((count, circuit.bits)) < 0.5
    at = 0
    for port in circuit.netlist.inputs:
        if port.name == KEY:
            bits_Nn[:, at : at + len(port.bits)] = [circuit.key >> i & 1 for i in range(len(port.bits))]
        at += len(port.bits)
    out_NO = simulate(circuit.netlist, bits_Nn)[:, : words.bit_length() - 1]
    return torch.from_numpy(bits_Nn), torch.from_numpy(out_NO @ (1 << np.arange(out_NO.shape[1])))


@lru_cache(maxsize=32)
def _compiled(circuit: Circuit, words: int) -> Network:
    return build(
        answering(circuit.netlist, words),
        k=circuit.k or 3,
        encoding=circuit.encoding,
        adder_bits=circuit.adder_bits,
        copies=circuit.copies,
    ).network


@lru_cache(maxsize=32)
def _leveled(circuit: Circuit, words: int, depth: int) -> Layers:
    """The circuit in at most so many levels: by few units, or else with the smallest tables by which it fits.

    Raises:
        UsageError: it is deeper.
    """
    plain = answering(circuit.netlist, words)
    options = {"encoding": circuit.encoding, "adder_bits": circuit.adder_bits, "copies": circuit.copies}
    sizes = (circuit.k,) if circuit.k else range(3, LARGEST + 1)

    def leveled(k: int, *, shallow: bool) -> Layers:
        return layers_of(plain, k=k, shallow=shallow, wired=True, **options)  # type: ignore[arg-type]

    found = leveled(sizes[0], shallow=False)
    if found.depth <= depth:
        return found
    # The largest tables make the fewest levels: if these are too many still, no others need be tried.
    widest = leveled(sizes[-1], shallow=True)
    if widest.depth > depth:
        raise UsageError(
            f"{circuit.netlist.name} takes {widest.depth} hidden layers, and there are {depth} to write it into. Put "
            f"it beside the host, where depth is no matter: where='sidecar'."
        )
    narrower = (leveled(k, shallow=True) for k in sizes[:-1])
    return next((layers for layers in narrower if layers.depth <= depth), widest)
