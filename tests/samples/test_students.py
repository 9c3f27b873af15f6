"""Students of another host than their teacher, against a plain PyTorch loop."""

import pytest
import torch
import torch.nn.functional as F

from holdfast import MLP, SGD, Digits, Distil, Fit, UsageError
from holdfast.engines.base import one_thread
from holdfast.samples import Students
from holdfast.samples.students import flattened
from holdfast.training.draws import Draws
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

SMALL = Students(
    teacher=MLP(widths=(64, 32, 10)), host=MLP(widths=(64, 6, 10)), task=Digits(),
    training=Fit(SGD(lr=0.1), steps=30, batch=60), settings=(Distil(temperature=3.0, weight=0.7), Distil(weight=0.5)),
)  # fmt: skip
STREAMS = tuple(Streams(0, seed) for seed in range(2))


def measured(sample=SMALL, streams=STREAMS):
    with one_thread():
        return sample.measure_together(streams, Slot(), lambda _: None)


def fresh(host, stream):
    return Nets.initialised(host, (stream,)).module(0)


def trained(module, stream, loss):
    data = Digits().load()
    draws = Draws(Site(host=SMALL.host, data=data, streams=(stream,)), [()], 60)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1)
    for step in range(30):
        x_KB, y_KB = draws.at(step)
        optimiser.zero_grad()
        loss(module(x_KB[0]), x_KB[0], y_KB[0]).backward()
        optimiser.step()
    return module


def test_a_student_is_what_a_plain_loop_makes_of_it():
    stream, data = STREAMS[1], Digits().load()
    (found,) = measured(streams=(stream,))
    teacher = trained(fresh(SMALL.teacher, stream), stream, lambda z, x, y: F.cross_entropy(z, y))
    right = lambda net, split: (net(split.x).argmax(1) == split.y).double().mean().item()

    def distilled(z, x, y):
        with torch.no_grad():
            soft = F.softmax(teacher(x) / 3.0, 1)
        kl = F.kl_div(F.log_softmax(z / 3.0, 1), soft, reduction="batchmean")
        return 0.3 * F.cross_entropy(z, y) + 0.7 * 9.0 * kl

    def smoothed(z, x, y):
        with torch.no_grad():
            most, at = F.softmax(teacher(x) / 3.0, 1).max(1)
            soft = ((1 - most) / 9)[:, None].repeat(1, 10)
            soft[torch.arange(len(x)), at] = most
        kl = F.kl_div(F.log_softmax(z / 3.0, 1), soft, reduction="batchmean")
        return 0.3 * F.cross_entropy(z, y) + 0.7 * 9.0 * kl

    assert found["accuracy/teacher"] == pytest.approx(right(teacher, data.test), abs=0.003)
    for name, loss in (
        ("alone", lambda z, x, y: F.cross_entropy(z, y)),
        ("distilled/0", distilled),
        ("smoothed/0", smoothed),
    ):
        student = trained(fresh(SMALL.host, stream), stream, loss)
        assert found[f"accuracy/{name}"] == pytest.approx(right(student, data.test), abs=0.003), name
        assert found[f"validation/{name}"] == pytest.approx(right(student, data.validation), abs=0.003)
        same = (student(data.test.x).argmax(1) == teacher(data.test.x).argmax(1)).double().mean().item()
        assert found[f"agreement/{name}"] == pytest.approx(same, abs=0.003)


def test_a_seed_is_the_same_alone_and_with_others():
    together = measured()
    assert repr(measured(streams=STREAMS[1:])[0]) == repr(together[1])
    students = {"alone", *(f"{how}/{number}" for how in ("distilled", "smoothed", "other") for number in (0, 1))}
    assert set(together[0]) == {
        "unsure/teacher",
        *(f"{what}/{name}" for what in ("accuracy", "validation") for name in (*students, "teacher")),
        *(f"{what}/{name}" for what in ("agreement", "agreement_off") for name in students),
    }
    assert together[0]["accuracy/distilled/0"] != together[0]["accuracy/other/0"]


def test_what_is_flattened_keeps_its_answer_and_its_confidence():
    p = F.softmax(torch.randn(2, 50, 7, generator=torch.Generator().manual_seed(0)), -1)
    flat = flattened(p)
    torch.testing.assert_close(flat.sum(-1), torch.ones(2, 50))
    assert torch.equal(flat.argmax(-1), p.argmax(-1))
    assert torch.equal(flat.amax(-1), p.amax(-1))
    others = flat.masked_fill(flat == flat.amax(-1, keepdim=True), torch.nan)
    assert torch.allclose(others.nan_to_num(0).sum(-1) / 6, others.nan_to_num(2).amin(-1), atol=1e-6)


@pytest.mark.parametrize("settings", [(), (Distil(weight=0.0),), (Distil(features=1.0),)])
def test_impossible_settings(settings):
    with pytest.raises(UsageError, match="taught by logits"):
        Students(teacher=SMALL.teacher, host=SMALL.host, task=Digits(), training=SMALL.training, settings=settings)


def test_how_much_it_is():
    assert SMALL.steps == 30 * (2 + 6)
    assert SMALL.shortened().steps == 16
