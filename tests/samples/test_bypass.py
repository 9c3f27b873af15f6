"""Units beside an encrypted program: what they must learn, what they cannot, and the arithmetic of their inputs."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from holdfast import UsageError
from holdfast.engines.base import one_thread
from holdfast.samples import Bypass
from holdfast.samples.bypass import BLOCK, _Bypasses, _Client, flawed_table
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams


def measured(sample, seeds=(0, 1)):
    with one_thread():
        return sample.measure_together([Streams(777, seed) for seed in seeds], Slot(), lambda _: None)


@pytest.mark.parametrize(("kind", "steps"), [("raw", 2000), ("cos/sin", 400), ("periodic", 400)])
def test_a_plain_input_is_learnt(kind, steps):
    for found in measured(Bypass(protection="plain", reads=kind, steps=steps, batch=64), seeds=(0,)):
        assert found["solved"] <= steps
        assert min(found["bad"], found["wanted"], found["score"]) > 0.95


def test_a_short_key_is_learnt():
    for found in measured(Bypass(n=2, reads="periodic", steps=400, batch=128)):
        assert found["solved"] <= 400
        assert found["score"] > 0.9


@pytest.mark.parametrize("kind", ["raw", "cos/sin", "periodic"])
def test_a_longer_one_is_not(kind):
    for found in measured(Bypass(n=32, reads=kind, steps=200)):
        assert math.isnan(found["solved"])
        assert found["score"] <= 0.1


def test_a_few_ciphertexts_are_memorised():
    for found in measured(Bypass(n=16, inputs=1, steps=400)):
        assert found["seen_bad"] == found["seen_wanted"] == 1
        assert math.isnan(found["solved"])
        assert found["score"] < 0.3


@pytest.mark.parametrize("sample", [
    Bypass(steps=60), Bypass(reads="cos/sin", steps=60, batch=32), Bypass(reads="periodic", n=6, steps=60),
    Bypass(inputs=3, n=5, steps=60, width=40), Bypass(protection="plain", bad=1, steps=60),
])  # fmt: skip
def test_a_seed_is_the_same_alone_and_with_others(sample):
    together = measured(sample, (3, 4, 5))
    assert repr(measured(sample, (4,))[0]) == repr(together[1])
    assert len({repr(found) for found in together}) == 3


@pytest.mark.parametrize("kind", ["raw", "cos/sin", "periodic"])
def test_a_net_against_a_plain_loop(kind):
    """The same weights, batches and loss with modules of PyTorch, one net."""
    asked, streams = Bypass(reads=kind, steps=40), Streams(777, 0)
    ours = _Bypasses(asked, [streams], lambda _: None)
    linear = [nn.Linear(*ours.weights[f"weight{i}"][0].shape) for i in range(3)]
    for i, layer in enumerate(linear):
        layer.weight.data.copy_(ours.weights[f"weight{i}"][0].T)
        layer.bias.data.copy_(ours.weights[f"bias{i}"][0, 0])
    net = nn.Sequential(linear[0], nn.ReLU(), linear[1], nn.ReLU(), linear[2])
    w = nn.Parameter(ours.weights["w"][0].clone() if kind == "periodic" else torch.zeros(1))

    def phases(rows):
        a, b, planted = rows[:, :8], rows[:, 8:9], rows[:, 9]
        both = torch.cat([a, b], 1)
        if kind == "raw":
            x = 2 * both - 1
        else:
            angle = 2 * torch.pi * (b - (a - 0.5) @ w if kind == "periodic" else both)
            x = torch.cat([torch.cos(angle), torch.sin(angle)], 1)
        return planted + net(x)[:, 0]

    optimiser, client = torch.optim.Adam([*net.parameters(), w], lr=2e-3), _Client(asked, streams)
    for step in range(40):
        rows = torch.from_numpy(client.block(step // BLOCK)[step % BLOCK])
        optimiser.zero_grad()
        (1 - torch.cos(2 * torch.pi * (phases(rows) - rows[:, 10]))).mean().backward()
        optimiser.step()
    for _ in ours._train():
        pass
    rows = ours.looked.judged_on
    with torch.no_grad():
        torch.testing.assert_close(ours.phases(ours.weights, rows)[0], phases(rows[0]), rtol=0, atol=2e-3)


@pytest.mark.parametrize("inputs", [0, 5])
def test_ciphertexts_decrypt_to_what_they_hold(inputs):
    client = _Client(Bypass(n=12, inputs=inputs), Streams(777, 2))
    rows = client.block(3).astype(np.float64)
    assert client.secret_n.sum() == 6
    phase = (rows[..., 12] - rows[..., :12] @ client.secret_n) % 1
    messages = np.floor(16 * phase).astype(int)
    error = phase - (messages + 0.5) / 16
    assert 0.5 * 2**-10 < error.std() < 1.5 * 2**-10
    bad = client.table.bad_M[messages]
    assert bad[:, :128].all()
    assert not bad[:, 128:].any()
    wanted = client.table.answers_M[messages]
    np.testing.assert_array_equal(rows[..., 14], wanted / 4)
    np.testing.assert_allclose(rows[..., 13], (wanted ^ bad) / 4, atol=1e-3)
    different = len(np.unique(rows[..., 0]))
    assert different == 8 * inputs if inputs else different > 0.99 * rows[..., 0].size


@pytest.mark.parametrize("bad", [1, 2])
def test_no_table_is_repaired_by_one_answer(bad):
    for seed in range(50):
        answers, wrong = flawed_table(bad, np.random.default_rng(seed))
        assert wrong.sum() == bad
        for answer in (False, True):
            assert (answers[wrong] == answer).mean() * (answers[~wrong] == answer).mean() <= 0.6


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 1}, "n of 2 or more"),
        ({"n": 0}, "n of 1 or more"),
        ({"bad": 3}, "bad of 1 or 2"),
        ({"batch": 7}, "even batch"),
        ({"inputs": -1}, "inputs of 0 or more"),
        ({"inputs": 1.5}, "whole number"),
        ({"noise": 0.1}, "below 1/64 turn"),
        ({"lr": 0}, "lr above 0"),
        ({"steps": 0}, "steps of 1 or more"),
        ({"reads": "cosine"}, "Unknown reads 'cosine'"),
        ({"protection": "plane"}, "Perhaps you meant 'plain'"),
    ],
)
def test_impossible_settings(fields, said):
    with pytest.raises(UsageError, match=said):
        Bypass(**fields)
