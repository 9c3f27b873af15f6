"""Neural attention distillation, against the authors' formula in plain PyTorch, killed anywhere, and alone or not."""

import math

import pytest
import torch
import torch.nn.functional as F

from conftest import same_bits
from holdfast import CNN, GPT, MLP, NAD, SGD, Adam, BadNets, Fit, Subset, UsageError
from holdfast.pressures.nad import attention
from holdfast.tasks.base import Data, Split
from holdfast.training.draws import Draws
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

SEEDS, STEPS, BEFORE = 3, 20, 10
SMALL = CNN(size=(8, 8), channels=(5, 7), hidden=12)
DEEP = MLP(widths=(64, 33, 17, 10))
FIT = Fit(SGD(lr=0.02, momentum=0.9), Subset(share=0.2), steps=STEPS, batch=33)
SETTING = NAD(fit=FIT, teacher_steps=BEFORE, betas=(5.0, 20.0, 40.0))


def fresh(data, host, seeds=range(SEEDS), **more):
    streams = tuple(Streams(0, seed) for seed in seeds)
    site = Site(host=host, data=data, streams=streams, implant=BadNets(), phase="pressure", **more)
    return site, Nets.initialised(host, streams)


def pressed(data, host, seeds=range(SEEDS), setting=SETTING, **more):
    site, nets = fresh(data, host, seeds, **more)
    for _ in NAD.press([setting] * nets.k, site, nets, (0, 7, STEPS)):
        pass
    return nets


def maps(module, x):
    """Attention as the authors write it: of convolutions after pooling; of a perceptron's units."""
    found = []
    ends = [m for m in module.modules() if isinstance(m, torch.nn.MaxPool2d)]
    hooks = [m.register_forward_hook(lambda _, __, out: found.append(out)) for m in ends or module[1::2]]
    logits = module(x)
    for hook in hooks:
        hook.remove()
    if not ends:
        return [(h.abs() ** 2) / ((h.abs() ** 2).norm(dim=1, keepdim=True) + 1e-6) for h in found], logits
    summed = [(h.abs() ** 2).sum(dim=1, keepdim=True) for h in found]
    return [m / (torch.norm(m, dim=(2, 3), keepdim=True) + 1e-6) for m in summed], logits


@pytest.mark.parametrize("host", [SMALL, DEEP])
def test_it_is_the_authors_in_plain_pytorch(host, data):
    site, start = fresh(data, host)

    def train(module, k, phase, steps, teacher=None):
        draws = Draws(site.at(phase), [()] * SEEDS, 33, 0.2)
        optimiser = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)
        for step in range(steps):
            x, y = (batch[k] for batch in draws.at(step))
            seen, logits = maps(module, x)
            loss = F.cross_entropy(logits, y)
            if teacher is not None:
                wanted, _ = maps(teacher, x)
                for beta, a, b in zip((20.0, 40.0), seen, wanted, strict=True):
                    loss = loss + beta * F.mse_loss(a, b.detach())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return module

    nets = pressed(data, host)
    for k in range(SEEDS):
        teacher = train(start.module(k), k, "pressure/teacher", BEFORE)
        for name, p in train(start.module(k), k, "pressure", STEPS, teacher).named_parameters():
            torch.testing.assert_close(nets.params[name][k], p.detach(), rtol=1e-4, atol=1e-5)
    _, plain = fresh(data, host)
    for _ in Fit.press([FIT] * SEEDS, site, plain, (STEPS,)):
        pass
    assert not all(torch.allclose(p, plain.params[n], atol=1e-4) for n, p in nets.params.items()), "it does something"


def test_without_betas_it_is_fine_tuning(data):
    """The teacher is trained beside it, and nothing of it is seen."""
    site, plain = fresh(data, DEEP)
    for _ in Fit.press([FIT] * SEEDS, site, plain, (STEPS,)):
        pass
    nets = pressed(data, DEEP, setting=NAD(fit=FIT, teacher_steps=BEFORE, betas=(0.0, 0.0)))
    for name, p in nets.params.items():
        torch.testing.assert_close(p, plain.params[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("host", [SMALL, DEEP])
def test_alone_or_among_others(host, data):
    alone = pressed(data, host, [7])
    for seeds in ((100, 7), (7, 100, 101, 102, 7)):
        among = pressed(data, host, seeds)
        for at in (k for k, seed in enumerate(seeds) if seed == 7):
            for name, p in alone.params.items():
                assert torch.equal(among.params[name][at], p[0]), name


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_killed_anywhere_it_ends_in_the_same_bits(stop_after, data, tmp_path):
    whole = pressed(data, DEEP)
    slot = Slot(tmp_path / "state.safetensors")
    site, nets = fresh(data, DEEP, slot=slot)
    points = NAD.press([SETTING] * SEEDS, site, nets, (0, 7, STEPS))
    for _ in range(stop_after):
        next(points)
    points.close()
    assert same_bits(pressed(data, DEEP, slot=slot), whole)
    slot.clear()


def test_the_dose_is_the_nets_own(data):
    ticks = []
    pressed(data, DEEP, tick=ticks.append)
    assert sum(ticks) == STEPS * SEEDS
    assert (SETTING.steps, SETTING.batch) == (STEPS, 33)


def test_a_map_has_length_one_and_no_sign():
    for shape in ((2, 3, 4, 5, 5), (2, 3, 7)):
        a = torch.randn(shape)
        norm = attention(a, 2.0).norm(dim=-1)
        torch.testing.assert_close(norm, torch.ones_like(norm), rtol=1e-3, atol=1e-3)
        assert torch.equal(attention(a, 2.0), attention(-a, 2.0))
        assert attention(0 * a, 2.0).isfinite().all()


def test_labels_and_batches():
    grid = [
        NAD(fit=Fit(SGD(lr=lr), steps=5), teacher_steps=t, betas=b)
        for lr in (0.1, 0.2)
        for t in (1, 2)
        for b in ((1.0,), (2.0,))
    ]
    assert len({setting.label for setting in grid}) == 8
    assert len({setting.name for setting in grid}) == len({setting.batch_key() for setting in grid}) == 4
    published = "NAD beta 500-1000-1000 power 2 after 390 steps, weight decay 0.0001, 0.05 of the data"
    assert NAD().label == f"{published}, SGD lr 0.01 momentum 0.9"


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: NAD(fit=Adam(lr=1.0)), "needs fit=Fit"),
        (lambda: NAD(teacher_steps=0), "1 teacher step or more; got 0"),
        (lambda: NAD(teacher_steps=1.5), "teacher_steps must be a whole number"),
        (lambda: NAD(power=0.5), "power of 1 or more; got 0.5"),
        (lambda: NAD(betas=()), "a tuple of numbers"),
        (lambda: NAD(betas=5.0), "a tuple of numbers"),
        (lambda: NAD(betas=(-1.0,)), "betas of 0 or more; got -1.0"),
        (lambda: NAD(betas=(math.inf,)), "betas of 0 or more; got inf"),
    ],
)
def test_impossible_settings(build, match):
    with pytest.raises(UsageError, match=match):
        build()


def test_it_needs_layers_and_a_beta_for_each(data):
    site, nets = fresh(data, DEEP)
    with pytest.raises(UsageError, match="1 betas for 2 layers"):
        list(NAD.press([NAD(fit=FIT, teacher_steps=1, betas=(1.0,))] * SEEDS, site, nets, (1,)))
    split = Split(torch.zeros(8, 4, dtype=torch.int64), torch.zeros(8, 4, dtype=torch.int64), 5)
    text = Data(split, split, split, classes=5)
    site, nets = fresh(text, GPT(vocabulary=5, length=4, layers=1, width=8, heads=2), range(1))
    with pytest.raises(UsageError, match="known of an MLP and of a CNN"):
        list(NAD.press([NAD(fit=Fit(SGD(lr=0.1), steps=1, batch=4), teacher_steps=1)], site, nets, (1,)))
