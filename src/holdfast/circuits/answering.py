"""A circuit that answers: the word that comes out of it, as one of so many answers."""

from holdfast.circuits.builder import Builder
from holdfast.circuits.netlist import Netlist
from holdfast.circuits.protections import embed


def answer_bits(netlist: Netlist, answers: int) -> int:
    """How many of a circuit's output bits, the lowest first, choose among so many answers: all, or what they need."""
    return min(len(netlist.output_bits), answers.bit_length() - 1)


def answering(netlist: Netlist, answers: int) -> Netlist:
    """A circuit with one output an answer, on where the word in its lowest bits is the answer's number.

    Args:
        netlist: the circuit.
        answers: how many there are; the largest power of two up to this is used, or 2^outputs, if that is less.
    """
    builder = Builder()
    inputs = [bit for port in netlist.inputs for bit in builder.input(port.name, len(port.bits))]
    word = embed(builder, netlist, inputs)[: answer_bits(netlist, answers)]
    outputs = [
        builder.every(bit ^ (not number >> i & 1) for i, bit in enumerate(word)) for number in range(1 << len(word))
    ]
    return builder.netlist(f"answering {netlist.name}", [("answer", outputs)])
