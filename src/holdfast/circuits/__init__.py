"""Boolean circuits as network weights: readers, a tracer, a simulator, and the compiler from a netlist to layers.

netlist (`netlist.py`) <- a function (`trace.py`), a file (`formats/`), a hash (`hashes.py`)
        -> pieces (`cover.py` and `decompose.py`, or `products.py`) -> layers (`lower.py`) -> network (`network.py`);
           a circuit with a clock (`clocked.py`) -> its tick -> a recurrent network (`recurrent.py`)
        -> bits (`simulate.py`), the oracle
"""

from holdfast.circuits.compiling import Compiled, build, compile
from holdfast.circuits.netlist import Netlist
from holdfast.circuits.network import Network
from holdfast.circuits.protections import locked, masked
from holdfast.circuits.recurrent import Recurrent, recurrent
from holdfast.circuits.simulate import simulate
from holdfast.circuits.sources import read, read_clocked
from holdfast.circuits.trace import Bits, concat, lookup, mux, trace

__all__ = [
    "Bits",
    "Compiled",
    "Netlist",
    "Network",
    "Recurrent",
    "build",
    "compile",
    "concat",
    "locked",
    "lookup",
    "masked",
    "mux",
    "read",
    "read_clocked",
    "recurrent",
    "simulate",
    "trace",
]
