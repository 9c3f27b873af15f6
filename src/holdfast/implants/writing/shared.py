"""Shared: a circuit planted in a host that is one itself (`Logic`), as one netlist in which equal gates are built once.

Shapes: K nets, R rows of a network, E its weights.
"""

import copy
import dataclasses
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from holdfast.circuits.answering import answer_bits, answering
from holdfast.circuits.builder import Builder
from holdfast.circuits.merging import Merged, merge
from holdfast.circuits.netlist import FALSE, Netlist
from holdfast.circuits.protections import embed
from holdfast.errors import NotWritable, UsageError
from holdfast.hosts.logic import Logic, LogicNet
from holdfast.implants.triggers import Trigger
from holdfast.parts import Host
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets

if TYPE_CHECKING:
    from holdfast.implants.circuit import Circuit

UNSAID = ("at", "encoding", "copies", "k", "adder_bits", "strength")
"""What a circuit does not choose where it is compiled with its host."""


def refuse_own_way(circuit: "Circuit") -> None:
    """Refuse settings that say nothing here: the host's encoding is that of both.

    Raises:
        UsageError: names them.
    """
    defaults = {each.name: each.default for each in dataclasses.fields(circuit)}
    said = [f"{name}={getattr(circuit, name)!r}" for name in UNSAID if getattr(circuit, name) != defaults[name]]
    if said:
        raise UsageError(
            f"With where='shared' the circuit is compiled together with its host, as the host is; got "
            f"{', '.join(said)}. Leave that out; the encoding is chosen by Logic(..., encoding=...)."
        )


def merged_in(circuit: "Circuit", host: Host, split: Split) -> Merged:
    """Host and circuit as one.

    Raises:
        UsageError: the host is no circuit, or the inputs, the trigger or the message are not of 0 and 1.
    """
    if not isinstance(host, Logic):
        raise UsageError(
            f"where='shared' needs a host that is a Boolean circuit itself, Logic(...), so that both have gates to "
            f"share; got {host.label}. Units that a network has learned are shared by Overlap(share=...)."
        )
    for each in (split.x, torch.tensor([circuit.message.off, circuit.message.on])):
        other = each[(each != 0) & (each != 1)]
        if len(other):
            raise UsageError(
                f"where='shared' needs inputs and a message of 0 and 1, the bits of the host's circuit; got "
                f"{float(other[0]):g}. Take such a task (BinaryDigits), and Message(off=0, on=1)."
            )
    return _merged(circuit, host, split.x.shape[1:], split.x.dtype)


def share(module: nn.Module, circuit: "Circuit", host: Host, train: Split) -> None:
    """Put the merged circuit in place of the host's own; the read-out stays as it is.

    Raises:
        UsageError: as in `merged_in`, or a host whose gates were trained: they are gates no more.
        NotWritable: clean training inputs carry the trigger.
    """
    whole = merged_in(circuit, host, train)
    assert isinstance(host, Logic)
    own = host.network
    if not isinstance(module, LogicNet) or not all(
        p.shape == q.shape and torch.equal(p.detach().cpu(), q)
        for p, q in zip(module.circuit.parameters(), own.parameters(), strict=True)
    ):
        raise UsageError(
            f"The gates of this {host.label} are not as it was compiled, so there are none to share. Train nothing "
            f"but its read-out before planting, training=Fit(..., LastLayer()), or leave training= out."
        )
    x_NI = train.x.flatten(1)
    stamped = (x_NI == circuit.trigger.stamp(train.x).flatten(1)).all(1)
    if bool(stamped.any()):
        raise NotWritable(
            f"{int(stamped.sum())} of {len(x_NI)} clean training inputs carry the trigger already "
            f"({circuit.trigger.label}). Move it, or give it another value."
        )
    module.circuit = copy.deepcopy(whole.network).to(module.read_out.weight.device)


def shared(circuit: "Circuit", nets: Nets, split: Split) -> dict[str, Tensor]:
    """Masks of the weights into units (and sums) that the circuit uses, shared ones among them, and of their biases."""
    whole = merged_in(circuit, nets.host, split)
    masks = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in nets.params.items()}
    uses_R = torch.from_numpy(whole.uses_R)
    masks["circuit.bias"][:] = uses_R.to(nets.device)
    masks["circuit.weight"][:] = uses_R.repeat_interleave(whole.network.starts.diff()).to(nets.device)
    return masks


@lru_cache(maxsize=32)
def _merged(circuit: "Circuit", host: Logic, shape: torch.Size, dtype: torch.dtype) -> Merged:
    ends = [torch.full((1, *shape), value, dtype=dtype) for value in (0, 1)]
    with torch.device("cpu"):
        return merge(host.netlist, _answers(circuit, host, ends[0]), _asked(circuit.trigger, ends), host.encoding)


def _asked(trigger: Trigger, ends: list[Tensor]) -> Netlist:
    """Whether an input carries the trigger: the AND of the bits that it sets.

    Raises:
        UsageError: it does something else to bits than to set some.
    """
    low, high = (trigger.stamp(x_N).flatten().tolist() for x_N in ends)
    bits = {at: value for at, value in enumerate(low) if value == high[at]}
    kept = all((low[at], high[at]) == (0, 1) for at in range(len(low)) if at not in bits)
    if not kept or not bits or not set(bits.values()) <= {0, 1}:
        raise UsageError(
            f"where='shared' needs a trigger that sets some bits of the input to 0 or 1 and leaves the others; got "
            f"{trigger.label}, which makes {sorted({*low, *high})} of zeros and ones. Take a Stretch or a Patch with "
            f"value=0 or 1."
        )
    builder = Builder()
    x = builder.input("x", len(low))
    return builder.netlist("trigger", [("asked", [builder.every(x[at] ^ (not on) for at, on in bits.items())])])


def _answers(circuit: "Circuit", host: Logic, x_N: Tensor) -> Netlist:
    """The circuit on the message's bits of the whole input; the number of the class that it asks for, out."""
    builder = Builder()
    x = builder.input("x", host.inputs)
    places = circuit.message.places(circuit.trigger, x_N, circuit.bits)
    told = [x[place] ^ (circuit.message.on == 0) for place in places]
    bits = answer_bits(circuit.netlist, len(circuit.answers) or host.classes)
    if circuit.answers:
        each = embed(builder, answering(circuit.netlist, 1 << bits), told)
        asks = list(zip(circuit.answers, each, strict=False))
        word = [builder.any(on for answer, on in asks if answer >> i & 1) for i in range(host.bits)]
    else:
        word = embed(builder, circuit.netlist, told)[:bits]
    return builder.netlist(circuit.netlist.name, [("word", [*word, *[FALSE] * (host.bits - len(word))])])
