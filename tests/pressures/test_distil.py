"""Distillation, against plain PyTorch on the same batches, and what a student begins with."""

import math

import pytest
import torch
import torch.nn.functional as F

from conftest import same_bits
from holdfast import (
    CNN,
    GPT,
    MLP,
    SGD,
    Adam,
    BadNets,
    Beside,
    Distil,
    Fit,
    LabelSmoothing,
    LastLayer,
    Reinitialise,
    Subset,
    UsageError,
)
from holdfast.training.draws import Draws
from holdfast.training.gradients import gradients
from holdfast.training.loss import divergence
from holdfast.training.nets import Nets

STEPS, SEEDS = 20, 3
STILL = 1e-30
"""A learning rate that moves nothing."""
SMALL = CNN(size=(8, 8), channels=(4, 6), hidden=12)
DEEP = MLP(widths=(64, 33, 17, 10))


def pressed(fit, site_of, start, steps=STEPS, looks=None, **more):
    """The nets after training, and those that were looked at."""
    site = site_of(BadNets(), seeds=start.k, host=start.host, backend=start.backend, **more).at("pressure")
    nets, seen = start.copy(), {}
    for point in Fit.press([fit] * start.k, site, nets, looks or (steps,)):
        seen[point.step] = point.nets.copy()
    return nets, seen


def fresh(site_of, host=None, backend="batched"):
    site = site_of(BadNets(), seeds=SEEDS, host=host, backend=backend)
    return Nets.initialised(site.host, site.streams, backend=backend)


def close(nets, modules):
    for k, module in enumerate(modules):
        for path, p in module.named_parameters():
            torch.testing.assert_close(nets.params[path][k], p.detach(), rtol=1e-5, atol=1e-5)


def layers_of(module, x):
    """What hidden layers give, after their nonlinearity (and pooling), by hooks on a plain module."""
    ends = [m for m in module.modules() if isinstance(m, torch.nn.MaxPool2d)]
    ends += [m for m in (module.classifier if ends else module) if isinstance(m, torch.nn.ReLU)]
    found = []
    hooks = [m.register_forward_hook(lambda _, __, out: found.append(out)) for m in ends]
    logits = module(x)
    for hook in hooks:
        hook.remove()
    return found, logits


def by_hand(site_of, teachers, students, temperature, weight, features):
    """Each student by itself, in plain PyTorch."""
    site = site_of(BadNets(), seeds=SEEDS, host=teachers.host).at("pressure")
    draws = Draws(site, [()] * SEEDS, 64)
    modules = [students.module(k) for k in range(SEEDS)]
    optimisers = [torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9) for net in modules]
    for step in range(STEPS):
        x_KB, y_KB = draws.at(step)
        for k, student in enumerate(modules):
            (hidden, logits), (seen, answers) = (layers_of(m, x_KB[k]) for m in (student, teachers.module(k)))
            loss = (1 - weight) * F.cross_entropy(logits, y_KB[k])
            log_q, p = (logits / temperature).log_softmax(-1), (answers.detach() / temperature).softmax(-1)
            loss = loss + weight * temperature**2 * F.kl_div(log_q, p, reduction="batchmean")
            loss = loss + features * sum(F.mse_loss(h, g.detach()) for h, g in zip(hidden, seen, strict=True))
            optimisers[k].zero_grad()
            loss.backward()
            optimisers[k].step()
    return modules


@pytest.mark.parametrize(("backend", "host"), [("batched", DEEP), ("loop", DEEP), ("vmap", DEEP), ("batched", SMALL)])
@pytest.mark.parametrize(("temperature", "weight", "features"), [(4.0, 0.7, 0.0), (1.0, 1.0, 0.0), (2.0, 0.5, 3.0)])
def test_twenty_steps_are_pytorchs(backend, host, temperature, weight, features, site_of):
    students = fresh(site_of, host, backend)
    teachers = students.copy()
    for p in teachers.params.values():
        p.mul_(2)
    distil = Distil(temperature=temperature, weight=weight, features=features, init="same")
    nets, _ = pressed(Fit(SGD(lr=0.02, momentum=0.9), distil, steps=STEPS), site_of, teachers)
    assert not same_bits(nets, students)
    close(nets, by_hand(site_of, teachers, students, temperature, weight, features))


@pytest.mark.parametrize("classes", [2, 10, 16, 40])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_divergence_is_pytorchs(classes, temperature):
    logits, teacher = torch.randn(3, 17, classes).mul(3).requires_grad_(), torch.randn(3, 17, classes)
    found_K = divergence(logits, teacher, temperature)
    (grad,) = torch.autograd.grad(found_K.sum(), logits)
    for k in range(3):
        z = logits[k].detach().double().requires_grad_()
        p = (teacher[k].double() / temperature).softmax(-1)
        true = F.kl_div((z / temperature).log_softmax(-1), p, reduction="batchmean")
        true.backward()
        assert found_K[k].item() == pytest.approx(true.item(), rel=1e-5)
        torch.testing.assert_close(grad[k], z.grad.float(), rtol=1e-4, atol=1e-6)
    sequences = divergence(logits.view(3, 1, 17, classes), teacher.view(3, 1, 17, classes), temperature)
    torch.testing.assert_close(sequences, found_K)


@pytest.mark.parametrize("host", [DEEP, SMALL])
def test_the_gradient_of_the_features_is_autograds(host, site_of, data):
    student, teacher = fresh(site_of, host), fresh(site_of, host)
    for p in teacher.params.values():
        p.mul_(1.3)
    loss = Distil(weight=0.0, features=2.0, init="teacher").loss(teacher)
    x_KB, y_KB = student.shared(data.train.x[:21]), student.shared(data.train.y[:21])
    found = gradients(student, x_KB, y_KB, losses=[lambda loss_K, of: loss(0 * loss_K, of)], hidden=True)
    for k in range(SEEDS):
        module = student.module(k)
        (hidden, _), (seen, _) = layers_of(module, x_KB[k]), layers_of(teacher.module(k), x_KB[k])
        assert len(hidden) == len(seen) > 1
        value = 2 * sum(F.mse_loss(h, g.detach()) for h, g in zip(hidden, seen, strict=True))
        grads = torch.autograd.grad(value, list(module.parameters()), materialize_grads=True, allow_unused=True)
        for (name, _), grad in zip(module.named_parameters(), grads, strict=True):
            torch.testing.assert_close(found[name][k], grad, rtol=1e-4, atol=1e-6)


def test_without_weight_it_is_plain_training_to_the_bit(site_of, badnets):
    plain, _ = pressed(Fit(Adam(lr=3e-3), steps=STEPS), site_of, badnets[0])
    distilled, _ = pressed(Fit(Adam(lr=3e-3), Distil(weight=0, init="teacher"), steps=STEPS), site_of, badnets[0])
    assert same_bits(plain, distilled)


def test_a_student_of_the_same_weights_begins_as_the_host_did(site_of, badnets):
    fit = Fit(SGD(lr=STILL), Distil(init="same"), steps=1)
    nets, seen = pressed(fit, site_of, badnets[0], steps=1, looks=(0, 1))
    assert same_bits(seen[0], badnets[0]), "the look at step 0 is before that"
    site = site_of(BadNets())
    assert same_bits(nets, Nets.initialised(site.host, site.streams))


def test_another_student_is_fresh_and_each_seeds_own(site_of, badnets):
    nets, _ = pressed(Fit(SGD(lr=STILL), Distil(init="other"), steps=1), site_of, badnets[0], steps=1)
    site = site_of(BadNets())
    first = Nets.initialised(site.host, site.streams)
    for name, p in nets.params.items():
        bound = 1 / math.sqrt(64)
        assert p.abs().max() <= bound
        assert p.abs().max() > 0.95 * bound
        assert not (p == first.params[name]).any()
        assert not (p[0] == p[1]).any()


def test_noise_is_the_sources(site_of, badnets):
    """As in UNDO: Xavier's noise on matrices times .1, none on vectors, which shrink."""
    alpha, start = 0.6, badnets[0]
    nets, _ = pressed(Fit(SGD(lr=STILL), Distil(init="noise", alpha=alpha), steps=1), site_of, start, steps=1)
    for name, p in nets.params.items():
        noise = (p - (1 - alpha) * start.params[name]) / (alpha * 0.1)
        if p.dim() == 2:
            assert noise.abs().max() < 1e-5
            continue
        bound = math.sqrt(6 / sum(p.shape[1:]))
        assert noise.abs().max() == pytest.approx(bound, rel=0.02)
        assert float(noise.std()) == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert not torch.allclose(noise[0], noise[1])


def test_what_is_not_trained_stays_the_teachers(site_of, badnets):
    nets, _ = pressed(Fit(SGD(lr=0.1), LastLayer(), Distil(), steps=STEPS), site_of, badnets[0])
    assert torch.equal(nets.params["0.weight"], badnets[0].params["0.weight"])
    assert not (nets.params["2.weight"] == badnets[0].params["2.weight"]).any()


def test_a_student_learns_what_its_teacher_says(site_of, badnets, data):
    """Labels are left out: what the student knows it has from the teacher."""
    nets, _ = pressed(Fit(Adam(lr=3e-3), Distil(weight=1.0), steps=400), site_of, badnets[0], steps=400)
    agree = (nets.classes(data.test.x) == badnets[0].classes(data.test.x)).double().mean(1)
    assert agree.min() > 0.9


def test_of_a_pixel_that_is_always_dark_a_fresh_student_learns_nothing(site_of, badnets, data):
    """The gradient of its weights is x times something: where x is 0 they stay, to the bit, as they were drawn."""
    assert data.train.x[:, 0, 0].max() == 0
    nets, _ = pressed(Fit(Adam(lr=3e-3), Distil(init="same"), steps=STEPS), site_of, badnets[0])
    site = site_of(BadNets())
    moved = nets.params["0.weight"] != Nets.initialised(site.host, site.streams).params["0.weight"]
    assert not moved[:, :, 0].any()
    assert moved[:, :, 2:6].double().mean() > 0.9, "but for units that are dead"


def test_smoothing_smooths_the_labels_only(site_of, badnets):
    """However the terms are written."""
    terms = [Distil(weight=0.5), LabelSmoothing(rate=0.2)]
    ends = [pressed(Fit(SGD(lr=0.1), *t, steps=STEPS), site_of, badnets[0])[0] for t in (terms, terms[::-1])]
    assert same_bits(*ends)
    unlabelled = Fit(SGD(lr=0.1), Distil(weight=1.0), steps=STEPS)
    smoothed = unlabelled.with_terms(LabelSmoothing(rate=0.2))
    nets, other = (pressed(fit, site_of, badnets[0])[0] for fit in (unlabelled, smoothed))
    for name, p in nets.params.items():
        torch.testing.assert_close(p, other.params[name])


def test_every_setting_has_a_label_of_its_own():
    settings = [
        Distil(temperature=t, weight=w, features=f, init=i, alpha=a)
        for t in (1.0, 4.0)
        for w in (0.5, 1.0)
        for f in (0.0, 1.0, 10.0)
        for i, a in (("teacher", None), ("same", None), ("other", None), ("noise", 0.2), ("noise", 0.6))
    ]
    assert len({s.label for s in settings}) == len(settings)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Distil(temperature=0.0), "temperature above 0; got 0.0"),
        (lambda: Distil(temperature=-1), "temperature above 0; got -1"),
        (lambda: Distil(temperature=math.nan), "temperature above 0; got nan"),
        (lambda: Distil(temperature="1"), "Distil's temperature must be a number; got '1'"),
        (lambda: Distil(weight=1.1), "between 0 and 1; got 1.1"),
        (lambda: Distil(weight=-0.1), "between 0 and 1; got -0.1"),
        (lambda: Distil(features=-1.0), "0 or more, their weight in the loss; got -1.0"),
        (lambda: Distil(init="teachers"), "Unknown init of a student 'teachers'. Perhaps you meant 'teacher'"),
        (lambda: Distil(init="noise"), "goes with init='noise'; got init='noise' and alpha=None"),
        (lambda: Distil(alpha=0.5), "goes with init='noise'; got init='other' and alpha=0.5"),
        (lambda: Distil(init="noise", alpha=1.5), "alpha above 0, at most 1; got 1.5"),
        (lambda: Subset(share=0.0), "share above 0, at most 1; got 0.0"),
        (lambda: Subset(share="all"), "must be a number; got 'all'"),
        (lambda: Fit(SGD(lr=0.1), Distil(), Distil(weight=0.5), steps=1), "one Distil at most; got 2"),
        (lambda: Fit(SGD(lr=0.1), Distil(), Reinitialise(), steps=1), "Reinitialise would hide"),
    ],
)
def test_impossible_settings(build, match):
    with pytest.raises(UsageError, match=match):
        build()


def test_features_need_a_host_with_layers(site_of, data):
    host = GPT(vocabulary=5, length=4, layers=1, width=8, heads=2)
    nets = Nets.of(host, [host.build()])
    tokens = torch.zeros(1, 2, 4, dtype=torch.int64)
    loss = Distil(features=1.0).loss(nets)
    with pytest.raises(UsageError, match="known of an MLP and of a CNN; got GPT 1 x 8"):
        gradients(nets, tokens, tokens, losses=[loss], hidden=True)
    assert gradients(nets, tokens, tokens, losses=[Distil(weight=1.0).loss(nets)])["head.weight"].abs().max() < 1e-6


def test_a_fresh_student_needs_the_hosts_own_shape(site_of, badnets):
    implant = Beside()
    site = site_of(implant, seeds=1, backend="loop")
    nets = implant.plant(site)
    with pytest.raises(UsageError, match="a fresh host is of another shape"):
        list(Fit.press([Fit(SGD(lr=0.1), Distil(), steps=1)], site.at("pressure"), nets, (1,)))


def test_a_subset_is_each_seeds_own_and_the_same_in_every_phase(site_of, data):
    site = site_of(BadNets(), seeds=2)
    rows = {row.numpy().tobytes(): i for i, row in enumerate(data.train.x)}

    def shown(share, phase, seed):
        draws = Draws(site.at(phase), [()] * 2, 16, share)
        steps = 3 * draws.steps_per_epoch
        return {rows[row.numpy().tobytes()] for step in range(steps) for row in draws.at(step)[0][seed]}

    few, many = shown(0.05, "pressure", 0), shown(0.2, "pressure", 0)
    assert len(few) == round(0.05 * len(data.train)) == 54
    assert few < many
    assert shown(0.05, "teacher", 0) == few
    assert shown(0.05, "pressure", 1) != few
    with pytest.raises(UsageError, match=r"1 to 54 examples \(0.05 of the training data\); got 64"):
        Draws(site, [()] * 2, 64, 0.05)


def test_all_of_the_data_is_plain_training_to_the_bit(site_of, badnets):
    ends = [
        pressed(Fit(Adam(lr=3e-3), *terms, steps=STEPS), site_of, badnets[0])[0] for terms in ((), (Subset(share=1.0),))
    ]
    assert same_bits(*ends)
