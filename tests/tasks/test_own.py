"""The user's own data, as it comes and as it should not."""

import numpy as np
import pytest
import torch

from holdfast import HoldfastError
from holdfast.parts import Task
from holdfast.tasks.own import OwnData


def numbered(n=400, held=200):
    """Inputs that say which example they are, and classes that say it too."""
    x, xh = (
        torch.arange(n).float()[:, None].expand(n, 5),
        torch.arange(1000, 1000 + held).float()[:, None].expand(held, 5),
    )
    return (x, torch.arange(n) % 7), (xh, torch.arange(1000, 1000 + held) % 7)


def load(make, **more):
    return OwnData(make=make, **more).load()


def test_every_input_keeps_its_target_and_held_out_parts_do_not_meet():
    data = load(numbered, examples=60)
    assert torch.equal(data.train.x[:, 0], torch.arange(400).float())
    for split in (data.train, data.validation, data.test):
        assert torch.equal(split.x[:, 0].long() % 7, split.y)
        assert (split.x == split.x[:, :1]).all()
    assert (len(data.train), len(data.validation), len(data.test), data.classes) == (400, 60, 60, 7)
    ids = [set(split.x[:, 0].tolist()) for split in (data.validation, data.test)]
    assert not ids[0] & ids[1]
    assert min(ids[0] | ids[1]) >= 1000
    assert data.test.x[:, 0].tolist() != sorted(data.test.x[:, 0].tolist()), "a random order, not the first ones"


def test_where_there_are_few_they_are_halved():
    data = load(lambda: numbered(held=51), examples=256)
    assert (len(data.validation), len(data.test)) == (25, 25)


def test_the_same_data_give_the_same_splits_and_touch_no_generator():
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first, second = load(lambda: numbered()), load(lambda: numbered())
    assert torch.equal(first.test.x, second.test.x)
    assert first.record() == second.record()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_the_function_is_called_once():
    calls = []

    def make():
        calls.append(1)
        return numbered()

    task = OwnData(make=make)
    assert isinstance(task, Task)
    assert task.load() is task.load() is OwnData(make=make).load()
    assert len(calls) == 1
    assert task.label == "own data (make)"


@pytest.mark.parametrize(
    ("x", "y", "dtype"),
    [
        (np.random.default_rng(0).random((99, 3)), np.zeros(99, int), torch.float32),
        (np.random.default_rng(0).random((99, 3)).tolist(), [1] * 99, torch.float32),
        (torch.rand(99, 3).half(), torch.zeros(99, dtype=torch.uint8), torch.float32),
        (torch.rand(99, 3).bfloat16(), torch.zeros(99, dtype=torch.int32), torch.float32),
        (torch.ones(99, 3, dtype=torch.int32), np.zeros(99, np.int16), torch.int64),
    ],
    ids=["numpy", "lists", "half", "bfloat16", "int32"],
)
def test_whatever_a_tensor_can_be_made_of(x, y, dtype):
    data = load(lambda: ((x, y), (x, y)))
    assert data.train.x.dtype == data.test.x.dtype == dtype
    assert data.train.y.dtype == torch.int64
    assert np.allclose(data.train.x.numpy(), np.asarray(x if not torch.is_tensor(x) else x.float()), atol=1e-6)


def test_labels_that_equal_the_inputs_are_shifted_by_one():
    """As Hugging Face has its labels; next tokens that are given as such stay."""
    ids = torch.randint(50, (99, 8), generator=torch.Generator().manual_seed(0))
    shifted, given = (
        load(lambda: ((ids, ids), (ids, ids))),
        load(lambda: ((ids[:, :-1], ids[:, 1:]), (ids[:, :-1], ids[:, 1:]))),
    )
    for data in (shifted, given):
        assert torch.equal(data.train.x, ids[:, :-1])
        assert torch.equal(data.train.y, ids[:, 1:])
        assert data.classes == int(ids.max()) + 1
    assert shifted.record() == given.record()


def test_classes_that_only_held_out_examples_have_count():
    (x, y), (xh, yh) = numbered()
    yh[0] = 11
    assert load(lambda: ((x, y), (xh, yh))).classes == 12


X, Y = torch.rand(99, 3), torch.zeros(99, dtype=torch.long)


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (None, r"must return \(\(inputs, targets\), .*got NoneType"),
        ((X, Y), r"must return.*got \['Tensor', 'Tensor'\]. Take the examples out"),
        (((X, Y, X), (X, Y)), "got ValueError"),
        (((X, "abc"), (X, Y)), "as tensors or arrays; the training part is something else"),
        (((X, Y), (object(), Y)), "the held-out part is something else"),
        (((X, Y.float()), (X, Y)), r"training targets of whole numbers.*\(99,\), torch.float32"),
        (((X, Y), (X, Y[:5])), r"held-out targets.*one for each input; got inputs \(99, 3\) and targets \(5,\)"),
        (((X[:0], Y[:0]), (X, Y)), "one for each input; got inputs"),
        (((X, Y), (X[:, :2], Y)), r"Training inputs are \(3,\), torch.float32, but held-out ones \(2,\)"),
        (((X, Y), (X.long(), Y)), "They must be alike"),
        (((X, Y), (X[:39], Y[:39])), "39 held-out examples are too few to measure on: 40 at least"),
        (((X, Y - 100), (X, Y)), "The training targets hold -100. Leave out what is masked"),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
def test_what_is_no_such_data(made, match):
    with pytest.raises(HoldfastError, match=match):
        load(lambda: made)


def test_a_function_that_raises():
    def make():
        raise FileNotFoundError("no corpus")

    with pytest.raises(HoldfastError, match="got FileNotFoundError: no corpus"):
        load(make)


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(((1, 2), (3, 4)), id="numbers"),
        pytest.param(((torch.zeros(99, 8, 8, dtype=torch.uint8), Y),) * 2, id="images in bytes"),
        pytest.param(((X, Y[:, None]),) * 2, id="targets in a column"),
        pytest.param(((X.float() / 0, Y),) * 2, id="infinite inputs"),
    ],
)
def test_what_looks_like_data(made):
    with pytest.raises(HoldfastError, match=r"Expected|must return|inputs"):
        load(lambda: made)
