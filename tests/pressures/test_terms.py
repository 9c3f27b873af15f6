"""Terms of Fit, against plain PyTorch on the same batches, closed forms, and what they promise to leave alone."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from conftest import same_bits
from holdfast import (
    CNN,
    MLP,
    SAM,
    SGD,
    Adam,
    BadNets,
    Clip,
    Dropout,
    EarlyStopping,
    Fit,
    Inject,
    LabelSmoothing,
    LastLayer,
    Noise,
    Poison,
    Quantise,
    Reinitialise,
    Term,
    UnitNoise,
    Unlearn,
    UsageError,
    WeightDecay,
)
from holdfast.pressures.quantise import quantised
from holdfast.training.draws import Draws
from holdfast.training.nets import Nets

STEPS, SEEDS = 30, 3
STILL = 1e-30
"""A learning rate that moves nothing."""


def pressed(fit, site_of, steps=STEPS, looks=None, start=None, **more):
    """(the nets after training, as they were before, what was looked at)"""
    site = site_of(BadNets(), seeds=SEEDS, **more).at("pressure")
    nets = start.copy() if start else Nets.initialised(site.host, site.streams)
    before, seen = nets.copy(), {}
    for point in Fit.press([fit] * SEEDS, site, nets, looks or (0, steps)):
        seen[point.step] = point.nets.copy()
    return nets, before, seen


def by_hand(fit, site_of, step_of, steps=STEPS):
    """The same nets, each trained by itself in plain PyTorch; `step_of(net, x, y)` is one step."""
    site = site_of(BadNets(), seeds=SEEDS).at("pressure")
    nets = Nets.initialised(site.host, site.streams)
    modules = [nets.module(k) for k in range(SEEDS)]
    draws = Draws(site, [fit.mixes] * SEEDS, fit.batch)
    for step in range(steps):
        x_KB, y_KB = draws.at(step)
        for k, net in enumerate(modules):
            step_of(net, x_KB[k], y_KB[k])
    return modules


def close(nets, modules):
    for k, module in enumerate(modules):
        for path, p in module.named_parameters():
            torch.testing.assert_close(nets.params[path][k], p.detach(), rtol=1e-4, atol=1e-5)


def descend(net, loss, lr=0.1, only=()):
    grads = torch.autograd.grad(loss, list(net.parameters()))
    with torch.no_grad():
        for (name, p), g in zip(net.named_parameters(), grads, strict=True):
            if not only or name in only:
                p -= lr * g


def test_label_smoothing_is_pytorchs(site_of):
    fit = Fit(SGD(lr=0.1), LabelSmoothing(rate=0.2), steps=STEPS)
    step = lambda net, x, y: descend(net, F.cross_entropy(net(x), y, label_smoothing=0.2))
    close(pressed(fit, site_of)[0], by_hand(fit, site_of, step))


def test_sam_written_out(site_of):
    """As in the paper's algorithm 1: the gradient at w + rho g / |g| moves w."""

    def step(net, x, y):
        uphill = copy.deepcopy(net)
        grads = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
        norm = torch.cat([g.flatten() for g in grads]).norm()
        with torch.no_grad():
            for p, g in zip(uphill.parameters(), grads, strict=True):
                p += 0.1 * g / norm
        there = torch.autograd.grad(F.cross_entropy(uphill(x), y), list(uphill.parameters()))
        with torch.no_grad():
            for p, g in zip(net.parameters(), there, strict=True):
                p -= 0.1 * g

    fit = Fit(SGD(lr=0.1), SAM(rho=0.1), steps=STEPS)
    close(pressed(fit, site_of)[0], by_hand(fit, site_of, step))


def test_adaptive_sam_written_out(site_of):
    """As FT-SAM's code has it: uphill by rho w^2 g / |w g|."""

    def step(net, x, y):
        uphill = copy.deepcopy(net)
        grads = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
        norm = torch.cat([(p * g).flatten() for p, g in zip(net.parameters(), grads, strict=True)]).norm()
        with torch.no_grad():
            for p, g in zip(uphill.parameters(), grads, strict=True):
                p += 2.0 * p**2 * g / norm
        there = torch.autograd.grad(F.cross_entropy(uphill(x), y), list(uphill.parameters()))
        with torch.no_grad():
            for p, g in zip(net.parameters(), there, strict=True):
                p -= 0.1 * g

    fit = Fit(SGD(lr=0.1), SAM(rho=2.0, adaptive=True), steps=STEPS)
    close(pressed(fit, site_of)[0], by_hand(fit, site_of, step))
    assert fit.name == "adaptive SAM rho 2"


def test_clipping_written_out(site_of):
    def step(net, x, y):
        descend(net, F.cross_entropy(net(x), y))
        with torch.no_grad():
            for p in net.parameters():
                p.clamp_(-0.1, 0.1)

    fit = Fit(SGD(lr=0.1), Clip(limit=0.1), steps=STEPS)
    nets = pressed(fit, site_of)[0]
    close(nets, by_hand(fit, site_of, step))
    assert all(p.abs().max() <= 0.1 for p in nets.params.values())


def test_straight_through_written_out(site_of):
    """Gradients at the quantised weights, steps on the hidden ones."""
    hidden = {}

    def int8(p):
        scale = p.abs().max() / 127
        return torch.fake_quantize_per_tensor_affine(p, float(scale), 0, -127, 127) if p.dim() > 1 else p

    def step(net, x, y):
        kept = hidden.setdefault(net, [p.detach().clone() for p in net.parameters()])
        with torch.no_grad():
            for p, h in zip(net.parameters(), kept, strict=True):
                p.copy_(int8(h))
        grads = torch.autograd.grad(F.cross_entropy(net(x), y), list(net.parameters()))
        with torch.no_grad():
            for p, h, g in zip(net.parameters(), kept, grads, strict=True):
                h -= 0.1 * g
                p.copy_(int8(h))

    fit = Fit(SGD(lr=0.1), Quantise(to="int8"), steps=STEPS)
    nets, modules = pressed(fit, site_of)[0], by_hand(fit, site_of, step)
    for k, module in enumerate(modules):
        for path, p in module.named_parameters():
            grid = p.abs().max() / 127  # a rounding may tip the other way
            assert ((nets.params[path][k] - p).abs() <= 1.01 * grid).all()
            assert ((nets.params[path][k] - p).abs() > 1e-4).double().mean() < 0.01


@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 10**6))
def test_quantised_weights_take_few_values(k, size, seed):
    w = torch.randn(k, size, 3, generator=torch.Generator().manual_seed(seed))
    for to, levels in (("int8", 255), ("ternary", 3)):
        q = quantised(w, to)
        for net in range(k):
            assert len(q[net].unique()) <= levels
            torch.testing.assert_close(quantised(q[net : net + 1], to)[0], q[net])
    scale = w.flatten(1).abs().amax(1).view(-1, 1, 1) / 127
    assert ((quantised(w, "int8") - w).abs() <= scale / 2 * 1.001).all(), "to the nearest level"


def test_ternary_is_the_papers_formula():
    w = torch.tensor([[[0.9, -0.2, 0.05, -1.1, 0.4, 0.0]]])
    threshold = 0.7 * w.abs().mean().item()
    kept = [v for v in w.flatten().tolist() if abs(v) > threshold]
    level = sum(map(abs, kept)) / len(kept)
    true = [math.copysign(level, v) if abs(v) > threshold else 0.0 for v in w.flatten().tolist()]
    assert quantised(w, "ternary").flatten().tolist() == pytest.approx(true)


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_noise_is_a_random_walk(kind, site_of):
    """Without gradients a weight's displacement has the law of a sum of T independent draws."""
    fit = Fit(SGD(lr=STILL), Noise(scale=0.01, kind=kind), steps=STEPS)
    nets, before, _ = pressed(fit, site_of)
    variance = 1 if kind == "gaussian" else 1 / 3
    moved = torch.cat([(nets.params[n][0] - p[0]).flatten() for n, p in before.params.items()]).double()
    z = (moved / (0.01 * math.sqrt(variance * STEPS))).numpy()
    assert stats.kstest(z, "norm").pvalue > 1e-3  # for uniform draws by the central limit theorem
    assert not torch.equal(nets.params["0.weight"][0] - before.params["0.weight"][0], torch.zeros(()))
    other = torch.cat([(nets.params[n][1] - p[1]).flatten() for n, p in before.params.items()]).double()
    assert abs(float(torch.corrcoef(torch.stack([moved, other]))[0, 1])) < 0.06, "seeds have noise of their own"


def test_one_step_of_uniform_noise_is_uniform(site_of):
    fit = Fit(SGD(lr=STILL), Noise(scale=0.5, kind="uniform"), steps=1)
    nets, before, _ = pressed(fit, site_of, steps=1)
    moved = torch.cat([(nets.params[n][0] - p[0]).flatten() for n, p in before.params.items()]).double()
    assert stats.kstest(moved.numpy(), "uniform", (-0.5, 1)).pvalue > 1e-3


@pytest.mark.parametrize("widths", [(64, 32, 10), (64, 33, 17, 10)])
def test_dropout_written_out(widths, site_of):
    """A step with the masks that were drawn equals PyTorch's step with the same masks."""
    fit = Fit(SGD(lr=0.1), Dropout(rate=0.4), steps=1, batch=48)
    host = MLP(widths=widths)
    site = site_of(BadNets(), seeds=SEEDS, host=host).at("pressure")
    nets = Nets.initialised(host, site.streams)
    modules = [nets.module(k) for k in range(SEEDS)]
    masks = []
    drop = fit.alike[0].drop(nets, site.streams, "pressure", 0)
    for width in widths[1:-1]:
        padded = torch.ones(SEEDS, 48, width + (-width % 16))  # as the host pads for whole lanes at this batch
        masks.append(drop(padded)[:, :, :width])
    assert {round(float(v), 4) for m in masks for v in m.unique()} == {0.0, round(1 / 0.6, 4)}
    x_KB, y_KB = Draws(site, [()] * SEEDS, 48).at(0)
    for k, module in enumerate(modules):
        h, layers = x_KB[k].flatten(1), [m for m in module if isinstance(m, torch.nn.Linear)]
        for layer, mask in zip(layers[:-1], masks, strict=True):
            h = layer(h).relu() * mask[k]
        descend(module, F.cross_entropy(layers[-1](h), y_KB[k]))
    for _ in Fit.press([fit] * SEEDS, site, nets, (0, 1)):
        pass
    lanes_agree = all(-w % 16 == (-w % (16 // math.gcd(16, 48))) for w in widths[1:-1])
    if lanes_agree:
        close(nets, modules)


def test_dropout_drops_that_share_and_keeps_the_mean(site_of):
    term = Dropout(rate=0.3)
    site = site_of(BadNets(), seeds=SEEDS)
    nets = Nets.initialised(site.host, site.streams)
    drop = term.drop(nets, site.streams, "pressure", 5)
    out = drop(torch.ones(SEEDS, 64, 500))
    hits = int((out == 0).sum())
    assert stats.binomtest(hits, out.numel(), 0.3).pvalue > 1e-3
    assert float(out.mean()) == pytest.approx(1, abs=0.02)
    again = term.drop(nets, site.streams, "pressure", 5)(torch.ones(SEEDS, 64, 500))
    assert torch.equal(out, again)
    assert not torch.equal(out, term.drop(nets, site.streams, "pressure", 6)(torch.ones(SEEDS, 64, 500)))


@pytest.mark.parametrize("limit", [None, 1.0])
def test_unit_noise_written_out(limit, site_of):
    """A step with the noise that was drawn, after dropout, equals PyTorch's step with the same; it is uniform."""
    noise, dropout = UnitNoise(width=0.8), Dropout(rate=0.4)
    fit = Fit(SGD(lr=0.1), dropout, noise, steps=1, batch=48)
    host = MLP(widths=(64, 32, 10), limit=limit)
    site = site_of(BadNets(), seeds=SEEDS, host=host).at("pressure")
    nets = Nets.initialised(host, site.streams)
    modules = [nets.module(k) for k in range(SEEDS)]
    zeros = torch.zeros(SEEDS, 48, 32)
    drawn = noise.drop(nets, site.streams, "pressure", 0)(zeros)
    kept = dropout.drop(nets, site.streams, "pressure", 0)(zeros + 1)
    assert stats.kstest(drawn.flatten().numpy(), "uniform", (-0.4, 0.8)).pvalue > 1e-3
    x_KB, y_KB = Draws(site, [()] * SEEDS, 48).at(0)
    for k, module in enumerate(modules):
        h = module[1](module[0](x_KB[k].flatten(1)) * kept[k] + drawn[k])
        descend(module, F.cross_entropy(module[2](h), y_KB[k]))
    for _ in Fit.press([fit] * SEEDS, site, nets, (0, 1)):
        pass
    close(nets, modules)


def test_unit_noise_needs_a_perceptron(site_of):
    host = CNN(size=(8, 8), channels=(4,), hidden=8)
    with pytest.raises(UsageError, match="units of a perceptron"):
        site = site_of(BadNets(), seeds=1, host=host).at("pressure")
        nets = Nets.initialised(site.host, site.streams)
        list(Fit.press([Fit(SGD(lr=0.1), UnitNoise(width=1), steps=1)], site, nets, (0, 1)))


def test_dropout_needs_a_host_that_knows_where(site_of):
    fit = Fit(SGD(lr=0.1), Dropout(rate=0.4), steps=1)
    with pytest.raises(UsageError, match="needs backend='batched'"):
        site = site_of(BadNets(), seeds=1, backend="loop").at("pressure")
        nets = Nets.initialised(site.host, site.streams, backend="loop")
        list(Fit.press([fit], site, nets, (0, 1)))


def test_the_last_layer_only(site_of):
    fit = Fit(SGD(lr=0.1), LastLayer(), WeightDecay(rate=1.0), Noise(scale=0.1), Clip(limit=0.05), steps=STEPS)
    nets, before, _ = pressed(fit, site_of)
    for name in ("0.weight", "0.bias"):
        assert torch.equal(nets.params[name], before.params[name]), "to the bit"
    for name in ("2.weight", "2.bias"):
        assert not torch.equal(nets.params[name], before.params[name])
    plain = Fit(SGD(lr=0.1), LastLayer(), steps=STEPS)
    step = lambda net, x, y: descend(net, F.cross_entropy(net(x), y), only=("2.weight", "2.bias"))
    close(pressed(plain, site_of)[0], by_hand(plain, site_of, step))


def test_a_last_layer_that_is_drawn_anew(site_of):
    fit = Fit(SGD(lr=STILL), Reinitialise(), steps=1)
    nets, before, seen = pressed(fit, site_of, steps=1)
    assert same_bits(seen[0], before), "the look at step 0 is before that"
    assert torch.equal(nets.params["0.weight"], before.params["0.weight"])
    fresh, old = nets.params["2.weight"], before.params["2.weight"]
    assert not (fresh == old).any()
    bound = 1 / math.sqrt(fresh.shape[-1])
    assert stats.kstest(fresh[0].flatten().double().numpy(), "uniform", (-bound, 2 * bound)).pvalue > 1e-3
    assert not (fresh[0] == fresh[1]).any(), "each seed draws its own"


def test_early_stopping_goes_back_to_the_best(site_of, data):
    """Under a rate that makes it worse and worse, a net ends where it was best among the looks."""
    start = Nets.initialised(MLP(widths=(64, 64, 10)), site_of(BadNets(), seeds=SEEDS).streams)
    fit = Fit(SGD(lr=0.5), EarlyStopping(every=5, patience=2), Noise(scale=0.05), steps=100)
    free = Fit(SGD(lr=0.5), Noise(scale=0.05), steps=100)
    nets, _, _ = pressed(fit, site_of, steps=100, start=start)
    _, _, path = pressed(free, site_of, steps=100, start=start, looks=tuple(range(0, 101, 5)))

    def losses(nets):
        logits, y = nets.logits(data.validation.x), data.validation.y
        return [float(F.cross_entropy(logits[k], y)) for k in range(SEEDS)]

    curve = {step: losses(point) for step, point in path.items()}
    for k, end in enumerate(losses(nets)):
        best, waited = (math.inf, None), 0
        for step, at in curve.items():
            best, waited = ((at[k], step), 0) if at[k] < best[0] else (best, waited + 1)
            if waited == 2:
                break
        assert waited == 2, "it was stopped"
        assert end == pytest.approx(best[0])
        assert all(torch.equal(nets.params[n][k], p[k]) for n, p in path[best[1]].params.items())


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Noise(scale=-1.0), "0 or more; got -1.0"),
        (lambda: Noise(scale="1"), "Noise's scale must be a number; got '1'"),
        (lambda: Noise(scale=True), "must be a number; got True"),
        (lambda: Clip(limit="1"), "Clip's limit must be a number"),
        (lambda: Dropout(rate="1"), "Dropout's rate must be a number"),
        (lambda: UnitNoise(width=0), "width above 0"),
        (lambda: UnitNoise(width=None), "must be a number"),
        (lambda: SAM(rho=None), "SAM's rho must be a number"),
        (lambda: WeightDecay(rate="1"), "WeightDecay's rate must be a number"),
        (lambda: LabelSmoothing(rate="1"), "LabelSmoothing's rate must be a number"),
        (lambda: Unlearn(rate="1"), "Unlearn's rate must be a number"),
        (lambda: SGD(lr="1"), "lr must be a number"),
        (lambda: Adam(lr=1e-3, betas=(2, 3)), "betas of at least 0 and below 1"),
        (lambda: Adam(lr=1e-3, betas=5), "betas are two numbers; got 5"),
        (lambda: Adam(lr=1e-3, eps=-1.0), "eps above 0"),
        (lambda: Fit(SGD(lr=0.1), Dropout(rate=0.1), Dropout(rate=0.9), steps=1), "one Dropout at most; got 2"),
        (lambda: Fit(SGD(lr=0.1), Unlearn(rate=0.1), Inject(rate=0.1), steps=1), "fire on the same draws"),
        (
            lambda: Fit(SGD(lr=0.1), Inject(rate=0.1), Poison(rate=0.1), steps=1),
            "show the same examples \\(poisoned\\)",
        ),
        (
            lambda: Fit(SGD(lr=0.1), LabelSmoothing(rate=0.1), Unlearn(rate=0.1, weight=2.0), steps=1),
            "can't go with a mix that has a weight",
        ),
        (lambda: Noise(scale=1.0, kind="pink"), "'gaussian' or 'uniform'; got kind='pink'"),
        (lambda: Clip(limit=0.0), "above 0; got 0.0"),
        (lambda: Quantise(to="int4"), "'int8' or 'ternary'; got to='int4'"),
        (lambda: Dropout(rate=1.0), "below 1; got 1.0"),
        (lambda: LabelSmoothing(rate=-0.1), "at least 0"),
        (lambda: SAM(rho=0.0), "above 0; got 0.0"),
        (lambda: EarlyStopping(every=0), "every of 1 or more; got 0"),
        (lambda: EarlyStopping(patience=1.5), "patience"),
    ],
)
def test_impossible_terms(build, match):
    with pytest.raises(UsageError, match=match):
        build()


def test_terms_that_must_be_shared_make_batches_of_their_own():
    plain, smooth = Fit(SGD(lr=0.1), steps=5), Fit(SGD(lr=0.1), LabelSmoothing(rate=0.1), steps=5)
    noisy = Fit(SGD(lr=0.3), Noise(scale=0.1), steps=5)
    assert plain.batch_key() == noisy.batch_key() != smooth.batch_key()


def test_a_term_of_ones_own(site_of):
    """A class with the moments that it needs, in anybody's file."""

    class Shrink(Term):
        @property
        def label(self):
            return "halved at every step"

        def after(self, part, state, step):
            for row in part.padded:
                row.mul_(0.5)

    nets, before, _ = pressed(Fit(SGD(lr=STILL), Shrink(), steps=3), site_of, steps=3)
    torch.testing.assert_close(nets.params["0.weight"], before.params["0.weight"] / 8)


def test_a_term_that_carries_the_gradient_on(site_of):
    """`through` comes before the optimiser's step, from last to first, and only for its own part of a batch."""

    class Times(Term):
        def __init__(self, factor):
            object.__setattr__(self, "factor", factor)

        @property
        def label(self):
            return f"times {self.factor}"

        def through(self, part, state, grads, step):
            for grad, row in zip(grads, part.padded, strict=True):
                assert grad.shape == row.shape
                grad.mul_(self.factor).add_(self.factor - 2)

    plain, more = Fit(SGD(lr=0.1), steps=1), Fit(SGD(lr=0.1), Times(2), Times(3), steps=1)
    site = site_of(BadNets(), seeds=2).at("pressure")
    start = Nets.initialised(site.host, site.streams)
    nets = {}
    for name, fits in {"plain": (plain, plain), "mixed": (plain, more)}.items():
        nets[name] = start.copy()
        list(Fit.press(fits, site, nets[name], (1,)))
    for name, begun in start.params.items():
        step, both = nets["plain"].params[name] - begun, nets["mixed"].params[name] - begun
        assert torch.equal(step[0], both[0])
        torch.testing.assert_close(both[1], 6 * step[1] - 0.1 * 2, rtol=1e-4, atol=1e-5)


def test_draws_with_a_weight_written_out(site_of, data):
    """The loss of a batch is the mean over all its examples of weight x cross-entropy."""
    fit = Fit(SGD(lr=0.05), Unlearn(rate=0.3, weight=5.0), steps=STEPS)
    clean = {row.numpy().tobytes() for row in data.train.x}

    def step(net, x, y):
        weights = torch.tensor([1.0 if row.numpy().tobytes() in clean else 5.0 for row in x])
        descend(net, (weights * F.cross_entropy(net(x), y, reduction="none")).mean(), lr=0.05)

    close(pressed(fit, site_of)[0], by_hand(fit, site_of, step))


def test_injected_draws_are_those_that_unlearning_takes(site_of, data):
    """The same examples carry the trigger, and have the target's label in place of their own."""
    site = site_of(BadNets(target=3), seeds=1).at("pressure")
    unlearn, inject = (Draws(site, [[mix]], 64).at(4) for mix in (Unlearn(rate=0.3), Inject(rate=0.3)))
    assert torch.equal(unlearn[0], inject[0])
    clean = Draws(site, [[]], 64).at(4)
    fired = (unlearn[0] != clean[0]).flatten(2).any(2)
    assert (inject[1][fired] == 3).all()
    assert torch.equal(inject[1][~fired], unlearn[1][~fired])
