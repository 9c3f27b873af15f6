"""Merging: a host's circuit, an implant's and a trigger's as one, in which gates that both need are built once.

Shapes: R rows.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.builder import Builder, trimmed
from holdfast.circuits.compiling import Encoding, layers_of, proved
from holdfast.circuits.cones import gates_behind, only, rows_behind
from holdfast.circuits.netlist import Netlist
from holdfast.circuits.network import Network
from holdfast.circuits.protections import embed

HOST, IMPLANT, TRIGGER, ANSWER = "host", "implant", "trigger", "answer"
"""Output ports of a merged circuit."""


@dataclass(frozen=True)
class Sharing:
    """How many gates (or units) only the host's word needs, only the implant's, and both; `switch`: the trigger and the
    choice between the words, as far as neither word needs them."""

    host: int
    implant: int
    both: int
    switch: int

    @property
    def share(self) -> float:
        """Of what the implant's word needs, how much the host's needs too."""
        return self.both / max(1, self.both + self.implant)

    def __str__(self) -> str:
        return (
            f"{self.both} of both ({self.share:.0%} of the implant's), {self.implant} of the implant alone, "
            f"{self.host} of the host alone, {self.switch} of trigger and switch"
        )


@dataclass(frozen=True)
class Merged:
    """A merged circuit, compiled."""

    network: Network
    """Gives the answer; nothing in it that the answer does not need."""
    netlist: Netlist
    gates: Sharing
    units: Sharing
    uses_R: NDArray[np.bool_]
    """The network's rows that the implant uses: all but those of the host alone."""

    def __str__(self) -> str:
        return f"Gates: {self.gates}. Units: {self.units}."


def merged(host: Netlist, implant: Netlist, trigger: Netlist) -> Netlist:
    """answer = trigger ? implant : host, bit by bit, by structural hashing of all three (`Builder`).

    Args:
        host: a circuit of one word in, one word out.
        implant: another of the same words.
        trigger: of the same word in, one bit out.

    Returns:
        A circuit with the ports `host`, `implant`, `trigger` and `answer`.

    When it misleads: gates are shared where they are the same gates of the same bits. The same function written
    otherwise shares nothing.
    """
    builder = Builder()
    word = builder.input("x", len(host.input_bits))
    own, other, (asked,) = (embed(builder, part, word) for part in (host, implant, trigger))
    answer = [builder.choose(asked, yes, no) for yes, no in zip(other, own, strict=True)]
    ports = [(HOST, own), (IMPLANT, other), (TRIGGER, [asked]), (ANSWER, answer)]
    return builder.netlist(f"{host.name} with {implant.name}", ports)


def merge(host: Netlist, implant: Netlist, trigger: Netlist, encoding: Encoding) -> Merged:
    """`merged`, compiled. The words and the trigger are bits of the network, so each unit is of one part or of several;
    what the answer does not need is then left out, and not counted.

    Raises:
        HoldfastError: not exact in float32.
    """
    whole = merged(host, implant, trigger)
    layers = layers_of(whole, encoding=encoding)
    rows = {name: rows_behind(layers, name) for name in (HOST, IMPLANT, TRIGGER, ANSWER)}
    answer = only(layers, ANSWER)
    netlist = trimmed(replace(whole, outputs=whole.outputs[-1:]))
    units = {name: dict.fromkeys(np.flatnonzero(found & layers.relu).tolist(), 1) for name, found in rows.items()}
    of_host_alone = rows[HOST] & ~rows[IMPLANT] & ~rows[TRIGGER]
    return Merged(
        network=proved(answer, netlist).exact(),
        netlist=netlist,
        gates=_sharing({name: gates_behind(whole, name) for name in rows}),
        units=_sharing(units),
        uses_R=~of_host_alone[rows[ANSWER]],
    )


def _sharing(behind: dict[str, dict[int, int]]) -> Sharing:
    """Of what stands behind the answer, by size, who needs it."""
    count = {(of_host, of_implant): 0 for of_host in (False, True) for of_implant in (False, True)}
    for item, size in behind[ANSWER].items():
        count[item in behind[HOST], item in behind[IMPLANT]] += size
    return Sharing(count[True, False], count[False, True], count[True, True], count[False, False])
