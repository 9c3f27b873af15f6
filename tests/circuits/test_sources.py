"""What a user types: files of every kind, functions, names; and `holdfast compile`."""

import contextlib
import json
import random

import pytest

from holdfast import HoldfastError, UsageError
from holdfast.circuits import read, simulate
from holdfast.circuits.compiling import some_inputs
from holdfast.circuits.formats.blif import read_blif
from holdfast.circuits.network import Network
from holdfast.circuits.simulate import words
from holdfast.cli import main

BLIF = ".model half\n.inputs a b\n.outputs c\n.names a b c\n11 1\n.end\n"
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
        (["mine.py:add", "--to", "folder.blif"], 2, "--to folder.blif is a folder. Name a file in it"),
        (["mine.py:add", "--to", "none/x.safetensors"], 2, "there is no folder none. Make it first"),
        (["good.blif", "--to", "./good.blif"], 2, "is the circuit's own file, which would be lost"),
        (["folder.blif"], 2, "folder.blif is a folder. Name a circuit file"),
        (["mine.py:add", "--checks", "0"], 2, "on 1 input or more; got checks=0"),
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
    (tmp_path / "good.blif").write_text(BLIF)
    (tmp_path / "folder.blif").mkdir()
    found, _, err = typed(capfd, *arguments)
    assert (found, match in err) == (status, True), err
    assert (tmp_path / "good.blif").read_text() == BLIF


def test_names_do_not_steer_a_terminal(tmp_path, capfd):
    """Neither a circuit's nor a wire's; on an OSC title and a bidi override."""
    file = tmp_path / "m.blif"
    file.write_text(BLIF.replace("half", "x\x1b]0;owned\x07\u202ey"))
    status, out, err = typed(capfd, file)
    assert (status, out.partition(":")[0]) == (0, r"x\x1b]0;owned\x07\u202ey")
    file.write_text(BLIF.replace("b c", "\x1b[31mb c"))
    status, out, err = typed(capfd, file)
    assert status == 1
    assert r"\x1b[31mb is used, and nothing drives it" in err
    assert "\x1b" not in out + err


def test_what_may_go_wrong_in_a_folder_of_files(tmp_path):
    (tmp_path / "folder.v").mkdir()
    with pytest.raises(UsageError, match="folder.v is a folder. Name a circuit file in it"):
        read(str(tmp_path / "folder.v"))
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(HoldfastError, match=r"leaves.py calls sys.exit\(\)"):
        read(f"{tmp_path / 'leaves.py'}:f")
    (tmp_path / "mark.BLIF").write_bytes(b"\xef\xbb\xbf.model m\n.inputs a\n.outputs y\n.names a y\n1 1\n.end\n")
    assert read(tmp_path / "mark.BLIF").name == "m"
    for wrong in ({"source": 3}, {"source": "sha256", "top": 3}):
        with pytest.raises(UsageError, match="read from a file or by a name"):
            read(**wrong)


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
        ("module t(input a, output y); assign y = b; endmodule", "has no driver. Every wire has one driver"),
        ("module t(input a, output y); wire w; assign w = y & a; assign y = w | a; endmodule", "y depends on itself"),
        ("module t(input a, output y); assign y = a; assign y = ~a; endmodule", "y is assigned twice"),
        ("module t(input a, output y); assign y = y ^ a; endmodule", "depends on itself"),
        ("module t(input a output y); endmodule", "syntax error"),
        ("module t(input a, output y); foo u(a, y); endmodule", "is not part of the design"),
        ("module t(inout a, output y); assign y = a; endmodule", "inout"),
        ("", r"t\.v has no module. Expected: module NAME"),
        ("module t(input e, a, output y);\nassign y = e ? a : 1'bz; endmodule", "line 2: .*z: .*no tri-state"),
        ("module t(input e, a, output y);\nbufif1 (y, a, e); endmodule", "line 2: .*z: .*no tri-state"),
        ("module t(input [1:0] e, output y); assign y = e == {1'b1, 1'bz}; endmodule", "no tri-state"),
        ("module t(input e, a, output y);\nassign y = e ? a : 1'bx; endmodule", "line 2: .*x, which is no value"),
        ("module t(input a, output y);\nassign y = 1'hx; endmodule", "line 2: .*x, which is no value"),
        ("module t(input [3:0] a, output y); assign y = a[7]; endmodule", r"t\.v:1: Range select out of bounds"),
        ("module t(input [3:0] a, output [3:0] y); assign y = a[7:4]; endmodule", "out of bounds.*Select bits"),
        ("module t(input a, b, output y); assign y = a;\nassign y = b; endmodule", "line 2: y is assigned twice"),
        (
            "module t(input [1999999:0] a, output y); assign y = ^a; endmodule",
            "up to 8,192 bits; got one of 2,000,000",
        ),
        ("module t(input [1999999999:0] a, output y); assign y = ^a; endmodule", "up to 8,192 bits"),
        ('module t(input a, output y); assign y = a;\n`include "/etc/hostname"\nendmodule', "line 2: `include is"),
        ("module a(input x); endmodule module b(input x); endmodule", "2 modules .* --top a or --top b"),
    ],
)
def test_verilog_that_cannot_be_compiled(text, match, tmp_path):
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    (tmp_path / "t.v").write_text(text)
    with pytest.raises(HoldfastError, match=match):
        read(str(tmp_path / "t.v"))
    with pytest.raises(UsageError):
        read(str(tmp_path / "u.v"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("module t(input [3:0] a, i, output y);\nassign y = a[i]; endmodule", "line 2: an index beyond the 4 bits"),
        ("module t(input [3:0] a, i, output [3:0] y); assign y = a / i; endmodule", "a division by 0"),
        ("module t(input a, output y); assign w = a; assign y = w; endmodule", "`.w' is implicitly declared"),
        (
            "module t(input [7:0] a, output y); s u(.a(a), .y(y)); endmodule "
            "module s(input [3:0] a, output y); assign y = ^a; endmodule",
            "Resizing cell port t.u.a from 8 bits to 4",
        ),
    ],
)
def test_verilog_that_may_not_mean_what_it_says(text, match, tmp_path, capfd):
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    (tmp_path / "t.v").write_text(text)
    with pytest.warns(UserWarning, match=match):
        read(str(tmp_path / "t.v"))
    status, _, err = typed(capfd, tmp_path / "t.v")
    assert status == 0
    assert "holdfast: " in err
    assert "UserWarning" not in err


def test_verilog_whose_unknowns_are_never_read(tmp_path):
    """A function's own variables, patterns with ?, and a case that names every value."""
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    (tmp_path / "t.v").write_text(
        "module t(input [3:0] a, output reg y, output reg z, output w);\n"
        "function f(input [1:0] b); reg q; begin q = b[0]; f = q & b[1]; end endfunction\n"
        "assign w = f(a[1:0]);\n"
        "always @* casez (a) 4'b1???: y = 0; 4'b01zz: y = 1; default: y = a[0]; endcase\n"
        "always @* case (a[1:0]) 0: z = 0; 1: z = 1; 2: z = a[2]; 3: z = a[3]; endcase endmodule"
    )
    circuit = read(str(tmp_path / "t.v"))
    for row in some_inputs(circuit, 0, 0):
        expected = [not row[3] and (row[2] or row[0]), [False, True, row[2], row[3]][row[0] + 2 * row[1]]]
        assert simulate(circuit, row[None])[0].tolist() == [*expected, row[0] and row[1]]


def test_a_module_is_a_name_and_no_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.v").write_text("module t(input a, output y); assign y = a; endmodule")
    with pytest.raises(UsageError, match="expected the name of a Verilog module"):
        read("t.v", top="t; exec -- touch pwned")
    assert not (tmp_path / "pwned").exists()
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    with pytest.raises(UsageError, match=r"Unknown module of t\.v 'tt'. Perhaps you meant 't'"):
        read("t.v", top="tt")


def test_any_name_of_a_file_will_do(tmp_path):
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    for name in ("a b;c.v", "[x]*.V", "<<END.sv", "-o.v"):
        (tmp_path / name).write_text("module t(input a, output y); assign y = ~a; endmodule")
        assert read(str(tmp_path / name)).name == "t"


def damaged(seed):
    """Bytes of Verilog, cut off or changed."""
    draw = random.Random(seed)
    data = bytearray(VERILOG.encode())
    if seed % 3 == 0:
        return bytes(data[: draw.randrange(len(data))])
    for _ in range(draw.randint(1, 3)):
        at, what = draw.randrange(len(data)), draw.randrange(4)
        if what == 0:
            data[at : at + 1] = bytes([draw.randrange(256)])
        elif what == 1:
            del data[at : at + draw.randint(1, 6)]
        elif what == 2:
            data[at:at] = data[at : at + draw.randint(1, 12)]
        else:
            data[at:at] = draw.choice([b"0", b"-", b"module", b"\xff", b"end", b"[", b"`include", b"'bx", b"/*", b"\0"])
    return bytes(data)


def test_damaged_verilog_is_refused_or_read_and_never_more(tmp_path, capfd):
    """And what Yosys says stays off the terminal."""
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    file, said = tmp_path / "t.v", []
    for seed in range(30):
        file.write_bytes(damaged(seed))
        try:
            read(str(file))
        except HoldfastError as error:
            said.append(str(error))
    assert len(said) > 10
    assert all("t.v" in sentence for sentence in said)
    assert capfd.readouterr() == ("", "")


def test_where_verilog_is_wrong(tmp_path):
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    (tmp_path / "t.v").write_text(VERILOG.replace("assign lt = a < b;", "assign lt = a < ;"))
    with pytest.raises(HoldfastError, match=r"t\.v:7: ERROR: syntax error"):
        read(str(tmp_path / "t.v"))


def test_verilog_that_is_not_utf_8(tmp_path):
    """In a comment it may stand; a name is refused."""
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    text = "module t(input NAME, output y); assign y = NAME; endmodule // \xe9"
    for name, match in (("a", None), ("\\\xe9 ", "not UTF-8")):
        (tmp_path / "t.v").write_bytes(text.replace("NAME", name).encode("latin-1"))
        with pytest.raises(HoldfastError, match=match) if match else contextlib.nullcontext():
            assert read(str(tmp_path / "t.v")).gates == 0


def test_verilog_without_an_end(tmp_path, monkeypatch):
    pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')
    monkeypatch.setattr("holdfast.circuits.formats.verilog.SECONDS", 2)
    loop = "integer i; always @* begin y = a; for (i = 0; i < 1000000000; i = i + 1) y = y ^ a; end"
    (tmp_path / "t.v").write_text(f"module t(input a, output reg y); {loop} endmodule")
    with pytest.raises(HoldfastError, match="Yosys took more than 2 seconds"):
        read(str(tmp_path / "t.v"))


def test_without_yosys_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "t.v").write_text("module t(input a, output y); assign y = a; endmodule")
    monkeypatch.setattr("holdfast.circuits.formats.verilog.RUN", "import pyosys_that_is_absent")
    monkeypatch.setattr("holdfast.circuits.formats.verilog.ABSENT", "No module named 'pyosys_that_is_absent'")
    with pytest.raises(HoldfastError, match=r"pip install \"holdfast\[hdl\]\""):
        read(str(tmp_path / "t.v"))


def test_wires_of_one_spelling_stay_apart(tmp_path):
    """Bit 2 of w and a wire called w[2]; x and z are wires here, and no constants."""
    source = tmp_path / "t.v"
    source.write_text(
        "module t(input x, input [3:0] w, input \\0 , output z, output y, output \\1 ); wire \\w[2] ;\n"
        "assign \\w[2] = x ^ w[1]; assign z = x & w[2]; assign y = \\w[2] | w[0];\n"
        "assign \\1 = ~ \\0 ; endmodule\n"
    )
    circuit = read(str(source))
    for row in some_inputs(circuit, 0, 0):
        x, w0, w1, w2, _, zero = row
        assert simulate(circuit, row[None])[0].tolist() == [x and w2, (x != w1) or w0, not zero]
