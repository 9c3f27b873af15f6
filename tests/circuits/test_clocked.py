"""Circuits with a clock as recurrent networks, against models in Python."""

import random

import pytest
import torch

from circuits.test_sources import typed
from holdfast import HoldfastError, UsageError
from holdfast.circuits import Recurrent, read_clocked, recurrent

pytest.importorskip("pyosys", reason='Verilog needs Yosys: pip install "holdfast[hdl]"')

COUNTER = """module counter(input clk, rst, en, input [2:0] by, output reg [7:0] n, output odd);
  initial n = 8'd77;
  assign odd = n[0];
  always @(posedge clk) if (rst) n <= 3; else if (en) n <= n + by;
endmodule"""
LFSR = """module lfsr(input clk, input x, output y);
  reg [15:0] s = 16'hACE1;
  assign y = s[0] ^ x;
  always @(posedge clk) s <= {s[0] ^ s[2] ^ s[3] ^ s[5], s[15:1]};
endmodule"""
MEMORY = """module memory(input clk, we, input [2:0] at, other, input [4:0] x, output [4:0] y, output reg [4:0] late);
  reg [4:0] held [0:7];
  integer i; initial for (i = 0; i < 8; i = i + 1) held[i] = 3 * i;
  assign y = held[other];
  always @(posedge clk) begin if (we) held[at] <= x; late <= held[other]; end
endmodule"""


def counter(n, rst, en, by):
    return (3 if rst else (n + by) % 256 if en else n), (n, n & 1)


def lfsr(s, x):
    return (s >> 1 | ((s ^ s >> 2 ^ s >> 3 ^ s >> 5) & 1) << 15), ((s & 1) ^ x,)


def memory(state, we, at, other, x):
    held, late = state
    after = {**held, at: x} if we else held
    return (after, held[other]), (held[other], late)


CASES = {
    "counter": (COUNTER, counter, 77, (1, 1, 3), (8, 1)),
    "lfsr": (LFSR, lfsr, 0xACE1, (1,), (1,)),
    "memory": (MEMORY, memory, ({i: 3 * i for i in range(8)}, 0), (1, 3, 3, 5), (5, 5)),
}


def bits(words, widths):
    return [float(word >> i & 1) for word, width in zip(words, widths, strict=True) for i in range(width)]


@pytest.fixture
def source(tmp_path):
    def written(text):
        (tmp_path / "t.v").write_text(text)
        return tmp_path / "t.v"

    return written


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("options", [{}, {"wide": True}, {"encoding": "restoring"}])
def test_tick_by_tick_as_in_python(source, name, options):
    """Three lanes of 60 ticks, one half after the other with the state handed on."""
    text, model, at_first, widths, out_widths = CASES[name]
    draw = random.Random(1)
    asked = [[[draw.randrange(1 << width) for width in widths] for _ in range(60)] for _ in range(3)]
    expected = []
    for lane in asked:
        state, out = at_first, []
        for words in lane:
            state, said = model(state, *words)
            out.append(bits(said, out_widths))
        expected.append(out)
    net = recurrent(source(text), **options)
    x_BTI = torch.tensor([[bits(words, widths) for words in lane] for lane in asked])
    first, state = net(x_BTI[:, :30])
    second, _ = net(x_BTI[:, 30:], state)
    assert torch.cat([first, second], 1).tolist() == expected


def test_gradients_pass_through_ticks(source):
    """Of what is counted after eight ticks by the lowest bit of what is added: nothing is rounded, so it is a number's
    polynomial, and a step to either side gives the same slope."""
    net = recurrent(source(COUNTER), dtype="float64")
    x = torch.tensor(bits((0, 1, 2), (1, 1, 3)), dtype=torch.float64).expand(1, 8, -1).clone()
    x.requires_grad_()

    def counted(x):
        return (net(x)[1] * 2.0 ** torch.arange(8, dtype=torch.float64)).sum()

    (slope,) = torch.autograd.grad(counted(x), x)
    assert slope[0, :, 1].abs().sum() > 0
    for tick in (0, 7):
        moved = x.detach().clone()
        moved[0, tick, 1] -= 1e-6
        with torch.no_grad():
            found = float(counted(x) - counted(moved)) / 1e-6
        assert found == pytest.approx(float(slope[0, tick, 1]), rel=1e-4)


def test_written_and_read(source, tmp_path):
    net = recurrent(source(MEMORY), wide=True)
    net.save(tmp_path / "m.safetensors")
    again = Recurrent.load(tmp_path / "m.safetensors")
    assert again.registers == net.registers
    x = torch.randint(0, 2, (2, 9, 12)).float()
    assert torch.equal(again(x)[0], net(x)[0])
    net.tick.save(tmp_path / "tick.safetensors")
    with pytest.raises(HoldfastError, match="is no network of a clocked circuit"):
        Recurrent.load(tmp_path / "tick.safetensors")


def test_the_command(source, tmp_path, capfd):
    status, out, _ = typed(capfd, source(COUNTER), "--clock", "clk", "--wide", "--to", tmp_path / "c.safetensors")
    assert status == 0
    assert "13 bits in, 17 out, 8 of each its state" in out
    assert Recurrent.load(tmp_path / "c.safetensors").registers[0].initial == 77


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("input clk, b, a, output reg q); always @(posedge b) q <= a;", "another clock: expected clk; got b"),
        ("input clk, a, output reg q); always @(negedge clk) q <= a;", "set when clk falls. Take its rising edge"),
        ("input clk, a, output reg q); always @* if (clk) q = a;", "A latch .*Assign it in every branch"),
        (
            "input clk, r, a, output reg q); always @(posedge clk, posedge r) if (r) q <= 0; else q <= a;",
            "between the clock's edges .*Reset it at the edge",
        ),
        ("input c, a, output reg q); always @(posedge c) q <= a;", "input port to be the clock"),
        ("input clk, a, output y); wire w; assign w = y & a; assign y = w | a;", "y depends on itself"),
        ("input clk, a, output y); foo u(a, y);", "is not part of the design"),
    ],
)
def test_what_is_no_circuit_of_one_clock(source, text, match):
    with pytest.raises((HoldfastError, UsageError), match=match):
        read_clocked(source(f"module t({text} endmodule"), clock="clk")


def test_bits_of_another_shape(source):
    net = recurrent(source(LFSR))
    with pytest.raises(UsageError, match=r"takes bits of shape \(B, T, 1\), T ticks; got \(2, 1\)"):
        net(torch.zeros(2, 1))
    with pytest.raises(UsageError, match=r"has shape \(2, 16\); got \(1, 16\)"):
        net(torch.zeros(2, 4, 1), net.power_up(1))
