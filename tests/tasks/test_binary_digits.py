"""The digits as exact bits."""

import pytest
import torch

from holdfast import Digits, UsageError
from holdfast.tasks import BinaryDigits


def test_they_are_the_digits_at_one_half_with_noise_and_constants():
    task = BinaryDigits(noise=5, constant=(1, 0, 1), repeats=3)
    data, digits = task.load(), Digits().load()
    assert task.inputs == data.train.x.shape[1] == 72
    assert len(data.train) == 3 * len(digits.train)
    for part, of, repeats in ((data.train, digits.train, 3), (data.validation, digits.validation, 1)):
        assert set(part.x.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(part.x[:, :64], (of.x.flatten(1) >= 0.5).float().repeat(repeats, 1))
        assert torch.equal(part.y, (of.y >= 5).long().repeat(repeats))
        assert (part.x[:, 69:] == torch.tensor([1.0, 0.0, 1.0])).all()
    noise = data.train.x[:, 64:69]
    assert noise.mean().item() == pytest.approx(0.5, abs=0.02)
    assert not torch.equal(noise[: len(digits.train)], noise[len(digits.train) : 2 * len(digits.train)])
    assert torch.equal(noise, BinaryDigits(noise=5, constant=(1, 0, 1), repeats=3).load().train.x[:, 64:69])


@pytest.mark.parametrize("wrong", [{"noise": -1}, {"repeats": 0}, {"constant": (2,)}])
def test_impossible_settings(wrong):
    with pytest.raises(UsageError, match="Expected noise"):
        BinaryDigits(**wrong)
