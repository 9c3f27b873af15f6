"""Training that is kept to some units: all others stay, to the bit."""

import pytest
import torch

from holdfast import MLP, SGD, Adam, Fit, OnlyUnits, UsageError
from holdfast.training.nets import Nets

HOST = MLP(widths=(64, 16, 10))


@pytest.mark.parametrize("optimiser", [SGD(lr=0.1, momentum=0.9), Adam(lr=0.01)])
@pytest.mark.parametrize("alone", [False, True])
def test_other_units_stay_to_the_bit(optimiser, alone, site_of):
    site = site_of(None, seeds=2, host=HOST)
    nets = Nets.initialised(HOST, site.streams)
    before = {name: p.clone() for name, p in nets.params.items()}
    fit = Fit(optimiser, OnlyUnits(units=(1, 4, 5), alone=alone), steps=30)
    for _ in Fit.press([fit] * 2, site.at("pressure"), nets, (0, 30)):
        pass
    mine = torch.zeros(16, dtype=torch.bool)
    mine[[1, 4, 5]] = True
    after = nets.params
    assert torch.equal(after["0.weight"][:, ~mine], before["0.weight"][:, ~mine])
    assert torch.equal(after["0.bias"][:, ~mine], before["0.bias"][:, ~mine])
    others = after["2.weight"][:, :, ~mine]
    assert torch.equal(others, torch.zeros_like(others) if alone else before["2.weight"][:, :, ~mine])
    assert torch.equal(after["2.bias"], before["2.bias"]) != alone
    for name, axis in (("0.weight", 1), ("0.bias", 1), ("2.weight", 2)):
        assert not torch.equal(after[name].movedim(axis, 0)[mine], before[name].movedim(axis, 0)[mine])


def test_what_it_cannot_do_is_refused(site_of):
    with pytest.raises(UsageError, match="0 or more"):
        OnlyUnits(units=())
    for host, units in ((MLP(widths=(64, 8, 8, 10)), (0,)), (HOST, (16,))):
        site = site_of(None, seeds=1, host=host)
        fit = Fit(SGD(lr=0.1), OnlyUnits(units=units), steps=2)
        with pytest.raises(UsageError, match="one hidden layer|has 16 units"):
            for _ in Fit.press([fit], site.at("pressure"), Nets.initialised(host, site.streams), (0, 2)):
                pass
