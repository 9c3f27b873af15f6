"""What a user types: files of every kind, functions, names; and `holdfast compile`."""

import json

import pytest

from holdfast import HoldfastError, UsageError
from holdfast.circuits import read, simulate
from holdfast.circuits.compiling import some_inputs
from holdfast.circuits.formats.blif import read_blif
from holdfast.circuits.network import Network
from holdfast.circuits.simulate import words
from holdfast.cli import main

FUNCTION = "def add(a: 8, b: 8):\n    print('noise')\n    return a + b\n"
VERILOG = """
module top(input [7:0] a, input [7:0] b, input signed [3:0] c,
           output [8:0] y, output lt, output slt, output reg [7:0] m);
  wire [7:0] g;
  gray u(.z(a), .y(g));
  assign y = a + b;
  assign lt = a < b;
  assign slt = c < $signed(a[3:0]);
  always @* case (a[1:0])
    0: m = b;
    1: m = a - b;
    2: m = g;
    default: m = a * b;
  endcase
endmodule
module gray(input [7:0] z, output [7:0] y);
  assign y = z ^ (z >> 1);
endmodule
"""


def typed(capfd, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["compile", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    return end.value.code or 0, out, err


def test_from_a_function_to_a_file_and_back(tmp_path, capfd):
    (tmp_path / "mine.py").write_text(FUNCTION)
    to = tmp_path / "net.safetensors"
    status, out, _ = typed(capfd, tmp_path / "mine.py:add", "--to", to, "--json", "--checks", "50")
    said = json.loads(out)
    assert (status, said["wrong_bits"], said["checked"], said["inputs"], said["outputs"]) == (0, 0, 50, 16, 8)
    assert {"gates", "depth", "neurons", "weights", "layers", "seconds", "exact_in", "pass_throughs"} <= set(said)
    assert Network.load(to).name == "add"
    blif = tmp_path / "net.blif"
    assert typed(capfd, tmp_path / "mine.py:add", "--to", blif)[0] == 0
    assert len(read_blif(blif.read_text()).input_bits) == 16
    status, out, _ = typed(capfd, blif, "--encoding", "restoring", "--k", "4")
    assert status == 0
    assert "0 wrong bits on 1,024 inputs" in out


def test_built_in_names(capfd):
    assert read("sha256-3").name == "sha256-3"
    assert read("keccak").name == "keccak-f1600"
    status, out, _ = typed(capfd, "sha256-2", "--json")
    assert (status, json.loads(out)["inputs"]) == (0, 512)


@pytest.mark.parametrize(
    ("arguments", "status", "match"),
    [
        (["sha265"], 2, "sha256"),
        (["sha256-0"], 2, "1 to 64 rounds"),
        (["absent.blif"], 2, "absent.blif"),
        (["mine.py"], 2, "functions add. Choose one"),
        (["mine.py:ad"], 2, "add"),
        (["broken.py:f"], 1, "could not be run: ZeroDivisionError"),
        (["mine.txt"], 1, "mine.txt, line"),
        (["binary.blif"], 1, "not text"),
        (["mine.exe"], 2, "expected a circuit in a file that ends in"),
        (["mine.py:add", "--to", "x.pt"], 2, ".safetensors"),
        (["mine.py:add", "--top", "m"], 2, "--top names a module"),
        (["mine.py:add", "--k", "9"], 2, "k = 2 to 6"),
        (["sha256-1", "--dtype", "bfloat16"], 1, "would not be exact in bfloat16"),
    ],
)
def test_wrong_use_is_a_sentence(arguments, status, match, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FUNCTION)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "mine.txt").write_text("not a circuit")
    (tmp_path / "binary.blif").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "mine.exe").write_text("")
    found, _, err = typed(capfd, *arguments)
    assert (found, match in err) == (status, True), err


def test_verilog_by_yosys(tmp_path):
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    (tmp_path / "top.v").write_text(VERILOG)
    netlist = read(str(tmp_path / "top.v"))
    assert netlist.name == "top"
    assert netlist.adders, "sums are kept as words"
    inputs = some_inputs(netlist, 500, 0)
    for (a, b, c), row in zip(
        zip(words(inputs[:, :8]), words(inputs[:, 8:16]), words(inputs[:, 16:]), strict=True),
        simulate(netlist, inputs),
        strict=True,
    ):
        signed = lambda v: v - 16 * (v > 7)
        y, m = words(row[None, :9])[0], words(row[None, 11:])[0]
        assert (y, row[9], row[10]) == (a + b, a < b, signed(c) < signed(a & 15))
        assert m == [b, (a - b) % 256, a ^ (a >> 1), a * b % 256][a & 3]
    assert read(str(tmp_path / "top.v"), top="gray").name == "gray"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("module t(input a, output reg q); always @(posedge a) q <= ~q; endmodule", r"line 1: A register or latch"),
        ("module t(input a, output reg y); always @* if (a) y = 1; endmodule", r"A register or latch"),
        ("module t(input a, output y); assign y = b; endmodule", "has no driver"),
        ("module t(input a, output y); assign y = a; assign y = ~a; endmodule", "y is assigned twice"),
        ("module t(input a, output y); assign y = y ^ a; endmodule", "depends on itself"),
        ("module t(input a output y); endmodule", "syntax error"),
        ("module t(input a, output y); foo u(a, y); endmodule", "is not part of the design"),
        ("module t(inout a, output y); assign y = a; endmodule", "inout"),
        ("", "no top module"),
    ],
)
def test_verilog_that_cannot_be_compiled(text, match, tmp_path):
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    (tmp_path / "t.v").write_text(text)
    with pytest.raises(HoldfastError, match=match):
        read(str(tmp_path / "t.v"))
    with pytest.raises(UsageError):
        read(str(tmp_path / "u.v"))


def test_without_yosys_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "t.v").write_text("module t(input a, output y); assign y = a; endmodule")
    monkeypatch.setattr("holdfast.circuits.formats.verilog.RUN", "import pyosys_that_is_absent")
    monkeypatch.setattr("holdfast.circuits.formats.verilog.ABSENT", "No module named 'pyosys_that_is_absent'")
    with pytest.raises(HoldfastError, match=r"pip install \"holdfast\[hdl\]\""):
        read(str(tmp_path / "t.v"))
