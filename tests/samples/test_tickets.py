"""Tickets: the ladder against a plain PyTorch loop, its masks, and what a kill costs."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from holdfast import MLP, SGD, Adam, Digits, Fit, UsageError
from holdfast.engines.base import one_thread
from holdfast.samples import Tickets
from holdfast.samples.tickets import ARMS, _Ladder
from holdfast.training.draws import Draws
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

SMALL = Tickets(
    host=MLP(widths=(64, 16, 10)), task=Digits(), training=Fit(SGD(lr=0.1, momentum=0.9), steps=40, batch=60), rounds=3,
    every=10,
)  # fmt: skip
STREAMS = tuple(Streams(0, seed) for seed in range(2))


def measured(sample=SMALL, streams=STREAMS, slot=None):
    with one_thread():
        return sample.measure_together(streams, slot or Slot(), lambda _: None)


def test_a_ladder_is_what_a_plain_loop_makes_of_it():
    """One seed, by torch.optim and torch.sort: masks, accuracies and early stopping of dense net and tickets."""
    data, stream = Digits().load(), STREAMS[1]
    site = Site(host=SMALL.host, data=data, streams=(stream,), phase="training")
    start = Nets.initialised(SMALL.host, (stream,)).module(0)
    origin = {name: p.detach().clone() for name, p in start.named_parameters()}
    masks = {name: torch.ones_like(p) for name, p in origin.items() if "weight" in name}
    (found,) = measured(streams=(stream,))
    for number in range(SMALL.rounds + 1):
        module = Nets.initialised(SMALL.host, (stream,)).module(0)
        module.load_state_dict({n: v * masks.get(n, 1) for n, v in origin.items()})
        right = lambda split, net=module: (net(split.x).argmax(1) == split.y).double().mean().item()
        arm = "ticket" if number else "dense"
        assert found[f"{arm}/{number}/start"] == pytest.approx(right(data.test), abs=1e-9)
        optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        draws, best = Draws(site, [()], 60), (float("inf"), 0, 0.0)
        for step in range(1, 41):
            x_KB, y_KB = draws.at(step - 1)
            optimiser.zero_grad()
            F.cross_entropy(module(x_KB[0]), y_KB[0]).backward()
            optimiser.step()
            with torch.no_grad():
                for name, p in module.named_parameters():
                    p.mul_(masks.get(name, 1))
                if step % 10 == 0:
                    few = data.validation.x[:1000], data.validation.y[:1000]
                    loss = F.cross_entropy(module(few[0]), few[1]).item()
                    best = min(best, (loss, step, right(data.test)))
        assert found[f"{arm}/{number}/step"] == best[1]
        assert found[f"{arm}/{number}/accuracy"] == pytest.approx(best[2], abs=0.003)
        assert found[f"{arm}/{number}/final"] == pytest.approx(right(data.test), abs=0.003)
        for name, share in (("0.weight", 0.8), ("2.weight", 0.9)):
            values = dict(module.named_parameters())[name].detach().abs().flatten()
            kept = values.sort(descending=True).indices[: round(share ** (number + 1) * len(values))]
            masks[name] = torch.zeros_like(values).scatter_(0, kept, 1.0).view_as(masks[name])


def test_a_seed_is_the_same_alone_and_with_others():
    together = measured()
    for s in (0, 1):
        assert repr(measured(streams=STREAMS[s : s + 1])[0]) == repr(together[s])
    assert together[0] != together[1]
    assert set(together[0]) == {
        *(f"dense/0/{what}" for what in ("step", "accuracy", "final", "start")),
        *(f"{arm}/{r}/{what}" for arm in ARMS for r in (1, 2, 3) for what in ("step", "accuracy", "final", "start")),
        *(f"kept/{r}" for r in (1, 2, 3)),
        *(f"moved/{r}/{when}" for r in (1, 2, 3) for when in ("start", "end")),
    }


def test_a_killed_ladder_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    slot, whole, done = Slot(tmp_path / "state.safetensors"), measured(), []
    rung = _Ladder._round

    def killed(self, number):
        if number == 2:
            raise KeyboardInterrupt
        rung(self, number)

    def counted(self, number):
        done.append(number)
        rung(self, number)

    monkeypatch.setattr(_Ladder, "_round", killed)
    with pytest.raises(KeyboardInterrupt):
        measured(slot=slot)
    monkeypatch.setattr(_Ladder, "_round", counted)
    assert repr(measured(slot=slot)) == repr(whole)
    assert done == [2, 3], "the first was not run again"


def test_rewinding_goes_back_to_a_later_step():
    """At round 1 the rewound ticket starts from weights that have trained: it knows the task already."""
    early, late = (measured(replace(SMALL, rewind=step, arms=("ticket",)))[0] for step in (0, 30))
    assert late["dense/0/final"] == early["dense/0/final"]
    assert late["ticket/1/start"] > early["ticket/1/start"] + 0.3


def test_one_threshold_for_the_whole_net():
    found = measured(replace(SMALL, scope="global", rate=0.5))[0]
    assert [found[f"kept/{r}"] for r in (1, 2, 3)] == pytest.approx([0.5, 0.25, 0.125], abs=1e-3)


def test_fewer_arms_change_nothing_of_the_others():
    few, all_arms = (measured(replace(SMALL, arms=arms))[0] for arms in (("ticket", "random"), ARMS))
    assert few == {name: all_arms[name] for name in few}
    assert not any(name.startswith("shuffled") for name in few)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"rate": 0.0}, "between 0 and 1 a round; got rate=0.0"),
        ({"last_rate": 1.0}, "last_rate=1.0"),
        ({"scope": "row"}, "scope is 'layer' or 'global'"),
        ({"rounds": 0}, "rounds=0"),
        ({"rewind": 40}, "rewind=40 of 40"),
        ({"every": 2.5}, "whole"),
        ({"arms": ("random",)}, "arms are the ticket, and any of"),
        ({"arms": ("ticket", "tickets")}, "arms are the ticket"),
    ],
)
def test_impossible_settings(wrong, match):
    with pytest.raises(UsageError, match=match):
        replace(SMALL, **wrong)


def test_how_much_it_is():
    assert SMALL.steps == 40 * 13
    assert replace(SMALL, arms=("ticket",)).steps == 40 * 4
    assert replace(SMALL, host=MLP(widths=(784, 300, 100, 10))).together == 3
    assert SMALL.together == 16
    assert SMALL.shortened().steps < 40
    assert "MLP 64-16-10" in SMALL.label
    assert replace(SMALL, training=Fit(Adam(lr=0.01), steps=5)).batch == 64
