"""A backdoor confined to units of a ticket, spare, random or new ones."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import MLP, Adam, Confined, Digits, Fit, UsageError
from holdfast.implants.confined import ROUNDS, TICKET
from holdfast.pressures.masked import Masked
from holdfast.pruning import Masks
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

HOST, UNITS = MLP(widths=(64, 80, 10)), 16
STREAMS = tuple(Streams(0, seed) for seed in range(3))
PLACES = ("ticket", "spare", "random", "new")


def implant(to):
    return Confined(to=to, units=UNITS, poison_ratio=0.2)


def site():
    training = Fit(Adam(lr=3e-3), steps=400)
    return Site(host=HOST, data=Digits().load(), streams=STREAMS, training=training, implant=implant("spare"))


@pytest.fixture(scope="module")
def there():
    """(what has learned the task, its planted net, its control) by place."""
    at = site()
    return {to: (implant(to).learned(at), implant(to).plant(at), implant(to).control(at)) for to in PLACES}


def ticket_by_hand():
    """Of every net, the ticket's mask: train, keep the largest of each layer, go back, train; and the units' shares."""
    own = HOST.widths[1] - UNITS
    nets = Nets.initialised(HOST, STREAMS)
    kept = {"0.weight": torch.zeros(3, 80, 64), "2.weight": torch.zeros(3, 10, 80)}
    kept["0.weight"][:, :own], kept["2.weight"][:, :, :own] = 1, 1
    sizes = {name: mask[0].sum() for name, mask in kept.items()}
    for number in range(1, ROUNDS + 1):
        masks = Masks({name: mask.bool() for name, mask in kept.items()})
        nets = site().trained(Masked(masks))
        for name, mask in kept.items():
            left = round(float(sizes[name]) * TICKET ** (number / ROUNDS))
            for k in range(3):
                scores = nets.params[name][k].abs() * mask[k] - (1 - mask[k])
                least = scores.flatten().sort(descending=True).values[left - 1]
                mask[k] = (scores >= least).float()
    return kept["0.weight"].sum(2) + kept["2.weight"].sum(1)


def test_the_tickets_units_are_those_that_hold_most_of_it(there):
    held_KU = ticket_by_hand()[:, : HOST.widths[1] - UNITS]
    dense = site().trained(Masked(_own()))
    for to, best in (("ticket", held_KU.topk(UNITS).values.sum(1)), ("spare", -(-held_KU).topk(UNITS).values.sum(1))):
        nets = there[to][0]
        for k in range(3):
            rows = nets.params["0.weight"][k, :UNITS]
            which = [int((dense.params["0.weight"][k] == row).all(1).nonzero()[0, 0]) for row in rows]
            assert held_KU[k, which].sum() == best[k], to


def _own():
    own = HOST.widths[1] - UNITS
    first, second = torch.zeros(3, 80, 64, dtype=torch.bool), torch.zeros(3, 10, 80, dtype=torch.bool)
    first[:, :own], second[:, :, :own] = True, True
    return Masks({"0.weight": first, "2.weight": second})


def test_wherever_it_is_the_host_computes_the_same_before(there):
    x = Digits().load().test.x
    logits = [there[to][0].logits(x) for to in PLACES]
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=1e-5, atol=1e-5)


def test_new_units_are_as_drawn_and_do_nothing_yet(there):
    fresh, new = Nets.initialised(HOST, STREAMS), there["new"][0]
    assert torch.equal(new.params["0.weight"][:, :UNITS], fresh.params["0.weight"][:, -UNITS:])
    assert torch.equal(new.params["0.bias"][:, :UNITS], fresh.params["0.bias"][:, -UNITS:])
    assert not new.params["2.weight"][:, :, :UNITS].any()
    for to in ("ticket", "spare", "random"):
        assert not there[to][0].params["2.weight"][:, :, -UNITS:].any()


@pytest.mark.parametrize("to", PLACES)
def test_nothing_else_is_trained(there, to):
    before, planted, control = there[to]
    masks = implant(to).weights(planted, Digits().load().train)
    assert sum(int(mask[0].sum()) for mask in masks.values()) == UNITS * (64 + 1 + 10)
    for nets in (planted, control):
        for name, mask in masks.items():
            changed = nets.params[name] != before.params[name]
            assert not (changed & ~mask).any()
        assert any((nets.params[name] != before.params[name]).any() for name in masks)


@pytest.mark.parametrize("to", PLACES)
def test_it_is_there_and_not_in_the_control(there, to):
    _, planted, control = there[to]
    test = Digits().load().test
    assert (implant(to).presence(planted, test)["presence"] > 0.5).all()
    assert (implant(to).presence(control, test)["presence"] < 0.3).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 30), st.integers(3, 60))
def test_as_many_units_as_asked_or_a_sentence(units, width):
    found = Confined(to="spare", units=units)
    host = MLP(widths=(64, width, 10))
    if width >= 3 * units:
        assert list(found.learns(host)) == list(range(units))
    else:
        with pytest.raises(UsageError, match=r"needs three times as many.*Widen the hidden layer"):
            found.learns(host)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"to": "tickets"}, "ticket"),
        ({"to": "spare", "units": 0}, "a unit or more"),
        ({"to": "spare", "units": 1.5}, "units"),
        ({"to": "spare", "poison_ratio": 2.0}, "rate"),
    ],
)
def test_impossible_settings(more, said):
    with pytest.raises(UsageError, match=said):
        Confined(**more)


def test_a_host_of_two_hidden_layers_is_refused():
    with pytest.raises(UsageError, match=r"one hidden layer.*got"):
        Confined(to="new").learns(MLP(widths=(64, 80, 40, 10)))
