"""Cones: what of a circuit stands behind one of its output ports."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from holdfast.circuits.layers import Layers
from holdfast.circuits.netlist import ADD, INPUT, Literals, Netlist, Port, operands


def gates_behind(netlist: Netlist, port: str) -> dict[int, int]:
    """Two-input gates from which a port is computed: 1 for each node of them; for an adder, under -1 minus its number,
    all of its gates, since it stands as a whole."""
    rows, found = list(netlist.rows()), {}
    wanted = {bit >> 1 for bit in _bits(netlist.outputs, port)}
    for node in range(netlist.nodes - 1, -1, -1):
        kind, left, right = rows[node]
        if node not in wanted or kind == INPUT:
            continue
        if kind == ADD:
            found[-1 - left] = 5 * netlist.adders[left].width
            wanted |= {bit >> 1 for bit in operands(netlist.adders[left])}
        else:
            found[node] = 1
            wanted |= {left >> 1, right >> 1}
    return found


def rows_behind(layers: Layers, port: str) -> NDArray[np.bool_]:
    """Which rows a port is computed from."""
    found = np.zeros(layers.inputs + layers.rows, np.bool_)
    found[list(_bits(layers.output_ports, port))] = True
    for row in range(layers.rows - 1, -1, -1):
        if found[layers.inputs + row]:
            found[layers.indices[layers.starts[row] : layers.starts[row + 1]]] = True
    return found[layers.inputs :]


def only(layers: Layers, port: str) -> Layers:
    """The layers of one port: rows that it is not computed from are left out."""
    stays = rows_behind(layers, port)
    counts = np.diff(layers.starts)
    edges = np.repeat(stays, counts)
    inputs = np.arange(layers.inputs)
    place = np.concatenate([inputs, layers.inputs + np.cumsum(stays) - 1])
    bits = tuple(int(place[bit]) for bit in _bits(layers.output_ports, port))
    return replace(
        layers,
        output_ports=(Port(port, bits),),
        level=layers.level[stays],
        relu=layers.relu[stays],
        starts=np.concatenate([[0], np.cumsum(counts[stays])]),
        indices=place[layers.indices[edges]],
        weights=layers.weights[edges],
        bias=layers.bias[stays],
        most=layers.most[stays],
    )


def _bits(ports: tuple[Port, ...], name: str) -> Literals:
    return next(port.bits for port in ports if port.name == name)
