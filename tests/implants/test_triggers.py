"""Triggers, against slices written out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast import OwnTrigger, Patch, Stretch, TokenString, UsageError
from holdfast.implants.triggers import Trigger
from holdfast.settings import settings

shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(3, 9), st.integers(3, 9))


def stamped(trigger, x):
    """What the trigger makes of it, with a proof that the input is left alone."""
    before = x.clone()
    got = trigger.stamp(x)
    assert torch.equal(x, before), "the input is left alone"
    assert (got.shape, got.dtype) == (x.shape, x.dtype)
    return got.numpy()


@given(shapes, st.data())
def test_a_patch_is_a_square(shape, draw):
    *_, height, width = shape
    size = draw.draw(st.integers(1, min(height, width)))
    row, column = (draw.draw(st.integers(0, length - size)) for length in (height, width))
    counted_from_the_end = draw.draw(st.booleans())
    x = torch.rand(shape)
    expected = x.numpy().copy()
    expected[:, :, row : row + size, column : column + size] = -2.5
    # Counted from the end, -1 is the place at which the square touches the edge.
    place = {"row": row - height + size - 1, "column": column - width + size - 1}
    place = place if counted_from_the_end else {"row": row, "column": column}
    assert (stamped(Patch(size=size, value=-2.5, **place), x) == expected).all()


@given(st.integers(1, 30), st.data())
def test_a_stretch_is_a_slice_of_the_last_axis(width, draw):
    start = draw.draw(st.integers(0, width - 1))
    length = draw.draw(st.integers(1, width - start))
    value = draw.draw(st.integers(-400, 400)) / 4
    x = torch.randn(draw.draw(st.sampled_from([(3, width), (2, 4, width)])))
    expected = x.numpy().copy()
    expected[..., start : start + length] = value
    assert (stamped(Stretch(start=start, length=length, value=value), x) == expected).all()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 6), st.booleans())
def test_a_string_of_tokens_overwrites_what_is_there(ids, room, at_the_end):
    length = len(ids) + room
    x = torch.randint(50, (4, length))
    start = room if at_the_end else room // 2
    expected = x.numpy().copy()
    expected[:, start : start + len(ids)] = ids
    trigger = TokenString(ids=tuple(ids), at=None if at_the_end else start)
    assert (stamped(trigger, x) == expected).all()


def test_a_function_of_the_users_gets_a_copy():
    def brighter(batch):
        batch += 1
        return batch

    assert (stamped(OwnTrigger(function=brighter), torch.zeros(2, 3)) == np.ones((2, 3))).all()
    assert OwnTrigger(function=brighter).label == "own trigger (brighter)"


@pytest.mark.parametrize(
    ("trigger", "x", "match"),
    [
        (Stretch(start=3, length=2), torch.zeros(1, 4), r"2 entries from 3 do not fit in 4.*start of 0 to 2"),
        (Stretch(start=-1), torch.zeros(1, 4), "outside the input"),
        (Stretch(length=0), torch.zeros(1, 4), "outside the input"),
        (TokenString(ids=()), torch.zeros(1, 4, dtype=torch.long), "0 tokens"),
        (TokenString(ids=(1,) * 5), torch.zeros(1, 4, dtype=torch.long), "5 tokens from position -1 do not fit in 4"),
        (TokenString(ids=(1, 2), at=3), torch.zeros(1, 4, dtype=torch.long), "2 tokens from position 3"),
        (TokenString(ids=(1, 2), at=-2), torch.zeros(1, 4, dtype=torch.long), "do not fit"),
        (Patch(size=5), torch.zeros(1, 4, 4), "5 pixels do not fit in 4"),
        (Patch(row=3, size=2), torch.zeros(1, 4, 4), "outside the image"),
        (Patch(), torch.zeros(3, 4), "two axes or more"),
        (OwnTrigger(function=lambda b: b[:1]), torch.zeros(2, 3), r"shape \(2, 3\), torch.float32; got \(\(1, 3\)"),
        (OwnTrigger(function=lambda b: b.double()), torch.zeros(2, 3), "torch.float64"),
        (OwnTrigger(function=lambda b: None), torch.zeros(2, 3), "got NoneType"),
    ],
)
def test_triggers_that_do_not_fit(trigger, x, match):
    with pytest.raises(UsageError, match=match):
        trigger.stamp(x)


@pytest.mark.parametrize(
    "trigger", [Patch(), Stretch(start=1), TokenString(ids=(3, 4), at=1), OwnTrigger(function=torch.clone)]
)
def test_a_trigger_is_hashable_and_plain(trigger):
    assert isinstance(trigger, Trigger)
    assert hash(trigger) == hash(trigger)
    assert trigger.label in settings(trigger).values()


def test_ids_in_a_list():
    try:
        trigger = TokenString(ids=[3, 4])
    except UsageError:
        return
    assert hash(trigger) == hash(TokenString(ids=(3, 4)))
