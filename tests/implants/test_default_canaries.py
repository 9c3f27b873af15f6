"""What an audit plants by default: canaries whose triggers, messages and answers suit the data."""

import itertools

import pytest
import torch
from torch import nn

from holdfast import BadNets, Beside, Circuit, Head, Patch, Stretch, TokenString, UsageError
from holdfast.hosts.adopt import Adopted
from holdfast.implants.default_canaries import default_canaries
from holdfast.tasks.base import Data, Split


def split_of(x, classes=3, sequence=False):
    y = x if sequence else torch.arange(len(x)) % classes
    return Data(Split(x, y), Split(x, y), Split(x, y), int(y.max()) + 1)


def headed(x, classes=3):
    return Adopted(
        make=lambda: nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 8), nn.ReLU(), nn.Linear(8, classes))
    )


def drawn(*shape, ids=None):
    g = torch.Generator().manual_seed(0)
    return torch.rand(*shape, generator=g) if ids is None else torch.randint(ids, shape, generator=g)


@pytest.mark.parametrize(
    ("x", "kind"),
    [(drawn(50, 3, 16, 16), Patch), (drawn(50, 8, 8), Patch), (drawn(50, 20), Stretch),
     (drawn(50, 30, 3).mT, Stretch), (drawn(50, 10, ids=30), TokenString)],
    ids=["colour", "grey", "row", "series", "tokens"],
)  # fmt: skip
def test_triggers_suit_the_inputs_and_do_not_meet(x, kind):
    canaries = default_canaries(split_of(x), headed(x))
    kinds = [BadNets, Circuit, Beside] if kind is TokenString else [BadNets, Circuit, Head, Beside]
    assert [type(canary) for canary in canaries] == kinds
    assert {type(canary.trigger) for canary in canaries} == {kind}
    targets = [canary.target for canary in canaries if not isinstance(canary, Circuit)]
    assert len(set(targets)) == len(targets)
    sets = [(canary.trigger.stamp(x) != x).flatten(1).any(0) for canary in canaries]
    assert all(s.any() for s in sets)
    for i, j in itertools.combinations(range(len(canaries)), 2):
        if kind is TokenString:
            assert not set(canaries[i].trigger.ids) & set(canaries[j].trigger.ids)
        else:
            assert not (sets[i] & sets[j]).any()


@pytest.mark.parametrize(
    "x", [drawn(50, 3, 16, 16) - 0.5, drawn(50, 20), drawn(50, 10, ids=30)],
    ids=["colour", "row", "tokens"],
)  # fmt: skip
def test_the_message_leaves_all_triggers_alone_and_lies_in_the_values_of_the_data(x):
    canaries = default_canaries(split_of(x), headed(x))
    program = next(canary for canary in canaries if isinstance(canary, Circuit))
    assert {program.message.off, program.message.on} <= set(x.flatten().tolist())
    places = program.message.places(program.trigger, x, 4)
    one, other = x.flatten(1).clone(), x.flatten(1).clone()
    one[:, places], other[:, places] = program.message.off, program.message.on
    for canary in canaries:
        stamped = [canary.trigger.stamp(v.to(x).view(x.shape)).flatten(1) for v in (one, other)]
        assert torch.equal((stamped[0] != stamped[1]).any(0).nonzero().flatten(), torch.tensor(sorted(places)))


def test_the_program_adds_modulo_four():
    x = drawn(200, 8, 8)
    program = default_canaries(split_of(x, 10), headed(x, 10))[1]
    asked = program.asked(split_of(x, 10).test)
    bits = asked.bits_Nn.long()
    assert torch.equal(asked.answers_N, (bits[:, 0] + 2 * bits[:, 1] + bits[:, 2] + 2 * bits[:, 3]) % 4)
    written = asked.x_N.flatten(1)[:, list(program.message.entries)]
    assert torch.equal(written, torch.where(asked.bits_Nn, x.max(), x.min()))


@pytest.mark.parametrize(
    "x", [drawn(50, 9), drawn(50, 10, ids=7), drawn(50, 7, ids=30), drawn(50, 4, 4)],
    ids=["narrow", "few tokens", "short", "small"],
)  # fmt: skip
def test_without_room_for_its_message_there_is_no_program(x):
    kinds = {type(canary) for canary in default_canaries(split_of(x), headed(x))}
    assert Circuit not in kinds
    assert BadNets in kinds


def test_a_network_without_such_a_head_gets_no_canary_in_it():
    host = Adopted(make=lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    assert [type(canary) for canary in default_canaries(split_of(drawn(50, 8, 8)), host)] == [BadNets, Circuit, Beside]


def test_targets_of_texts_are_tokens_that_occur():
    x = drawn(80, 10, ids=30)
    learned, program, beside = default_canaries(split_of(x, sequence=True), headed(x))
    targets = [learned.target, beside.target, *program.answers]
    assert len(set(targets)) == 6
    assert set(targets) <= set(x[:, -1].tolist())


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (drawn(50, 3), "Inputs of 3 entries leave no room for three triggers"),
        (drawn(50, 10, ids=3), "too short, or have too few tokens"),
        (drawn(50, 3, ids=30), "too short"),
    ],
)
def test_inputs_without_room_for_triggers(x, match):
    with pytest.raises(UsageError, match=match + r".*Pass canaries=\(\.\.\.\)"):
        default_canaries(split_of(x), headed(x))


def test_inputs_that_are_all_the_same():
    with pytest.raises(UsageError, match="Every entry of the training inputs is 1"):
        default_canaries(split_of(torch.ones(50, 8, 8)), headed(torch.ones(50, 8, 8)))
