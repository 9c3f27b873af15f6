"""Barriers, against closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from foreign import MODELS, made
from holdfast import MLP, Barrier, UsageError
from holdfast.hosts.adopt import Adopted
from holdfast.implants import BadNets
from holdfast.pressures.base import Checkpoint
from holdfast.probes import Look
from holdfast.probes.barrier import barrier
from holdfast.tasks.base import Split
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


def nets_of(widths, seeds, scale=1.0):
    nets = Nets.initialised(MLP(widths=widths), [Streams(3, seed) for seed in seeds])
    for row in nets.rows.values():
        row *= scale
    return nets


def examples(count, width, classes, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Split(torch.randn(count, width, generator=g), torch.randint(classes, (count,), generator=g))


def test_no_barrier_between_a_net_and_itself(badnets, data):
    found = barrier(badnets[0], badnets[0].copy(), data.test)
    assert {name: value.tolist() for name, value in found.items()} == {
        "loss_barrier": [0, 0, 0, 0],
        "accuracy_barrier": [0, 0, 0, 0],
    }


@given(st.integers(0, 10**6), st.floats(0.1, 20))
@settings(max_examples=20, deadline=None)
def test_a_net_that_is_linear_in_its_weights_has_none(seed, scale):
    """Its cross-entropy is convex, so no point of the line lies above the chord."""
    nets_a, nets_b = nets_of((5, 3), range(4), scale), nets_of((5, 3), range(4, 8), scale)
    found = barrier(nets_a, nets_b, examples(40, 5, 3, seed))["loss_barrier"]
    assert (found >= 0).all()
    assert found.max() < 1e-5 * scale


def test_a_permuted_copy_in_closed_form():
    """relu(x) through one unit of two, and through the other one: on the line a the logit is (a^2 + (1-a)^2) z."""
    z, x = 3.0, torch.tensor([[2.0]])
    nets = nets_of((1, 2, 2), range(2), 0)
    nets_a, nets_b = nets.copy(), nets.copy()
    for each, unit in ((nets_a, 0), (nets_b, 1)):
        each.params["0.weight"][:, unit, 0] = 1
        each.params["2.weight"][:, 0, unit] = z / 2
    found = barrier(nets_a, nets_b, Split(x, torch.tensor([0])), points=5)
    loss = lambda a: math.log1p(math.exp(-(a**2 + (1 - a) ** 2) * z))
    assert found["loss_barrier"].tolist() == pytest.approx([loss(0.5) - loss(0)] * 2, rel=1e-5)
    assert found["accuracy_barrier"].tolist() == [0, 0]
    other = barrier(nets_a, nets_b, Split(x, torch.tensor([1])), points=5)
    assert other["loss_barrier"].tolist() == [0, 0], "a wrong answer is lost on the way: never above the chord"


def test_by_a_loop_over_plain_modules(badnets, data):
    """Every point of the line, as a module loaded from averaged state dicts."""
    nets_a, nets_b = badnets
    found = barrier(nets_a, nets_b, data.test, points=7)
    for k in range(2):
        losses, shares = [], []
        for i in range(7):
            a, state_a, state_b = i / 6, nets_a.state(k), nets_b.state(k)
            module = nets_a.module(k)
            module.load_state_dict({n: (1 - a) * v + a * state_b[n] for n, v in state_a.items()})
            logits = module(data.test.x).detach()
            losses.append(float(F.cross_entropy(logits.double(), data.test.y)))
            shares.append(float((logits.argmax(1) == data.test.y).double().mean()))
        chord = lambda values: [values[0] + i / 6 * (values[-1] - values[0]) for i in range(7)]
        rise = max(v - c for v, c in zip(losses, chord(losses), strict=True))
        sag = max(c - v for v, c in zip(shares, chord(shares), strict=True))
        assert float(found["loss_barrier"][k]) == pytest.approx(rise, abs=1e-5)
        assert float(found["accuracy_barrier"][k]) == pytest.approx(sag, abs=0.004)


def test_two_trainings_from_other_beginnings_have_one(badnets, data):
    turned = badnets[1].take([1, 2, 3, 0])
    found = barrier(badnets[1], turned, data.test)
    assert found["loss_barrier"].min() > 0.1
    assert found["accuracy_barrier"].min() > 0.02


def test_next_tokens_buffers_and_the_order_of_the_ends():
    for name in ("tied", "cnn"):
        model = MODELS[name]
        nets_a, nets_b = (
            Nets.of(Adopted(make=model.make), [made(model.make, s) for s in seeds], backend="loop")
            for seeds in ((0, 1), (2, 3))
        )
        if name == "cnn":
            assert any(not b.is_floating_point() for b in nets_a.buffers.values())
        there, back = (barrier(a, b, model.loaded().test, 3) for a, b in ((nets_a, nets_b), (nets_b, nets_a)))
        for measure, value in there.items():
            torch.testing.assert_close(value, back[measure], atol=1e-6, rtol=0)


def test_the_probe_measures_from_step_0(badnets, data):
    start, now = badnets
    point = Checkpoint(5, now, now, dict)
    look = Look(checkpoint=point, start=start, implant=BadNets(), split=data.test, train=data.train, masks={})
    found = Barrier(points=4)(look)
    for name, value in barrier(start, now, data.test, 4).items():
        assert torch.equal(found[name], value)
    other = Look.at_start(nets_of((64, 10), range(4)), BadNets(), data.test)
    changed = Look(
        checkpoint=other.checkpoint, start=start, implant=BadNets(), split=data.test, train=data.train, masks={}
    )
    assert all(value.isnan().all() and value.shape == (4,) for value in Barrier()(changed).values())


def test_a_net_that_is_not_finite_has_none(badnets, data):
    broken = badnets[0].copy()
    broken.params["0.weight"][2, 0, 0] = torch.nan
    found = barrier(badnets[0], broken, data.test, 3)["loss_barrier"]
    assert found.isnan().tolist() == [False, False, True, False]


def test_what_has_no_line_between():
    with pytest.raises(UsageError, match="one architecture, pair by pair; got 2 of MLP 5-3 and 1 of MLP 5-3"):
        barrier(nets_of((5, 3), range(2)), nets_of((5, 3), range(1)), examples(4, 5, 3))
    with pytest.raises(UsageError, match="MLP 5-3 and 2 of MLP 5-4-3"):
        barrier(nets_of((5, 3), range(2)), nets_of((5, 4, 3), range(2)), examples(4, 5, 3))
    for points in (2, 1.5):
        with pytest.raises(UsageError):
            Barrier(points=points)
