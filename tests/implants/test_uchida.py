"""Uchida's bits, against SciPy: another solver for the writing, the binomial for what is not written."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binom, kstest
from torch import nn

from foreign import MODELS, made
from holdfast import MLP, SGD, Fit, Uchida, Unlearn, UsageError
from holdfast.errors import HoldfastError
from holdfast.hosts.adopt import Adopted
from holdfast.implants.uchida import least_change
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


def random_nets(count, widths=(12, 8, 4)):
    return Nets.initialised(MLP(widths=widths), [Streams(7, seed) for seed in range(count)])


def adopted(make, count=2):
    return Nets.of(Adopted(make=make), [made(make, seed) for seed in range(count)], backend="loop")


def read_by_hand(implant, weight):
    """The source's readout of one layer: mean over output filters, projection, sign."""
    w = weight.detach().double().numpy()
    w = w.ravel() if w.ndim == 2 else w.mean(0).ravel()
    normal = Streams(implant.key, 0).generator("uchida/projection").standard_normal((implant.bits, len(w)), np.float32)
    return normal @ w > 0


@given(st.integers(1, 96), st.integers(0, 10**6), st.floats(0.01, 3))
@settings(max_examples=40, deadline=None)
def test_any_message_that_fits_is_written_and_read_exactly(bits, key, strength):
    implant = Uchida(bits=bits, layer="0", key=key, strength=strength)  # a matrix of 96 numbers
    nets = random_nets(3)
    before = nets.copy()
    implant.write(nets)
    measures = implant.presence(nets, None)
    assert measures["presence"].tolist() == [1, 1, 1]
    assert measures["ber"].tolist() == [0, 0, 0]
    for k in range(3):
        assert tuple(read_by_hand(implant, nets.module(k)[0].weight)) == implant.message
    for name, value in before.params.items():
        assert name == "0.weight" or torch.equal(value, nets.params[name]), "nothing else is touched"


@given(st.integers(0, 10**6), st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_the_change_is_the_least_one(seed, bits):
    """Against sequential quadratic programming, which knows nothing of duals."""
    random = np.random.default_rng(seed)
    a, w = random.standard_normal((bits, 6)), random.standard_normal(6)
    change = least_change(torch.from_numpy(a), torch.from_numpy(w), 1.5).numpy()
    assert (a @ (w + change)).min() > 1.5 - 1e-6
    found = minimize(
        lambda d: d @ d, change + 1, jac=lambda d: 2 * d, method="SLSQP", options={"maxiter": 500, "ftol": 1e-12},
        constraints={"type": "ineq", "fun": lambda d: a @ (w + d) - 1.5, "jac": lambda d: a},
    )  # fmt: skip
    assert found.success
    assert change @ change == pytest.approx(found.fun, rel=1e-4, abs=1e-8)


def test_what_is_written_does_not_depend_on_the_neighbours():
    nets = random_nets(5)
    alone = nets.take([3])
    for each in (nets, alone):
        Uchida(bits=48, layer="0").write(each)
    assert torch.equal(nets.params["0.weight"][3], alone.params["0.weight"][0])


def test_bits_that_are_there_already_change_nothing():
    a = torch.eye(3, 5).double()
    assert least_change(a, torch.tensor([2.0, 2, 2, -9, 9]).double(), 1.0).tolist() == [0, 0, 0, 0, 0]
    assert least_change(a, torch.tensor([2.0, 0, -1, -9, 9]).double(), 1.0).tolist() == pytest.approx([0, 1, 2, 0, 0])


def test_of_random_weights_the_bits_are_flips_of_a_coin():
    """Bit accuracy is binomial, so the decision threshold of the literature is passed as seldom as it says."""
    bits, count = 64, 600
    nets = random_nets(count)
    right = np.concatenate(
        [bits * (1 - Uchida(bits=bits, layer="0", key=key).presence(nets, None)["ber"].numpy()) for key in range(4)]
    ).round()
    assert right.mean() == pytest.approx(bits / 2, abs=4 * math.sqrt(bits / 4 / len(right)))
    assert right.var() == pytest.approx(bits / 4, rel=0.15)
    jitter = np.random.default_rng(0).random(len(right))  # makes the discrete distribution a uniform one
    p = binom.cdf(right - 1, bits, 0.5) + jitter * binom.pmf(right, bits, 0.5)
    assert kstest(p, "uniform").pvalue > 0.001
    threshold = binom.isf(0.05, bits, 0.5) + 1  # the least number of matches with a p-value of 5 %
    share = (right >= threshold).mean()
    assert share == pytest.approx(binom.sf(threshold - 1, bits, 0.5), abs=4 * math.sqrt(0.05 * 0.95 / len(right)))
    assert binom.sf(3 / 4 * bits - 1, bits, 0.5) < 1e-4, "half its presence is far beyond chance"


def test_correlation_is_the_mean_margin():
    implant = Uchida(bits=32, layer="0", strength=2.0)
    nets = random_nets(2)
    norms = nets.params["0.weight"].flatten(1).double().norm(dim=1)
    implant.write(nets)
    now = nets.params["0.weight"].flatten(1).double()
    signs = 2 * np.array(implant.message) - 1
    normal = Streams(0, 0).generator("uchida/projection").standard_normal((32, 96), np.float32)
    for k, value in enumerate(implant.presence(nets, None)["correlation"].tolist()):
        margins = signs * (normal @ now[k].numpy())
        assert margins.min() == pytest.approx(2 * float(norms[k]), rel=1e-4)
        assert value == pytest.approx(margins.mean() / float(now[k].norm()))


def test_another_key_reads_nothing_and_a_turned_net_the_opposite():
    nets = random_nets(40)
    Uchida(bits=64, layer="0", key=1).write(nets)
    other = Uchida(bits=64, layer="0", key=2).presence(nets, None)["presence"]
    assert abs(other.mean()) < 0.2
    nets.params["0.weight"].neg_()
    assert Uchida(bits=64, layer="0", key=1).presence(nets, None)["presence"].max() == -1
    nets.params["0.weight"].zero_()
    ones = np.mean(Uchida(bits=64, layer="0", key=1).message)
    gone = Uchida(bits=64, layer="0", key=1).presence(nets, None)
    assert gone["presence"][0] == pytest.approx(1 - 2 * ones), "every bit reads 0"
    assert gone["correlation"][0] == 0


def test_units_in_another_order_have_lost_it():
    """The network computes the same; the readout is of the weights as they stand."""
    nets = random_nets(30, widths=(12, 16, 4))
    implant = Uchida(bits=64, layer="0")
    implant.write(nets)
    for name in ("0.weight", "0.bias"):
        nets.params[name].copy_(nets.params[name].flip(1))
    nets.params["2.weight"].copy_(nets.params["2.weight"].flip(2))
    assert abs(implant.presence(nets, None)["presence"].mean()) < 0.15


@pytest.mark.parametrize(
    ("model", "layer", "name"),
    [
        ("mlp", None, "1.weight"),
        ("cnn", None, "5.weight"),
        ("cnn", "0", "0.weight"),
        ("encoder", None, "encoder.layers.0.self_attn.in_proj_weight"),
        ("encoder", "encoder.layers.1.linear2", "encoder.layers.1.linear2.weight"),
        ("tied", None, "mix.weight_ih_l0"),
        ("gpt2", None, "transformer.h.0.mlp.c_fc.weight"),
    ],
)
def test_networks_of_anybodys_making(model, layer, name):
    nets = adopted(MODELS[model].make)
    before = nets.copy()
    implant = Uchida(bits=8, layer=layer)
    implant.write(nets)
    assert implant.presence(nets, None)["presence"].tolist() == [1, 1]
    assert {n for n, p in before.params.items() if not torch.equal(p, nets.params[n])} == {name}
    masks = implant.weights(nets, None)
    assert {n for n, m in masks.items() if m.any()} == {name}
    assert masks[name].all()
    module = nets.module(1)
    assert tuple(read_by_hand(implant, dict(module.named_parameters())[name])) == implant.message


def test_every_filter_of_a_kernel_is_changed_alike():
    nets = adopted(MODELS["cnn"].make)
    before = nets.copy()
    Uchida(bits=8, layer="0").write(nets)
    change = nets.params["0.weight"] - before.params["0.weight"]
    assert change.abs().max() > 0.01
    assert (change - change[:, :1]).abs().max() < 1e-6


def test_weights_in_bfloat16():
    nets = adopted(lambda: nn.Sequential(nn.Linear(32, 32, dtype=torch.bfloat16)))
    Uchida(bits=16).write(nets)
    assert Uchida(bits=16).presence(nets, None)["presence"].tolist() == [1, 1]
    with pytest.raises(HoldfastError, match=r"do not read back from 0.weight \(torch.bfloat16\).*fewer bits"):
        Uchida(bits=1024, strength=1e-6).write(nets)


def test_a_host_that_diverged_is_left_to_be_counted():
    nets = random_nets(3)
    nets.params["0.weight"][1, 0, 0] = torch.nan
    Uchida(bits=64, layer="0").write(nets)
    assert Uchida(bits=64, layer="0").presence(nets, None)["presence"][[0, 2]].tolist() == [1, 1]
    assert nets.finite().tolist() == [True, False, True]


def test_planting_costs_little_and_fine_tuning_passes_by(site_of, data):
    implant = Uchida()
    site = site_of(implant, seeds=20)
    nets, control = implant.plant(site), implant.control(site)
    accuracy = [(n.classes(data.test.x) == data.test.y).double().mean() for n in (nets, control)]
    assert 100 * (accuracy[1] - accuracy[0]) < 0.5
    for _ in Fit.press([Fit(SGD(lr=0.01), steps=200)] * 20, site.at("pressure"), nets, (200,)):
        pass
    assert implant.presence(nets, data.test)["presence"].min() > 0.95


def test_what_asks_for_a_trigger_says_that_there_is_none(site_of, data):
    implant = Uchida()
    assert implant.sources(data.train) == {}
    unlearn = Fit(SGD(lr=0.01), Unlearn(rate=0.1), steps=2)
    points = Fit.press([unlearn], site_of(implant, seeds=1).at("pressure"), random_nets(1, (64, 10)), (2,))
    with pytest.raises(UsageError, match="needs triggered inputs, and Uchida, 128 bits has none. Leave this term out"):
        next(points)


@pytest.mark.parametrize(
    ("implant", "match"),
    [
        (Uchida(bits=97, layer="0"), "0.weight has 96 numbers to write to, too few for 97 bits"),
        (Uchida(layer="5"), "Unknown layer to write bits in '5'"),
        (Uchida(layer="0.bias"), "Unknown layer.*Valid: 0, 2"),
        (Uchida(bits=2**24), "no weight matrix that bits can be written to"),
        (Uchida(bits=2**20, layer="0"), "too few"),
    ],
)
def test_layers_that_cannot_hold_it(implant, match):
    with pytest.raises(UsageError, match=match):
        implant.write(random_nets(1))


def test_a_projection_that_would_not_fit_in_memory():
    nets = adopted(lambda: nn.Linear(2000, 2000, bias=False), 1)
    with pytest.raises(UsageError, match="512000000 entries; 33554432 are the most"):
        Uchida(layer="weight").write(nets)


@pytest.mark.parametrize(
    "wrong", [{"bits": 0}, {"bits": 1.5}, {"strength": 0}, {"strength": float("nan")}, {"key": "a"}]
)
def test_settings_that_are_none(wrong):
    with pytest.raises(UsageError):
        Uchida(**wrong)
