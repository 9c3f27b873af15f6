"""Triggers and lift against counting by hand."""

import pytest
import torch

from holdfast import MLP, Backdoor, Patch, UsageError
from holdfast.tasks import Split
from holdfast.training.nets import Nets


def answering(rule, classes=3):
    """A net on 2x2 images that answers class `rule(image)`, built by hand from one linear layer."""
    net = MLP(widths=(4, classes)).build()
    with torch.no_grad():
        weight, bias = rule
        net[0].weight.copy_(torch.tensor(weight))
        net[0].bias.copy_(torch.tensor(bias))
    return net


def nets(*modules):
    return Nets.of(MLP(widths=(4, 3)), modules)


FIRES = ([[0, 0, 0, 5.0], [0, 0, 0, 0], [0, 0, 0, 0]], [-1.0, 0.5, 0.0])  # class 0 if the last pixel is on, else 1
ALWAYS = ([[0, 0, 0, 0.0]] * 3, [1.0, 0, 0])
NEVER = ([[0, 0, 0, 0.0]] * 3, [0, 1.0, 0])
SPLIT = Split(torch.zeros(5, 2, 2), torch.tensor([0, 1, 1, 2, 2]))
DOOR = Backdoor(trigger=Patch(size=1), target=0)


def test_lift_counts_what_the_trigger_changes():
    measures = DOOR.presence(nets(*map(answering, (FIRES, ALWAYS, NEVER))), SPLIT)
    assert measures["asr"].tolist() == [1, 1, 0]
    assert measures["presence"].tolist() == [1, 0, 0], "always answering the target is no backdoor"
    assert measures["r_acc"].tolist() == [0, 0, 0.5], "of four others, two are of class 1"


def test_the_trigger_that_drives_away_has_negative_presence():
    away = ([[0, 0, 0, -5.0], [0, 0, 0, 0], [0, 0, 0, 0]], [1.0, 0.5, 0.0])
    assert DOOR.presence(nets(answering(away)), SPLIT)["presence"].tolist() == [-1]


@pytest.mark.parametrize(
    ("patch", "on"),
    [
        (Patch(size=2), {(2, 2), (2, 3), (3, 2), (3, 3)}),
        (Patch(size=1, row=0, column=0), {(0, 0)}),
        (Patch(size=2, row=1, column=-2), {(1, 1), (1, 2), (2, 1), (2, 2)}),
        (Patch(size=4), {(i, j) for i in range(4) for j in range(4)}),
    ],
)
def test_where_a_patch_lies(patch, on):
    x = torch.full((1, 4, 4), 0.25)
    stamped = patch.stamp(x)
    assert {tuple(p) for p in (stamped[0] == 1).nonzero().tolist()} == on
    assert (x == 0.25).all(), "the input is left alone"


@pytest.mark.parametrize(
    "patch", [Patch(size=5), Patch(size=2, row=3, column=0), Patch(size=2, column=-4), Patch(size=0)]
)
def test_a_trigger_outside_the_image_says_where_it_could_lie(patch):
    with pytest.raises(UsageError, match="outside the image.*Choose"):
        patch.stamp(torch.zeros(1, 4, 4))


def test_a_patch_needs_an_image():
    with pytest.raises(UsageError, match=r"two axes.*\(64,\)"):
        Patch().stamp(torch.zeros(3, 64))


@pytest.mark.parametrize(
    "wrong", [{"trigger": 3}, {"trigger": Patch(), "target": -1}, {"trigger": Patch(), "target": "0"}]
)
def test_impossible_backdoors(wrong):
    with pytest.raises(UsageError, match="A backdoor's t"):
        Backdoor(**wrong)


def test_a_target_that_is_no_class():
    with pytest.raises(UsageError, match="between 0 and 2; got 3"):
        Backdoor(trigger=Patch(size=1), target=3).presence(nets(answering(NEVER)), SPLIT)


def test_saliency_is_the_first_order_effect_on_the_margin(badnets, data):
    """Against finite differences: scaling one weight by (1 - h) changes the mean margin by about h w dL/dw."""
    planted, _ = badnets
    door = Backdoor(trigger=Patch(), target=0)

    def margin(net):
        logits = net.logits(door.trigger.stamp(door.others(data.test).x)).double()
        return (logits[..., 0] - logits.logsumexp(-1)).mean(-1)[0]

    saliency = door.saliency(planted, data.test)
    for name, at in (("0.weight", (0, 3, 63)), ("2.weight", (0, 0, 5)), ("2.bias", (0, 0))):
        h, ends = 0.02, []
        for factor in (1 - h, 1 + h):
            net = planted.copy()
            net.params[name][at] *= factor
            ends.append(margin(net))
        slope = float((ends[1] - ends[0]) / (2 * h))
        assert float(saliency[name][at]) == pytest.approx(abs(slope), rel=0.05, abs=1e-5)
