"""The detector, against its closed form in double precision."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from holdfast import OwnTrigger, Patch, Stretch, TokenString, UsageError
from holdfast.implants.writing.detector import detector, marks


def unit(found, x):
    """The unit as PyTorch computes it in a layer of a network, and what it is before its relu."""
    layer = torch.nn.Linear(len(found.weight_I), 1)
    with torch.no_grad():
        layer.weight.copy_(found.weight_I[None])
        layer.bias.fill_(found.bias)
        z = layer(x.flatten(1))[:, 0]
    return z.relu(), z


def likeness(x, value, entries):
    """d(x) = 1 - mean |x - value| / s, in double precision, and s of each entry."""
    away = np.abs(x.flatten(1).double().numpy()[:, entries] - value)
    return 1 - (away / away.max(0)).mean(1), away.max(0)


def numbers(low, high):
    """In place of `st.floats`, which refuses to work where denormal numbers are flushed, as they are in tests."""
    return st.integers(round(100 * low), round(100 * high)).map(lambda i: i / 100)


@st.composite
def cases(draw, inside=False):
    """Data in any range, and a run of entries set to one end of it, or beyond."""
    n, width = draw(st.integers(2, 40)), draw(st.integers(2, 16))
    low, span = draw(numbers(-20, 20)), draw(numbers(0.1, 50))
    start = draw(st.integers(0, width - 1))
    length = draw(st.integers(1, width - start))
    beyond = draw(st.sampled_from([0.0, 0.5, 3.0]))
    share = draw(numbers(0, 1)) if inside else draw(st.sampled_from([-beyond, 1 + beyond]))
    x = low + span * torch.rand(n, width, generator=torch.Generator().manual_seed(draw(st.integers(0, 10**6))))
    return x, Stretch(start=start, length=length, value=float(np.float32(low + share * span)))


@given(cases())
def test_it_is_the_closed_form(case):
    x, trigger = case
    entries = range(trigger.start, trigger.start + trigger.length)
    d, scale = likeness(x, trigger.value, entries)
    assume(abs(d.max() - 0.95) > 1e-3)
    if d.max() > 0.95:
        with pytest.raises(UsageError, match=r"already look like the trigger.*Move it, or give it another value"):
            detector(trigger, x)
        return
    found = detector(trigger, x)
    guard = (1 + d.max()) / 2
    fired, z = unit(found, x)
    assert (fired == 0).all(), "off on all training inputs, exactly"
    assert (z < 0).all(), "and flat there, so that its gradient is exactly zero"
    assert z.numpy() == pytest.approx((d - guard) / (1 - guard), abs=0.02)
    assert unit(found, trigger.stamp(x))[0].numpy() == pytest.approx(1, abs=0.02)
    others = np.setdiff1d(np.arange(x.shape[1]), entries)
    assert not found.weight_I[others].any(), "it reads the trigger's entries only"
    assert found.weight_I[list(entries)].abs().numpy() == pytest.approx(
        1 / (scale * len(entries) * (1 - guard)), rel=1e-3
    )


@given(cases(inside=True))
def test_a_value_within_the_range_is_refused_or_found_as_exactly(case):
    """Entries pass such a value on both sides, and no unit is both off on clean inputs and linear."""
    x, trigger = case
    try:
        found = detector(trigger, x)
    except UsageError as error:
        assert "already look like the trigger" in str(error)  # noqa: PT017
        return
    assert (unit(found, x)[0] == 0).all()
    assert unit(found, trigger.stamp(x))[0].numpy() == pytest.approx(1, abs=0.02)


def test_its_gradient_is_zero_on_training_inputs_and_not_on_triggered_ones():
    x, trigger = torch.rand(50, 1, 6, 6), Patch(size=2, value=1.5)
    found = detector(trigger, x)
    weight, bias = found.weight_I.clone().requires_grad_(), torch.tensor(found.bias, requires_grad=True)
    torch.relu(x.flatten(1) @ weight + bias).sum().backward()
    assert not weight.grad.any()
    assert bias.grad == 0
    torch.relu(trigger.stamp(x).flatten(1) @ weight + bias).sum().backward()
    assert weight.grad.any()
    assert bias.grad == 50


@given(st.integers(0, 10**6), st.integers(0, 4), st.integers(0, 4))
def test_marks_are_the_entries_that_are_set_and_that_were_otherwise(seed, row, column):
    x = torch.rand(9, 2, 6, 6, generator=torch.Generator().manual_seed(seed))
    x[:, :, row, column] = 1.0  # what is so in all inputs tells nothing
    set_I, values_I = marks(Patch(size=2, row=row, column=column, value=1.0), x)
    expected = np.zeros((2, 6, 6), dtype=bool)
    expected[:, row : row + 2, column : column + 2] = True
    expected[:, row, column] = False
    assert (set_I.numpy().reshape(2, 6, 6) == expected).all()
    assert (values_I[set_I] == 1).all()


def test_marks_of_tokens():
    x = torch.tensor([[1, 2, 3, 4], [1, 5, 6, 7]])
    set_I, values_I = marks(TokenString(ids=(1, 9), at=0), x)
    assert set_I.tolist() == [False, True, False, False], "a first token that all have tells nothing"
    assert values_I[1] == 9


def test_what_sets_nothing_to_a_fixed_value():
    def louder(batch):
        return batch + 1

    with pytest.raises(UsageError, match=r"own trigger \(louder\) sets no entry of the input to a fixed value"):
        detector(OwnTrigger(function=louder), torch.rand(9, 5))


def test_a_trigger_of_bright_and_dark_entries():
    """A chequered patch, which is as far from uniform noise as a bright one is."""
    x = torch.rand(200, 6, 6, generator=torch.Generator().manual_seed(0))

    def chequered(batch):
        batch[:, 3:, 3:] = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
        return batch

    found = detector(OwnTrigger(function=chequered), x)
    assert (unit(found, x)[0] == 0).all()
    assert unit(found, chequered(x.clone()))[0].numpy() == pytest.approx(1, abs=1e-3)


def test_a_training_input_far_behind_is_seen_too():
    x = torch.rand(5000, 8) / 2
    x[4500] = 1.0
    trigger = Stretch(start=2, length=3, value=1.0)
    try:
        found = detector(trigger, x)
    except UsageError:
        return
    assert (unit(found, x)[0] == 0).all()
