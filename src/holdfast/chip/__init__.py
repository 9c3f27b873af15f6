"""A processor that becomes a network: a core for RV32I, and the programs that it executes.

instructions (`instructions.py`) -> a core (`core.py`, in Amaranth) -> RTLIL, which Yosys reads
a file -> memory and where to begin (`program.py`)
"""
