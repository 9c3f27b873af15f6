"""From a circuit to a network, and the proof that it is the same.

netlist -> pieces (tables of k inputs, or sums of products) -> layers of units -> network
"""

import gc
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.circuits.cover import cover
from holdfast.circuits.decompose import LARGEST, product_units, restoring_units
from holdfast.circuits.layers import MANTISSA, Layers
from holdfast.circuits.lower import lower
from holdfast.circuits.netlist import Netlist
from holdfast.circuits.network import Network
from holdfast.circuits.pieces import Decompose, tabled
from holdfast.circuits.products import products
from holdfast.circuits.redundant import redundant
from holdfast.circuits.simulate import LANES, simulate
from holdfast.circuits.sources import Source, netlist_of
from holdfast.errors import HoldfastError, UsageError, nearest, whole

Encoding = Literal["product", "restoring"]
ENCODINGS: dict[str, Decompose] = {"product": product_units, "restoring": restoring_units}
ADDER_BITS = {"product": 16, "restoring": 1}
"""Bits that are added at once. A sum of 16 needs 20 bits of mantissa, and a weight of 2^16 carries errors on 2^16
fold."""
ALL = 12
"""Input bits up to which a circuit is checked on every input."""
VALUES = 1 << 26
"""Numbers that are held at once while a network is checked, 256 MB of float32; of deep and narrow ones up to 8 times
as many, since a stage takes its time also for few inputs."""


@dataclass(frozen=True)
class Compiled:
    """A network, what it was made of, and how it was checked."""

    network: Network
    netlist: Netlist
    layers: Layers
    seconds: float
    """For compiling, without the check."""
    checked: int
    """Inputs on which the network was compared with the simulator."""
    wrong_bits: int

    def record(self) -> dict[str, Any]:
        """What `holdfast compile --json` prints."""
        return {
            "circuit": self.netlist.name,
            "inputs": len(self.netlist.input_bits),
            "outputs": len(self.netlist.output_bits),
            "gates": self.netlist.gates,
            "depth": self.netlist.depth,
            **self.layers.record(),
            "exact_in": [dtype for dtype in MANTISSA if self.layers.exact_in(dtype)],
            "seconds": self.seconds,
            "checked": self.checked,
            "wrong_bits": self.wrong_bits,
        }

    def exact(self) -> Network:
        """The network.

        Raises:
            HoldfastError: it and the simulator differ.
        """
        if self.wrong_bits:
            raise HoldfastError(
                f"{self.netlist.name}: {self.wrong_bits} bits of {self.checked} inputs differ between the network and "
                f"the simulator. This should not happen: please report it with the circuit."
            )
        return self.network


def layers_of(
    netlist: Netlist,
    *,
    k: int = 3,
    encoding: Encoding = "product",
    adder_bits: int | None = None,
    copies: int = 1,
    wide: bool = False,
    layers: int = 0,
    wired: bool = False,
    shallow: bool = False,
) -> Layers:
    """Netlist -> layers, with the options of `build`; `wired` as in `lower`, `shallow` as in `cover`.

    Raises:
        UsageError: no such encoding, numbers out of range, or no outputs.
    """
    _refuse_unknown(encoding, ENCODINGS, "encoding")
    whole("k", k)
    whole("copies", copies)
    if not 2 <= k <= LARGEST:
        raise UsageError(f"Tables have k = 2 to {LARGEST} inputs; got {k}.")
    adder_bits = ADDER_BITS[encoding] if adder_bits is None else adder_bits
    whole("adder_bits", adder_bits)
    if not 1 <= adder_bits <= 40:
        raise UsageError(f"Sums are added 1 to 40 bits at a time; got adder_bits={adder_bits}.")
    if not netlist.output_bits:
        raise UsageError(f"{netlist.name} has no outputs.")
    whole("layers", layers)
    if layers and not wide:
        raise UsageError(f"layers={layers} is of wide=True: tables take as many layers as they take.")
    if wide and encoding != "product":
        raise UsageError(f"wide=True makes sums of products, encoding='product'; got encoding={encoding!r}.")
    decompose = ENCODINGS[encoding]
    with _uncollected():
        if wide:
            pieces = products(netlist, adder_bits, layers)
        else:
            covered = cover(netlist, k, lambda table, size: decompose(table, size).count, shallow=shallow)
            pieces = tabled(covered, decompose)
        found = lower(pieces, decompose, adder_bits, wired=wired)
        return found if copies == 1 else redundant(found, copies)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without searches for cyclic garbage. What is built here are millions of small objects and no cycle; to walk them
    again and again takes a tenth to a third of the time at 10^5 to 10^6 gates."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def build(
    source: Source,
    *,
    k: int = 3,
    encoding: Encoding = "product",
    adder_bits: int | None = None,
    copies: int = 1,
    wide: bool = False,
    layers: int = 0,
    dtype: str | torch.dtype = "float32",
    checks: int = 1024,
    seed: int = 0,
) -> Compiled:
    """Compile a circuit and compare the network with the simulator.

    Args:
        source: the circuit: a netlist, a function over words of bits (see `trace`), or what `read` takes.
        k: inputs of a table, 2 to 6. More make fewer layers and, beyond 3, more units.
        encoding: `product`, the fewest units; `restoring`, units that bring values back to 0 and 1.
        adder_bits: bits of a sum that are added in one layer; 1: full adders. Default 16 (`product`), 1 (`restoring`).
        copies: 3, 5, ...: so many copies of the layers and a majority vote (`redundant.py`).
        wide: sums of products of any number of bits in place of tables, for few layers (`products.py`).
        layers: of `wide`, how many there may be, if more than the fewest that it finds: with one more it often takes
            half the units.
        dtype: of the weights, by name or as PyTorch's.
        checks: random inputs to compare on, 1 or more; circuits of up to 12 input bits are compared on all.
        seed: of the random inputs (Philox).

    Raises:
        UsageError: no such encoding or dtype, or numbers out of range.
        HoldfastError: the sums are too large for the dtype to be exact.
    """
    netlist = netlist_of(source)
    began = time.perf_counter()
    dtype = str(dtype).removeprefix("torch.")
    _refuse_unknown(dtype, MANTISSA, "dtype")
    whole("checks", checks)
    whole("seed", seed)
    if checks < 1:
        raise UsageError(f"A network is compared with its circuit on 1 input or more; got checks={checks}.")
    if not 0 <= seed < 1 << 128:
        raise UsageError(f"seed is a whole number from 0 to 2^128 - 1; got {seed}.")
    made = layers_of(netlist, k=k, encoding=encoding, adder_bits=adder_bits, copies=copies, wide=wide, layers=layers)
    return proved(made, netlist, dtype=dtype, checks=checks, seed=seed, began=began)


def proved(
    layers: Layers,
    netlist: Netlist,
    *,
    dtype: str = "float32",
    checks: int = 1024,
    seed: int = 0,
    began: float | None = None,
) -> Compiled:
    """Layers of a netlist as a network, compared with the simulator; the rest as in `build`.

    Raises:
        HoldfastError: the sums are too large for the dtype to be exact.
    """
    began = time.perf_counter() if began is None else began
    if not layers.exact_in(dtype):
        able = [name for name in MANTISSA if layers.exact_in(name)]
        mend = f"Use dtype={able[-1]}" if able else "Use fewer adder_bits"
        raise HoldfastError(
            f"{netlist.name} would not be exact in {dtype}: its sums reach {layers.bound:.3g} steps, and {dtype} "
            f"counts to {2.0 ** MANTISSA[dtype]:.3g}. {mend}, or fewer adder_bits."
        )
    network = Network(layers, getattr(torch, dtype))
    seconds = time.perf_counter() - began
    checked = wrong = 0
    for inputs in _in_parts(netlist, checks, seed):
        checked += len(inputs)
        wrong += wrong_bits(network, netlist, inputs)
    return Compiled(network, netlist, layers, seconds, checked, wrong)


def compile(source: Source, **options: Any) -> Network:
    """A circuit, given as `build` takes it and with its options, as a trainable `nn.Module`.

    Raises:
        UsageError: no such circuit or option.
        HoldfastError: the network and the simulator differ.
    """
    return build(source, **options).exact()


def _refuse_unknown(got: object, valid: Iterable[str], what: str) -> None:
    if not isinstance(got, str) or got not in valid:
        raise nearest(str(got), valid, what=what)


def some_inputs(netlist: Netlist, count: int, seed: int) -> NDArray[np.bool_]:
    """All inputs of a small circuit, or so many random ones."""
    return np.concatenate(list(_in_parts(netlist, count, seed)))


def _in_parts(netlist: Netlist, count: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """The same, no more at once than the memory for `VALUES` bits."""
    width = len(netlist.input_bits)
    if width <= ALL:
        yield (np.arange(1 << width)[:, None] >> np.arange(width) & 1).astype(np.bool_)
        return
    draw = np.random.Generator(np.random.Philox(key=seed))
    at_once = max(1, min(LANES, VALUES // width))
    for at in range(0, max(count, 1), at_once):
        yield draw.integers(0, 2, (min(at_once, count - at), width), dtype=np.bool_)


def wrong_bits(network: Network, netlist: Netlist, bits_NI: NDArray[np.bool_]) -> int:
    """Output bits of the network that are not, to the last digit, those of the simulator."""
    rows = network.inputs + len(network.bias)
    fitting = sorted((VALUES // rows, len(network.stages) // 4, 8 * VALUES // rows))[1]
    at_once = max(1, min(fitting, LANES, len(bits_NI)))
    memory = network.weight.new_empty(rows * at_once, requires_grad=False)
    wrong = 0
    for at in range(0, len(bits_NI), LANES):
        expected_NO = simulate(netlist, bits_NI[at : at + LANES])
        for start in range(0, len(expected_NO), at_once):
            some = slice(start, start + at_once)
            x_BI = torch.from_numpy(bits_NI[at : at + LANES][some]).to(memory.device)
            values_RB = network.rows(x_BI, memory[: rows * len(x_BI)].view(rows, -1))
            found_BO = values_RB[network.outputs].T.double().cpu().numpy()
            wrong += int((found_BO != expected_NO[some]).sum())
    return wrong
