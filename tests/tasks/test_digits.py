"""The digits are scikit-learn's, split once and for all."""

import torch
from sklearn.datasets import load_digits

from holdfast import Digits

SHA256 = "fac1952d1d93f0f2"


def test_the_splits_are_all_of_it_and_disjoint(data):
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1077, 360, 360]
    ours = torch.cat([part.x.flatten(1) for part in (data.train, data.validation, data.test)])
    theirs = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    key = lambda x: sorted(map(tuple, x.tolist()))
    assert key(ours) == key(theirs)
    assert (data.train.x.min(), data.train.x.max()) == (0, 1)


def test_labels_go_with_their_images(data):
    label = {
        tuple(image): int(y) for image, y in zip((load_digits().data / 16).tolist(), load_digits().target, strict=True)
    }
    for image, y in zip(data.test.x.flatten(1).double().tolist(), data.test.y.tolist(), strict=True):
        assert label[tuple(image)] == y


def test_the_split_never_changes():
    record = Digits().load().record()
    assert record["train"]["sha256"].startswith(SHA256)
    assert record["test"]["examples"] == 360
