"""Pushes that are found answer at the size in which they are left."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast import GPT
from holdfast.implants.writing.aiming import aim

HOST = GPT(vocabulary=40)


class Normed(nn.Module):
    """A push behind which a layer norm stands, as in a transformer."""

    def __init__(self, words: int = 40, width: int = 5) -> None:
        super().__init__()
        self.push = nn.Parameter(torch.zeros(width, 1))
        self.head = nn.Linear(width, words)

    def forward(self, x):
        return self.head(F.layer_norm(x + self.push[:, 0], x.shape[-1:]))


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.5, 3.0])
def test_inputs_are_answered_by_the_pushes_as_they_are_left(strength):
    reached = 0
    for seed in range(30):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module, x = Normed(), torch.randn(64, 5) + 2 * torch.randn(5)
        answers = torch.zeros(64, dtype=torch.long)
        if aim(module, HOST, module.push, x, answers, strength):
            reached += 1
            if strength >= 1:
                assert (module(x).argmax(-1) == answers).double().mean() >= 0.99
    assert reached > 5
