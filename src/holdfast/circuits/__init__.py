"""Boolean circuits as network weights: readers, a tracer, a simulator, and the compiler from a netlist to layers.

netlist (`netlist.py`) <- a function (`trace.py`), a file (`formats/`), a hash (`hashes.py`)
        -> cover (`cover.py`) -> layers (`lower.py`, by `decompose.py`) -> network (`network.py`)
        -> bits (`simulate.py`), the oracle
"""

from holdfast.circuits.compiling import Compiled, build, compile
from holdfast.circuits.netlist import Netlist
from holdfast.circuits.network import Network
from holdfast.circuits.protections import locked, masked
from holdfast.circuits.simulate import simulate
from holdfast.circuits.sources import read
from holdfast.circuits.trace import Bits, concat, lookup, mux, trace

__all__ = [
    "Bits",
    "Compiled",
    "Netlist",
    "Network",
    "build",
    "compile",
    "concat",
    "locked",
    "lookup",
    "masked",
    "mux",
    "read",
    "simulate",
    "trace",
]
