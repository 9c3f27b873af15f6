"""The digits are scikit-learn's, split once and for all."""

import torch
from sklearn.datasets import load_digits

from holdfast import Digits

SHA256 = {
    "train": "fac1952d1d93f0f28f36f60820b7e4b1cd022fd17568ec7f5e1cdd42bad0488d",
    "validation": "4644e299ee6199454f302f8cd1167981590dd8a2969fe14113ad89b315db32ec",
    "test": "62d35195fe88657829654c29a88db7a439924f55ecb18e15a24a5970318d226e",
}


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
    assert {name: part["sha256"] for name, part in record.items()} == SHA256
    assert {name: part["examples"] for name, part in record.items()} == {"train": 1077, "validation": 360, "test": 360}
