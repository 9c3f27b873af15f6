"""Yosys as the judge: is a circuit the one that it was made of?"""

import subprocess
import sys

RUN = "import sys\nfrom pyosys import libyosys as ys\nd = ys.Design()\nfor p in sys.argv[1:]: ys.run_pass(p, d)"
VERILOG = ("hierarchy -auto-top", "proc", "flatten", "memory -nomap", "memory_map", "opt -full", "techmap")
"""From Verilog to gates by Yosys' own passes, arithmetic included: no `alumacc`, which the reader goes by."""
PROVED, REFUTED = "no model found: SUCCESS", "model found: FAIL"


def passes(file):
    """What reads a file, with each bit a port."""
    if file.suffix in (".v", ".sv"):
        return [f"read_verilog -sv {file}", *VERILOG, "splitnets -ports"]
    return [f"{'read_blif' if file.suffix == '.blif' else 'read_aiger'} {file}"]


def equivalent(one, other, seconds=600):
    """Whether two files hold the same function: a proof by SAT over all inputs that no output differs.

    Both become and-inverter graphs in one design first, where what is built alike is merged.
    """
    steps = []
    for name, file in (("gold", one), ("gate", other)):
        steps += [*passes(file), f"rename -top {name}", f"design -stash {name}"]
    steps += [f"design -copy-from {name} -as {name} {name}" for name in ("gold", "gate")]
    steps += ["miter -equiv -make_assert -flatten gold gate miter", "hierarchy -top miter", "flatten", "aigmap"]
    steps += ["opt -full", f"sat -verify -prove-asserts -timeout {seconds} miter"]
    done = subprocess.run([sys.executable, "-c", RUN, *steps], capture_output=True, text=True, check=False)
    if PROVED in done.stdout and done.returncode == 0:
        return True
    assert REFUTED in done.stdout, (done.stdout + done.stderr)[-2000:]
    return False
