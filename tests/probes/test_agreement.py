"""Agreement of a net with itself at step 0, against counts and PyTorch's own divergence."""

import pytest
import torch
import torch.nn.functional as F

from foreign import MODELS, made
from holdfast import Agreement, BadNets, Uchida, UsageError
from holdfast.hosts.adopt import Adopted
from holdfast.pressures.base import Checkpoint
from holdfast.probes import Look
from holdfast.probes.agreement import permuted
from holdfast.training.nets import Nets


def look_at(now, start, implant, split):
    point = Checkpoint(1, now, start, dict)
    return Look(checkpoint=point, start=start, implant=implant, split=split, train=split, masks={})


def test_it_counts_equal_answers_and_pytorchs_divergence(badnets, data):
    start, now = badnets
    found = Agreement()(look_at(now, start, BadNets(), data.test))
    x = data.test.x
    inputs = {"": x, "_trigger": BadNets().trigger.stamp(x), "_off": permuted(x, 0)}
    assert set(found) == {f"{name}{ending}" for name in ("agreement", "divergence") for ending in inputs}
    for ending, x_N in inputs.items():
        for k in range(start.k):
            then, new = (nets.module(k)(x_N).detach() for nets in (start, now))
            assert found[f"agreement{ending}"][k] == pytest.approx(
                (then.argmax(1) == new.argmax(1)).double().mean().item()
            )
            apart = F.kl_div(new.log_softmax(1), then.log_softmax(1), log_target=True, reduction="batchmean")
            assert found[f"divergence{ending}"][k].item() == pytest.approx(apart.item(), rel=1e-4)
    assert found["agreement"].min() > 0.8, "both know the task"
    assert found["agreement_trigger"].max() < 0.5, "one of them obeys the trigger"
    assert found["agreement_off"].max() < found["agreement"].min()


def test_a_net_agrees_with_itself(badnets, data):
    found = Agreement()(Look.at_start(badnets[0], BadNets(), data.test))
    for name, value in found.items():
        torch.testing.assert_close(
            value, torch.full_like(value, float(name.startswith("agreement"))), atol=1e-6, rtol=0
        )


def test_without_a_trigger_there_is_none_to_agree_on(badnets, data):
    found = Agreement()(Look.at_start(badnets[0], Uchida(), data.test))
    assert found["agreement_trigger"].isnan().all()
    assert found["divergence_trigger"].isnan().all()
    assert not found["agreement_off"].isnan().any()


def test_sequences_agree_position_by_position():
    tied = MODELS["tied"]
    nets = [
        Nets.of(Adopted(make=tied.make), [made(tied.make, s) for s in seeds], backend="loop")
        for seeds in ((0, 1), (0, 2))
    ]
    split = tied.loaded().test
    found = Agreement()(look_at(nets[1], nets[0], Uchida(), split))
    assert found["agreement"][0] == 1
    assert found["divergence"][0] == pytest.approx(0, abs=1e-6)
    same = (nets[0].classes(split.x) == nets[1].classes(split.x))[1].double().mean()
    assert found["agreement"][1].item() == pytest.approx(same.item())
    assert same < 1


def test_off_task_inputs_hold_the_same_values_in_another_order(data):
    x = data.test.x
    off = permuted(x, 0)
    assert off.shape == x.shape
    assert torch.equal(off.flatten(1).sort(1).values, x.flatten(1).sort(1).values)
    assert torch.equal(off, permuted(x, 0))
    assert not torch.equal(off, permuted(x, 1))
    tokens = torch.arange(12).view(2, 6)
    assert permuted(tokens, 0).dtype == torch.int64
    assert not torch.equal(permuted(tokens, 0)[0], permuted(tokens, 0)[1] - 6), "each its own order"


def test_impossible_settings():
    with pytest.raises(UsageError, match="seed must be a whole number"):
        Agreement(seed=0.5)
    with pytest.raises(UsageError, match="seed of 0 or more; got -1"):
        Agreement(seed=-1)
