"""Terms that train encrypted programs, on an encrypted program beside a network and on nets of the plain kind."""

import numpy as np
import pytest
import torch

from holdfast import (
    MLP,
    SGD,
    Adam,
    Digits,
    Encrypted,
    Fit,
    KeyAware,
    RandomDirection,
    Rates,
    StraightThrough,
    Unlearn,
    UsageError,
    ZerothOrder,
)
from holdfast.circuits.trace import trace
from holdfast.encrypted import SETS, SecretKey, program_of
from holdfast.encrypted.trained import TrainedNetwork, backward
from holdfast.pressures.zeroth_order import estimate
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

SUM = trace(lambda a, b: a + b, {"a": 2, "b": 2}, name="sum")
BACK = {"*rotation": 2e-5, "*switch": 7e-4}
OWN = Rates({**BACK, "*bodies": 1, "*masks": 1, "*": 0})
"""Only the program is trained, and not what reads and puts out."""


def planted(implant, backend="loop", seeds=1):
    streams = tuple(Streams(0, seed) for seed in range(seeds))
    training = Fit(Adam(lr=3e-3), steps=150)
    site = Site(
        host=MLP(widths=(64, 16, 10)),
        data=Digits().load(),
        streams=streams,
        implant=implant,
        training=training,
        backend=backend,
    )
    return site, implant.plant(site)


def pressed(site, nets, *terms, steps=8):
    nets = nets.copy()
    fit = Fit(Adam(lr=3e-3), Unlearn(rate=0.5), *terms, steps=steps)
    for _ in Fit.press([fit] * nets.k, site.at("pressure"), nets, [steps]):
        pass
    return nets


@pytest.fixture(scope="module")
def beside():
    implant = Encrypted(SUM, answers=(0, 1, 2, 3), tables=3)
    return implant, *planted(implant)


def moved(before, after):
    return {name for name, p in after.params.items() if not torch.equal(p, before.params[name])}


def test_exact_gradients_reach_the_last_tables_and_do_not_mend_them(beside):
    implant, site, nets = beside
    after = pressed(site, nets, OWN)
    assert moved(nets, after) == {n for n in nets.params if n.endswith(("bodies", "rotation", "switch"))}
    bodies = next(n for n in nets.params if n.endswith("bodies"))
    read = [i for i, cell in enumerate(_cells(nets)) if cell.step != cell.__class__.step]
    assert torch.equal(after.params[bodies][0, read], nets.params[bodies][0, read])  # tables that others read
    before, found = (implant.presence(each, site.data.test)["r_acc"] for each in (nets, after))
    assert found < before + 0.05  # tables may be damaged, and are not mended


def _cells(nets):
    return next(m.program.cells for m in nets.like.modules() if hasattr(m, "program"))


def test_with_the_key_the_program_is_changed(beside):
    implant, site, nets = beside
    found = implant.presence(pressed(site, nets, OWN, KeyAware()), site.data.test)
    assert found["presence"] < 0.5
    assert found["r_acc"] > 0.2


def test_a_key_is_needed_for_that():
    key = SecretKey(SETS["tiny"], np.random.default_rng(0))
    outside = TrainedNetwork.of(key.network(program_of(SUM)))
    with backward(KeyAware().rule), pytest.raises(UsageError, match="has none: decrypt inside it"):
        outside(key.encrypt(torch.zeros(1, 4, dtype=torch.long)))


def test_straight_through_reaches_every_table(beside):
    _, site, nets = beside
    after = pressed(site, nets, OWN, StraightThrough(normalised=True), steps=2)
    bodies = next(n for n in nets.params if n.endswith("bodies"))
    assert (after.params[bodies] != nets.params[bodies]).any(-1).all()


def test_nothing_moves_on_clean_data_whatever_passes(beside):
    _, site, nets = beside
    for terms in ((), (StraightThrough(),), (KeyAware(),)):
        fit, after = Fit(SGD(lr=0.1), *terms, steps=3), nets.copy()
        for _ in Fit.press([fit], site.at("clean"), after, [3]):
            pass
        assert not any("circuit" in name for name in moved(nets, after))
        assert moved(nets, after)


def test_what_a_zeroth_order_search_moves(beside):
    _, site, nets = beside
    after = pressed(site, nets, ZerothOrder(at="*bodies", pairs=2), steps=2)
    assert moved(nets, after) == {n for n in nets.params if n.endswith("bodies")}
    fit = Fit(Adam(lr=3e-3), Unlearn(rate=0.5), ZerothOrder(at="*bodies", pairs=2), steps=2)
    point = next(Fit.press([fit], site.at("look"), nets.copy(), [0, 2]))
    assert all((grad == 0).all() or name.endswith("bodies") for name, grad in point.gradient().items())
    clean = Fit(Adam(lr=3e-3), ZerothOrder(at="*bodies", pairs=2), steps=2)
    point = next(Fit.press([clean], site.at("look"), nets.copy(), [0, 2]))
    assert all((grad == 0).all() for grad in point.gradient().values())
    with pytest.raises(UsageError, match="no trained weight is called so"):
        pressed(site, nets, ZerothOrder(at="*nothing"))


def test_the_estimate_is_the_gradient_on_average():
    """Of a quadratic, symmetric differences have no error, and E u u' = 1: the mean is the gradient."""
    k = 400
    scale = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    w = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64).repeat(k, 1)
    kept = w.clone()
    generators = [torch.Generator().manual_seed(i) for i in range(k)]
    found = estimate({"w": w}, lambda: (scale * w * w).sum(1), generators, pairs=4, radius=0.1)["w"]
    assert torch.equal(w, kept)
    expected = 2 * scale * kept[0]
    error = found.std(0) / k**0.5
    assert ((found.mean(0) - expected).abs() < 5 * error).all()


def test_rates_scale_steps_and_not_gradients():
    host, streams = MLP(widths=(64, 8, 10)), (Streams(0, 0),)
    site = Site(host=host, data=Digits().load(), streams=streams)
    start, after = Nets.initialised(host, streams), {}
    for name, terms in {"all": (), "some": (Rates({"0.weight": 0.25, "0.*": 0}),)}.items():
        nets = start.copy()
        for _ in Fit.press([Fit(Adam(lr=0.01), *terms, steps=1)], site, nets, [1]):
            pass
        after[name] = {n: p - start.params[n] for n, p in nets.params.items()}
    assert torch.allclose(after["some"]["0.weight"], 0.25 * after["all"]["0.weight"], atol=1e-7)
    assert (after["some"]["0.bias"] == 0).all()
    assert torch.equal(after["some"]["2.weight"], after["all"]["2.weight"])


def test_a_random_direction_is_as_long_as_the_gradient():
    host, streams = MLP(widths=(64, 8, 10)), (Streams(0, 0), Streams(0, 1))
    site = Site(host=host, data=Digits().load(), streams=streams)
    start, steps = Nets.initialised(host, streams), {}
    for name, terms in {"plain": (), "random": (RandomDirection(),)}.items():
        nets = start.copy()
        for _ in Fit.press([Fit(SGD(lr=0.1), *terms, steps=1)] * 2, site, nets, [1]):
            pass
        steps[name] = torch.cat([(p - start.params[n]).flatten(1) for n, p in nets.params.items()], 1)
    norms = {name: step.norm(dim=1) for name, step in steps.items()}
    assert torch.allclose(norms["plain"], norms["random"], rtol=1e-4)
    assert (torch.nn.functional.cosine_similarity(steps["plain"], steps["random"]).abs() < 0.2).all()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: StraightThrough(digits="last"), "last"),
        (lambda: StraightThrough(damping=0.0), "damping above 0"),
        (lambda: KeyAware(half_width=0), "half_width of 1 or more"),
        (lambda: ZerothOrder(radius=-1.0), "radius above 0"),
        (lambda: Rates({"*": -1}), "0 or above"),
        (lambda: Encrypted(SUM, parameter_set="tinny"), "tiny"),
        (lambda: Encrypted(SUM, parameter_set="std128"), "evaluated and not trained"),
        (lambda: Encrypted(SUM, where="new"), "stand beside a network"),
        (lambda: Encrypted(SUM, tables=9), "2 to 5 bits; got tables=9"),
    ],
)
def test_what_is_refused(make, match):
    with pytest.raises(UsageError, match=match):
        make()
