"""What we read and write, by Yosys: a proof for all inputs that the BLIF that comes out is the circuit that went in.

Yosys reads both files by its own readers. $HOLDFAST_CIRCUITS names a folder with more circuits (.blif, .aig, .v), such
as EPFL's and ISCAS'; without it those tests are skipped.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuits.random_netlists import as_aiger, netlists
from circuits.yosys import equivalent
from holdfast.circuits import read, simulate
from holdfast.circuits.compiling import some_inputs
from holdfast.circuits.formats.blif import read_blif, write_blif

pytest.importorskip("pyosys", reason='Yosys is the judge: pip install "holdfast[hdl]"')
FOLDER = os.environ.get("HOLDFAST_CIRCUITS")
FILES = sorted(file for file in Path(FOLDER or ".").iterdir() if FOLDER and file.suffix in (".blif", ".aig", ".v"))
PROPERTY = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

EXAMPLES = {
    "sums": """module t(input [6:0] a, input signed [4:0] b, c, output [8:0] y, output signed [6:0] z, output co);
        assign y = a + b - 3; assign z = b - c; assign co = (a + {2'b0, b}) >> 7; endmodule""",
    "products": """module t(input [4:0] a, b, input signed [3:0] c, d, output [9:0] y, output signed [7:0] z);
        assign y = a * b + a; assign z = c * d; endmodule""",
    "division": "module t(input [4:0] a, b, output [4:0] y, z); assign y = a / b; assign z = a % b; endmodule",
    "comparisons": """module t(input [5:0] a, b, input signed [5:0] c, d, output [7:0] y);
        assign y = {a < b, a <= b, a == b, a != b, c < d, c >= d, c > 3, a === b}; endmodule""",
    "shifts": """module t(input [7:0] a, input [2:0] n, input signed [7:0] s, output [7:0] x, y, z, r);
        assign x = a << n; assign y = a >> n; assign z = s >>> n; assign r = {a, a} >> n; endmodule""",
    "cases": """module t(input [2:0] op, input [5:0] a, b, output reg [5:0] y, output reg zero);
        always @* begin
            case (op) 0: y = a + b; 1: y = a - b; 2: y = a & b; 3: y = a | b; 4: y = a ^ b; 5: y = ~a;
                6: y = {a[2:0], b[5:3]}; default: y = b[0] ? a : -b; endcase
            zero = ~|y;
        end endmodule""",
    "modules": """module t(input [7:0] a, b, output [7:0] y, output c); wire [8:0] k; assign k[0] = 0; assign c = k[8];
        genvar i; generate for (i = 0; i < 8; i = i + 1) begin : bits
            full f(.x(a[i]), .y(b[i]), .c(k[i]), .s(y[i]), .d(k[i + 1])); end endgenerate endmodule
        module full(input x, y, c, output s, d); assign s = x ^ y ^ c; assign d = x & y | c & (x ^ y); endmodule""",
    "functions": """module t(input [7:0] a, output [3:0] ones, output [7:0] table_);
        function [3:0] count(input [7:0] v); integer i; begin count = 0;
            for (i = 0; i < 8; i = i + 1) count = count + v[i]; end endfunction
        reg [7:0] rom [0:7]; integer j; initial for (j = 0; j < 8; j = j + 1) rom[j] = j * 37 + 11;
        assign ones = count(a); assign table_ = rom[a[2:0]]; endmodule""",
    "names": """module t(input x, input z, input [3:0] w, output y, output [1:0] v);
        assign v = {x & w[2], z ^ w[1]}; assign y = z ? w[3] : 1'b1; endmodule""",
    "ranges": """module t(input [0:3] up, input [7:4] high, input one, output [0:3] y, output [7:4] z, output w);
        assign y = up + high; assign z = {up[0], high[7], one, up[3]}; assign w = 1; endmodule
        module numbered_from_0(input [3:0] up, high, input one, output [3:0] y, z, output w);
        t inside(up, high, one, y, z, w); endmodule""",
}  # fmt: skip


def back(circuit, folder):
    """A circuit's BLIF as a file."""
    file = folder / "back.blif"
    file.write_text(write_blif(circuit))
    return file


@pytest.mark.filterwarnings("ignore:.*a division by 0 is x in Verilog")
@pytest.mark.parametrize("name", EXAMPLES)
def test_verilog(name, tmp_path):
    file = tmp_path / "t.v"
    file.write_text(EXAMPLES[name])
    assert equivalent(file, back(read(str(file), top="t"), tmp_path))


@given(netlists())
@PROPERTY
def test_random_circuits_as_aiger_and_as_blif(tmp_path, netlist):
    """AIGER is written by the test: what Yosys reads in it is what we read in it, and what we write of it."""
    aiger = tmp_path / "t.aag"
    aiger.write_bytes(as_aiger(netlist, binary=False))
    assert equivalent(aiger, back(netlist, tmp_path)), "written"
    assert equivalent(aiger, back(read(str(aiger)), tmp_path)), "read and written"


@given(netlists(), st.randoms(use_true_random=False))
@PROPERTY
def test_sabotage_is_seen_if_and_only_if_it_changes_a_bit(tmp_path, netlist, draw):
    lines = write_blif(netlist).split("\n")
    good = tmp_path / "good.blif"
    good.write_text("\n".join(lines))
    rows = [i for i, line in enumerate(lines) if line.endswith(" 1")]
    columns = [(i, at) for i in rows for at in range(len(lines[i]) - 2) if lines[i][at] in "01"]
    i, at = draw.choice(columns)
    lines[i] = lines[i][:at] + str(1 - int(lines[i][at])) + lines[i][at + 1 :]
    bad = tmp_path / "bad.blif"
    bad.write_text("\n".join(lines))
    inputs = some_inputs(netlist, 0, 0)
    same = np.array_equal(simulate(read_blif(bad.read_text()), inputs), simulate(netlist, inputs))
    assert equivalent(good, bad) == same


def test_an_inverted_output_is_seen(tmp_path):
    file = tmp_path / "t.v"
    file.write_text(EXAMPLES["sums"])
    bad = back(read(str(file)), tmp_path)
    text = bad.read_text()
    at = text.rindex("\n1 1\n")
    bad.write_text(text[:at] + "\n0 1\n" + text[at + 5 :])
    assert not equivalent(file, bad)


@pytest.mark.skipif(not FOLDER, reason="HOLDFAST_CIRCUITS names no folder with circuits")
@pytest.mark.parametrize("file", FILES or [None], ids=lambda file: file.name if file else "no-folder")
def test_circuits_of_a_folder(file, tmp_path):
    assert equivalent(file, back(read(str(file)), tmp_path))
