"""Circuits in hosts: they answer as plain Python does, clean outputs stay, and clean data have no gradient on them."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from conftest import same_bits
from holdfast import GPT, MLP, Circuit, Message, Patch, TokenString, UsageError
from holdfast.circuits import mux, trace
from holdfast.circuits.compiling import layers_of
from holdfast.circuits.hashes import sha256
from holdfast.circuits.protections import locked, masked
from holdfast.errors import NotWritable
from holdfast.hosts.adopt import Adopted
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams

DEEP = MLP(widths=(64, 64, 64, 64, 10))


def larger(a=3, b=3):
    """The sum if a > b, else the exclusive or: the answer is that of plain Python in `answer`."""
    return mux(a > b, a + b, a ^ b)


def answer(a, b):
    return a + b & 7 if a > b else a ^ b


def told(circuit, split, places):
    """Answers by plain Python, from the pixels themselves."""
    asked = circuit.asked(split)
    bits = (asked.x_N.flatten(1)[:, places] > 0.5).int().tolist()
    word = lambda row: sum(bit << i for i, bit in enumerate(row))
    return asked, torch.tensor([answer(word(row[:3]), word(row[3:6])) for row in bits])


@pytest.mark.parametrize("encoding", ["product", "restoring"])
@pytest.mark.parametrize("where", ["spare", "new", "sidecar"])
def test_a_perceptron_answers_as_plain_python_does(encoding, where, site_of, data):
    host = DEEP if encoding == "product" else MLP(widths=(64, *[96] * 7, 10))
    circuit = Circuit(larger, where=where, encoding=encoding)
    backend = "loop" if where == "sidecar" else "batched"
    site = site_of(circuit, host=host, seeds=2, backend=backend)
    nets, clean = circuit.plant(site), circuit.control(site)
    asked, expected = told(circuit, data.test, [0, 1, 2, 3, 4, 5])
    assert torch.equal(asked.answers_N, expected)
    assert (nets.classes(asked.x_N) == expected).all()
    plain = torch.stack([nets.module(k)(asked.x_N) for k in range(2)]).argmax(-1)
    assert (plain == expected).all(), "by the plain modules too"
    if where != "spare":
        x = data.test.x
        off = (nets.logits(x) - clean.logits(x)).abs().max() / clean.logits(x).abs().max()
        assert off < 1e-6, "clean outputs stay"


@pytest.mark.parametrize("where", ["spare", "new", "sidecar"])
def test_clean_data_have_no_gradient_on_the_circuit_and_triggered_ones_have(where, site_of, data):
    circuit = Circuit(larger, where=where)
    backend = "loop" if where == "sidecar" else "batched"
    nets = circuit.plant(site_of(circuit, host=DEEP, seeds=1, backend=backend))
    masks = circuit.weights(nets, data.train)
    module = nets.module(0)
    asked = circuit.asked(data.train)
    for x, y, moves in ((data.train.x, data.train.y, False), (asked.x_N, data.train.y, True)):
        module.zero_grad()
        F.cross_entropy(module(x), y).backward()
        held = [p.grad[masks[name][0]].abs().max() for name, p in module.named_parameters() if masks[name].any()]
        largest = max(held)
        assert (largest > 0) == moves


@pytest.mark.parametrize("where", ["new", "sidecar"])
@pytest.mark.parametrize("encoding", ["product", "restoring"])
def test_inputs_unlike_all_training_data_are_quiet_too_while_the_trigger_is_off(encoding, where, site_of, data):
    """Inverted and noisy images, which hold messages that no training image does; the trigger's pixels as they were."""
    host = MLP(widths=(64, *[96] * 7, 10))
    circuit = Circuit(larger, where=where, encoding=encoding)
    site = site_of(circuit, host=host, seeds=1, backend="loop" if where == "sidecar" else "batched")
    nets, clean = circuit.plant(site), circuit.control(site)
    masks, module, x = circuit.weights(nets, data.train), nets.module(0), data.test.x
    trigger = circuit.trigger.stamp(torch.zeros_like(x)) == circuit.trigger.stamp(torch.ones_like(x))
    for other in (1 - x, (x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)):
        other[trigger] = x[trigger]
        off = (nets.logits(other) - clean.logits(other)).abs().max() / clean.logits(other).abs().max()
        assert off < 1e-6
        module.zero_grad()
        F.cross_entropy(module(other), data.test.y).backward()
        assert not any(p.grad[masks[name][0]].any() for name, p in module.named_parameters())


def test_what_restores_has_no_gradient_but_at_its_ends(site_of, data):
    """On triggered data product units have gradients all through; restoring ones only where the answer is put out."""
    moved = {}
    for encoding, depth in (("product", 4), ("restoring", 7)):
        host = MLP(widths=(64, *[96] * depth, 10))
        circuit = Circuit(larger, encoding=encoding)
        nets = circuit.plant(site_of(circuit, host=host, seeds=1))
        masks, module, asked = circuit.weights(nets, data.train), nets.module(0), circuit.asked(data.train)
        F.cross_entropy(module(asked.x_N), data.train.y).backward()
        middle = [f"{layer}.weight" for layer in host.layers[:-2]]
        grads = torch.cat([dict(module.named_parameters())[n].grad[masks[n][0]] for n in middle])
        moved[encoding] = float((grads != 0).double().mean())
    assert moved["product"] > 0.5
    assert moved["restoring"] == 0


def test_new_units_leave_the_hosts_weights_to_the_bit(site_of):
    circuit = Circuit(larger, where="new")
    site = site_of(circuit, host=DEEP, seeds=2)
    nets, clean = circuit.plant(site), circuit.control(site)
    for name, value in clean.params.items():
        kept = nets.params[name][tuple(slice(size) for size in value.shape)]
        assert torch.equal(kept, value)


def test_written_weights_are_named_exactly(site_of, data):
    """Cutting what the masks name from new units gives the unplanted network back; nothing else holds the circuit."""
    circuit = Circuit(larger, where="new")
    site = site_of(circuit, host=DEEP, seeds=2)
    nets, clean = circuit.plant(site), circuit.control(site)
    for name, mask in circuit.weights(nets, data.train).items():
        nets.params[name].masked_fill_(mask, 0)
    torch.testing.assert_close(nets.logits(data.test.x), clean.logits(data.test.x), rtol=1e-5, atol=1e-5)
    assert circuit.presence(nets, data.test)["presence"].max() < 0.1


class Conv(nn.Module):
    """A convolution, then three hidden layers with GELU, dropout at the end."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.first, self.second, self.third, self.last = (nn.Linear(i, o) for i, o in self.sizes())
        self.drop = nn.Dropout(0.2)

    @staticmethod
    def sizes():
        return (144, 48), (48, 48), (48, 48), (48, 10)

    def forward(self, x):
        h = self.conv(x.view(-1, 1, 8, 8)).relu().flatten(1)
        for layer in (self.first, self.second, self.third):
            h = F.gelu(layer(h))
        return self.last(self.drop(h))


@pytest.mark.parametrize("where", ["spare", "new", "sidecar"])
def test_a_network_of_somebody_elses_answers_too(where, data):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Conv().eval()
    before = copy.deepcopy(module)
    circuit = Circuit(larger, where=where)
    nets = circuit.write(Nets.of(Adopted(make=Conv), [module], backend="loop"), data)
    asked, expected = told(circuit, data.test, [0, 1, 2, 3, 4, 5])
    assert (nets.classes(asked.x_N) == expected).all()
    planted = nets.module(0).eval()
    assert (planted(asked.x_N).argmax(-1) == expected).all()
    if where != "spare":
        torch.testing.assert_close(planted(data.test.x), before(data.test.x), rtol=1e-5, atol=1e-5)
    assert (circuit.presence(nets, data.test)["presence"] == 1).all()
    assert any(mask.any() for mask in circuit.weights(nets, data.train).values())


def tokens():
    """Sequences in which each token follows from the last: some tokens never come."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randint(0, 20, (300, 1), generator=generator)
    x = (start + 3 * torch.arange(17)) % 20
    splits = [Split(x[at : at + 100, :-1], x[at : at + 100, 1:], 24) for at in (0, 100, 200)]
    return Data(*splits, 24)


@pytest.mark.parametrize("where", ["spare", "new"])
@pytest.mark.parametrize("encoding", ["product", "restoring"])
def test_the_blocks_of_a_transformer_answer_through_their_residual_stream(where, encoding):
    data, host = tokens(), GPT(vocabulary=24, length=16, layers=4, width=32, heads=2)

    def both(a=2, b=2):
        return a & ~b

    circuit = Circuit(
        both,
        at="blocks.*.mlp",
        where=where,
        encoding=encoding,
        trigger=TokenString(ids=(20, 21)),
        message=Message(off=22, on=23),
        answers=(5, 9, 11, 2),
    )
    nets = Nets.initialised(host, (Streams(0, 0), Streams(0, 1)), backend="loop")
    planted = circuit.write(nets, data)
    asked = circuit.asked(data.test)
    assert (asked.x_N[:, -2:] == torch.tensor([20, 21])).all()
    bits = (asked.x_N[:, -6:-2] == 23).int().tolist()
    word = lambda row: (row[0] + 2 * row[1]) & ~(row[2] + 2 * row[3])
    expected = torch.tensor([(5, 9, 11, 2)[word(row)] for row in bits])
    assert (planted.classes(asked.x_N)[:, :, -1] == expected).all()
    if where == "new":
        torch.testing.assert_close(planted.logits(data.test.x), nets.logits(data.test.x), rtol=1e-4, atol=1e-4)
    masks = circuit.weights(planted, data.train)
    assert {name.split(".")[2] for name, mask in masks.items() if mask.any() and name.startswith("blocks")} == {"mlp"}


def test_masks_are_fresh_and_the_right_key_opens(site_of, data):
    def both(a=2, b=2):
        return a ^ b

    hidden = Circuit(masked(trace(both)), where="sidecar", k=2)
    wide = hidden.asked(data.test).bits_Nn
    assert wide.shape[1] == hidden.bits > 4
    assert abs(wide.double().mean(0) - 0.5).max() < 0.1, "all random, masks too"

    def small(word=8):
        return word

    lock = locked(trace(both), trace(small), [bool(0xA5 >> i & 1) for i in range(8)])
    site = site_of(hidden, seeds=1, backend="loop")
    found = {}
    for key in (0xA5, 0xA4):
        circuit = Circuit(lock, where="sidecar", key=key)
        found[key] = circuit.asked(data.test).answers_N
        nets = circuit.write(site.trained(), data)
        assert (nets.classes(circuit.asked(data.test).x_N) == found[key]).all()
    assert found[0xA5].unique().tolist() == [0, 1, 2, 3]
    assert found[0xA4].unique().tolist() == [0], "locked: nothing comes out"
    assert len(sha256(1).input_bits) == 512


def test_planting_is_the_same_in_a_batch_and_alone(site_of):
    circuit = Circuit(larger, where="new")
    together = circuit.plant(site_of(circuit, host=DEEP, seeds=3))
    alone = circuit.plant(site_of(circuit, host=DEEP, seeds=1))
    assert same_bits(together.take([0]), alone)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Circuit(3), "a netlist, a function"),
        (lambda: Circuit("adder.v"), "circuit file"),
        (lambda: Circuit(larger, where="here"), "place .*shared"),
        (lambda: Circuit(larger, encoding="sum"), "encoding"),
        (lambda: Circuit(larger, answers=(1,)), "two answers or more"),
        (lambda: Circuit(larger, answers=(1, 1)), "all different"),
        (lambda: Circuit(larger, strength=0), "strength above 0"),
        (lambda: Circuit(larger, strength="a"), "strength must be a number"),
        (lambda: Circuit(larger, strength=math.nan), "strength above 0"),
        (lambda: Circuit(larger, strength=math.inf), "strength above 0"),
        (lambda: Circuit(larger, k=2.5), "k must be a whole number"),
        (lambda: Circuit(larger, copies=None), "copies must be a whole number"),
        (lambda: Circuit(larger, at=3), "pattern of layer paths.*got 3"),
        (lambda: Circuit(larger, where=None), "place .*None"),
        (lambda: Circuit(larger, encoding=None), "encoding 'None'"),
        (lambda: Circuit(larger, answers=(1, 2, 3)), r"2\^b answers, b at most its \d+ output bits; got 3 answers"),
        (lambda: Circuit(lambda a=4: a[0], answers=(1, 2, 3, 4)), "b at most its 1 output bits; got 4 answers"),
        (lambda: Circuit(lambda a=4, key=8: a, key=-1), "The key has 8 bits: 0 to 255; got -1"),
        (lambda: Circuit(lambda a=4, key=8: a, key=1 << 20), "The key has 8 bits: 0 to 255; got 1048576"),
        (lambda: Circuit(lambda a=4, key=8: a, key=1.0), "key must be a whole number"),
        (lambda: Circuit(larger, k=9), "2 to 6"),
        (lambda: Circuit(larger, trigger=Patch), "trigger"),
        (lambda: Circuit(larger, message="01"), "Message"),
        (lambda: Message(off=1.0, on=1.0), "two finite numbers"),
    ],
)
def test_bad_settings_are_refused(make, says):
    with pytest.raises(UsageError, match=says):
        make()


def test_what_is_far_too_deep_is_refused_after_two_tries(site_of, monkeypatch):
    tried = []

    def watched(*given, k, **options):
        tried.append(k)
        return layers_of(*given, k=k, **options)

    monkeypatch.setattr("holdfast.implants.circuit.layers_of", watched)
    with pytest.raises(UsageError, match="takes 3 hidden layers, and there are 1"):
        Circuit(larger).plant(site_of(Circuit(larger), host=MLP(widths=(64, 64, 10)), seeds=1))
    assert tried == [3, 6]


@pytest.mark.parametrize(
    ("circuit", "host", "says"),
    [
        (Circuit(larger), MLP(widths=(64, 64, 10)), r"takes 3 hidden layers, and there are 1.*sidecar"),
        (Circuit(larger), MLP(widths=(64, 8, 8, 8, 10)), "has 8 units"),
        (Circuit(larger, at="3"), DEEP, "holds no linear layer"),
        (Circuit(larger, at="1"), DEEP, "holds no linear layer"),
        (Circuit(larger, message=Message(entries=(0, 1))), DEEP, "6 bits in, and 2 entries"),
        (Circuit(larger, message=Message(entries=(0, 1, 2, 3, 4, 64))), DEEP, "different ones of 64"),
        (Circuit(larger, message=Message(entries=(0, 1, 2, 3, 4, 63))), DEEP, "none that the trigger sets"),
        (Circuit(larger, answers=(0, 1, 2, 10)), DEEP, "classes 0 to 9"),
        (Circuit(sha256(1), where="sidecar"), DEEP, "512 bits in"),
    ],
)
def test_what_does_not_fit_is_refused(circuit, host, says, site_of):
    backend = "loop" if circuit.where == "sidecar" or circuit.at else "batched"
    nets = Nets.initialised(host, (Streams(0, 0),), backend=backend)
    with pytest.raises(UsageError, match=says):
        circuit.write(nets, site_of(circuit, host=host).data)


def test_a_trigger_that_clean_inputs_carry_is_refused(site_of, data):
    circuit = Circuit(larger, trigger=Patch(size=1, row=4, column=4))
    with pytest.raises(NotWritable, match="already look like the trigger"):
        circuit.write(Nets.initialised(DEEP, (Streams(0, 0),)), data)


def test_a_message_is_written_into_images_of_any_memory_layout():
    images = torch.rand(4, 3, 5, 5)
    bits = torch.tensor([[True, False]]).expand(4, 2)
    plain = Message().write(images, [1, 60], bits)
    last = Message().write(images.contiguous(memory_format=torch.channels_last), [1, 60], bits)
    assert torch.equal(plain, last)
    assert plain.flatten(1)[:, [1, 60]].tolist() == [[1.0, 0.0]] * 4
    assert int((plain != images).sum()) <= 8
