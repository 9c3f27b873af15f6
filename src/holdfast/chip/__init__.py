"""A processor that becomes a network: a core for RV32I, a machine around it, and the programs that it executes.

instructions (`instructions.py`) -> a core (`core.py`, in Amaranth) -> RTLIL, which Yosys reads
                                 -> its tick as a network (`compiled.py`) -> its ports as numbers (`ports.py`)
an encrypted network (`evaluator.py`) -> assembly (`assembler.py`) -> a program
a file -> a program (`program.py`) -> memory (`memory.py`) -> a machine (`machine.py`) -> what it did (`tracing.py`)
"""
