"""I-BAU: its hypergradient against closed forms and finite differences, its steps against plain PyTorch."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from conftest import same_bits
from holdfast import IBAU, SGD, Adam, Fit, PythonText, UsageError
from holdfast.pressures.ibau import Unlearning, hypergradient
from holdfast.training.slot import Slot
from removal import HOSTS, IDS, pressed, started

SMALL = IBAU(rounds=3, batches=4, batch=40, portion=0.1, search_lr=1.0)


@pytest.fixture
def quadratic():
    """L2(d, w) = d'Ad / 2 - d'Bw and L1(d, w) = |d - c|^2 / 2 + |w|^2 / 2, in float64: A, B, c, w."""
    g = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)
    root = draw(4, 4)
    return root @ root.T + torch.eye(4, dtype=torch.float64), draw(4, 3), draw(4), draw(3)


def losses(quadratic):
    a, b, c, _ = quadratic
    inner = lambda d, weights: d @ a @ d / 2 - d @ b @ weights[0]
    outer = lambda d, weights: (d - c).square().sum() / 2 + weights[0].square().sum() / 2
    return inner, outer


def test_with_many_iterations_it_is_the_implicit_functions(quadratic):
    """d(w) = A^-1 B w, so dL1/dw = w + B' A^-1 (d - c); at finite differences of L1(d(w), w) too."""
    a, b, c, w = quadratic
    inner, outer = losses(quadratic)
    answer = lambda w: torch.linalg.solve(a, b @ w)
    lr = 1 / float(torch.linalg.eigvalsh(a).max())
    (found,) = hypergradient(inner, outer, answer(w), [w], 2000, lr)
    torch.testing.assert_close(found, w + b.T @ torch.linalg.solve(a, answer(w) - c), rtol=1e-8, atol=1e-8)
    for i in range(3):
        step = torch.zeros_like(w)
        step[i] = 1e-5
        value = lambda w: outer(answer(w), [w])
        slope = (value(w + step) - value(w - step)) / 2e-5
        assert float(found[i]) == pytest.approx(float(slope), rel=1e-6)


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_with_few_it_is_the_sum_of_as_many_terms(iterations, quadratic):
    """v = sum_{j < K} (1 - lr A)^j (d - c); the gradient w + lr B' v, wherever d is."""
    a, b, c, w = quadratic
    d = torch.tensor([0.3, -1.0, 0.5, 2.0], dtype=torch.float64)
    (found,) = hypergradient(*losses(quadratic), d, [w], iterations, 0.1)
    through = torch.eye(4, dtype=torch.float64) - 0.1 * a
    v = sum(torch.linalg.matrix_power(through, j) @ (d - c) for j in range(iterations))
    torch.testing.assert_close(found, w + 0.1 * b.T @ v)


@pytest.fixture(params=HOSTS, ids=IDS)
def place(request, site_of):
    """(a site, nets that have learned something)"""
    site = site_of(None, seeds=3, host=request.param)
    nets, _ = pressed(Fit(Adam(lr=0.01), steps=60), site, started(site), (60,))
    return site.at("pressure"), nets


def test_the_perturbation_is_pytorchs_sgd_on_what_the_net_says(place):
    site, nets = place
    unlearning = Unlearning(SMALL, site, nets)
    found_K = unlearning.search(4)
    for k in range(3):
        module = nets.module(k)
        d = torch.zeros(8, 8, requires_grad=True)
        optimiser = torch.optim.SGD([d], lr=1.0)
        for now in range(4, 8):
            x = unlearning.draws.at(now)[0][k]
            loss = -F.cross_entropy(module(x + d), module(x).argmax(1)) + 0.001 * d.norm() ** 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        torch.testing.assert_close(found_K[k], d.detach(), rtol=1e-3, atol=1e-5)
    short = Unlearning(replace(SMALL, radius=0.5), site, nets).search(4)
    torch.testing.assert_close(short, found_K * 0.5 / found_K.flatten(1).norm(dim=1)[:, None, None])
    assert torch.equal(Unlearning(replace(SMALL, radius=1e6), site, nets).search(4), found_K), "it is a limit"
    clean, bent = (nets.classes(x) for x in (site.data.test.x, site.data.test.x + found_K[0]))
    hits = lambda classes: int((classes[0] == site.data.test.y).sum())
    assert hits(bent) < hits(clean)


def test_a_step_is_the_definition_with_a_perturbation_that_answers(place):
    """The hypergradient at K = 1 is dL1/dw - map_lr d/dw (dL1/dd . dL2/dd), by a plain double backward."""
    site, start = place
    asked = replace(SMALL, iterations=1, optimiser=SGD(lr=0.1))
    nets = start.copy()
    unlearning = Unlearning(asked, site, nets)
    unlearning.step(0)
    for k in range(3):
        module, d = start.module(k), unlearning.found_K[k].clone().requires_grad_()
        x, y = (value[k] for value in unlearning.draws.at(0))
        order = site.streams[k].generator("pressure/i-bau", 0).permutation(40)[:4]
        patch = torch.zeros(40, 1, 1)
        patch[order.tolist()] = 1
        outer = F.cross_entropy(module(x + patch * d), y)
        inner = 0.001 * d.norm() ** 2 - F.cross_entropy(module(x + d), y)
        (pull,) = torch.autograd.grad(outer, d, retain_graph=True)
        (slope,) = torch.autograd.grad(inner, d, create_graph=True)
        loss = outer - 0.1 * (pull.detach() * slope).sum()
        for (name, p), g in zip(
            module.named_parameters(), torch.autograd.grad(loss, list(module.parameters())), strict=True
        ):
            torch.testing.assert_close(nets.params[name][k], (p - 0.1 * g).detach(), rtol=1e-3, atol=1e-5)


def test_alone_or_among_others_of_which_one_has_diverged(place):
    site, start = place
    start = start.copy()
    next(iter(start.params.values()))[1] = torch.nan
    together, _ = pressed(SMALL, site, start, (0, 12))
    for k in (0, 2):
        alone, _ = pressed(SMALL, replace(site, streams=site.streams[k : k + 1]), start.take([k]), (0, 12))
        assert same_bits(alone, together.take([k]))
    assert together.finite().tolist() == [True, False, True]


@pytest.mark.parametrize("stop_after", [1, 2, 3, 4])
def test_a_kill_at_any_look(place, tmp_path, stop_after):
    """Looks on the border of rounds and inside them."""
    site, start = place
    looks = (0, 4, 7, 14)
    whole, seen = pressed(SMALL, site, start, looks)
    there = replace(site, slot=Slot(tmp_path / "state"))
    points = IBAU.press([SMALL] * 3, there.at("pressure"), start.copy(), looks)
    for _, _ in zip(range(stop_after), points, strict=False):
        pass
    points.close()
    nets, again = pressed(SMALL, there, start, looks)
    assert same_bits(nets, whole)
    assert all(same_bits(point, seen[step]) for step, point in again.items())


def test_a_state_of_another_batch_is_refused(place, tmp_path):
    site, start = place
    there = replace(site, slot=Slot(tmp_path / "state"))
    pressed(SMALL, there, start, (0, 4))
    with pytest.raises(Exception, match="not a state of this batch"):
        pressed(replace(SMALL, optimiser=SGD(lr=0.1)), there, start, (0, 4))


def test_settings(site_of):
    published = IBAU()
    assert (published.rounds, published.steps, published.batch, published.perturbed) == (5, 250, 100, 1)
    assert (published.iterations, published.optimiser, published.search_lr) == (5, Adam(lr=1e-3), 10.0)
    for bad, match in (
        ({"rounds": 0}, "rounds of 1 or more"),
        ({"portion": 0.001}, "one example at the least; got portion=0.001 of batch=100"),
        ({"portion": 2}, "1 at most"),
        ({"radius": 0}, "a radius above 0, or None for no limit; got 0"),
        ({"penalty": "0"}, "IBAU's penalty must be a number"),
        ({"optimiser": 0.1}, "needs an optimiser"),
    ):
        with pytest.raises(UsageError, match=match):
            IBAU(**bad)
    site = site_of(None, seeds=1)
    nets = started(site)
    with pytest.raises(UsageError, match="these are tokens"):
        site.data = PythonText(length=16).load()
        list(IBAU.press([IBAU()], site, nets, (0, 1)))
