"""How gradients pass units: against closed forms, and against autograd on the same layers written out."""

import copy
import pickle

import pytest
import torch

from holdfast.circuits import build
from holdfast.circuits.passing import EXACT, Passing, both, passing, units
from holdfast.circuits.trace import trace

RAW, DAMPED, NORMALISED = Passing(False), Passing(False, 0.25), Passing(False, 1.0, True)
RULES = (EXACT, RAW, DAMPED, NORMALISED)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [(EXACT, [1, 1, 1, 0, 0, 0, 0]), (RAW, [1, 0.5, 0.5, 0.5, 0.5, 0.5, 0]), (DAMPED, [1, 0.5, 0.5, *[0.125] * 3, 0])],
)
def test_slopes(rule, expected):
    z = torch.tensor([1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5])
    assert rule.slopes(z).tolist() == expected
    assert z.tolist() == [1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5]


@pytest.mark.parametrize(("bits", "passed"), [((1, 1), 1.0), ((1, 0), 0.25), ((0, 1), 0.25), ((0, 0), 0.0)])
def test_a_product_passes_what_a_flip_changes_or_less(bits, passed):
    x, y = (torch.tensor([float(bit)], requires_grad=True) for bit in bits)
    with passing(DAMPED):
        out = both(x, y)
    assert out.tolist() == [float(all(bits))]
    out.sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([passed], [passed])


def test_a_product_of_shapes_that_are_broadcast():
    x, y = torch.ones(3, 1, requires_grad=True), torch.ones(2, 1, 4, requires_grad=True)
    both(x, y).sum().backward()
    assert x.grad.tolist() == [[16.0]] * 3  # eight products of weight 2
    assert torch.equal(y.grad, torch.full((2, 1, 4), 6.0))


def written_out(net, x_BI, weight, bias, rule):
    """The network's rows by autograd, one at a time, relu by the rule."""
    rows = list(x_BI.T)
    starts = net.starts.tolist()
    for row in range(len(bias)):
        at = slice(starts[row], starts[row + 1])
        terms = [w * rows[i] for w, i in zip(weight[at], net.indices[at].tolist(), strict=True)]
        z = sum(terms) + bias[row]
        if net.relu[row]:
            slope = rule.slopes(z.detach())
            if rule.normalised:
                slope = slope / weight[at].detach().abs().sum()
            z = z.detach().relu() + slope * (z - z.detach())
        rows.append(z)
    return torch.stack([rows[row] for row in net.outputs.tolist()], 1)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("wide", [False, True])
def test_a_network_passes_them_as_its_rows_do(rule, again, wide):
    net = build(trace(lambda a=4, b=4: (a + b) ^ (a & b), name="both"), wide=wide).network.double()
    net.again = again
    x = (torch.rand(40, net.inputs, generator=torch.Generator().manual_seed(0)) < 0.5).double().requires_grad_()
    weighed = torch.arange(1.0, 1 + len(net.outputs)).double()
    with passing(rule):
        out = net(x)
    mine = torch.autograd.grad((out * weighed).sum(), [x, net.weight, net.bias])
    told = written_out(net, x, net.weight, net.bias, rule)
    assert torch.equal(told, out)
    for got, expected in zip(mine, torch.autograd.grad((told * weighed).sum(), [x, net.weight, net.bias]), strict=True):
        assert torch.allclose(got, expected, rtol=1e-12, atol=1e-12)
    assert (mine[0] != 0).any()


@pytest.mark.parametrize("rule", RULES)
def test_a_layer_passes_them_alike(rule):
    generator = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randint(-1, 2, shape, generator=generator).double() for shape in ((30, 6), (5, 6), (5,)))
    each = [value.requires_grad_() for value in (x, weight, bias)]
    with passing(rule):
        mine = torch.autograd.grad(units(*each).sum(), each)
    z = x @ weight.T + bias
    slope = rule.slopes(z.detach())
    if rule.normalised:
        slope = slope / weight.detach().abs().sum(1)
    for got, expected in zip(mine, torch.autograd.grad((slope * z).sum(), each), strict=True):
        assert torch.allclose(got, expected)


def test_several_ticks_in_the_same_memory_are_kept_apart():
    """The second call overwrites the first one's rows before its gradient is asked for."""
    net = build(trace(lambda a=4: a + 3, name="three more"), wide=True).network.double()
    found = []
    for again in (False, True):
        net.again = again
        x = torch.tensor([[1.0, 0, 1, 0], [0, 1, 1, 0]], dtype=torch.float64, requires_grad=True)
        with passing(RAW):
            once = net(x)
            twice = net(once[:, :4])
        found.append(torch.autograd.grad((twice * torch.arange(1, 1 + twice.shape[1])).sum(), [x, net.weight]))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_memory_is_not_copied():
    net = build(trace(lambda a=4: a + 3, name="three more")).network
    net.again = True
    net(torch.ones(64, 4)).sum().backward()
    assert net._scratch
    assert not copy.deepcopy(net)._scratch
    assert not pickle.loads(pickle.dumps(net))._scratch
