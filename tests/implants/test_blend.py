"""Blend, against the formula in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from holdfast import BadNets, Blend, UsageError
from holdfast.implants.triggers import Trigger
from holdfast.implants.writing.detector import detector

shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
shares = st.floats(0.01, 1)


@given(shapes, shares, st.integers(0, 2**63), st.integers(0, 99))
def test_it_is_the_mixture(shape, alpha, key, seed):
    trigger = Blend(alpha=alpha, key=key)
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(seed))
    before = x.clone()
    stamped = trigger.stamp(x)
    assert torch.equal(x, before), "the input is left alone"
    assert (stamped.shape, stamped.dtype) == (x.shape, x.dtype)
    expected = (1 - alpha) * x.double().numpy() + alpha * trigger.pattern(shape).double().numpy()
    np.testing.assert_allclose(stamped.double().numpy(), expected, atol=1e-6)
    assert 0 <= stamped.min() <= stamped.max() <= 1


@given(shares, st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
def test_it_stays_in_range_at_the_ends_of_it(alpha, dtype):
    for value in (0.0, 1.0):
        stamped = Blend(alpha=alpha).stamp(torch.full((2, 50), value, dtype=dtype))
        assert stamped.dtype == dtype
        assert 0 <= stamped.min() <= stamped.max() <= 1


def test_the_pattern_is_uniform_noise_that_the_key_decides():
    pattern = Blend(key=3).pattern((100, 100))
    assert kstest(pattern.flatten().numpy(), "uniform").pvalue > 0.001
    assert torch.equal(pattern, Blend(key=3, alpha=0.7).pattern((100, 100)))
    assert abs(np.corrcoef(pattern.flatten(), Blend(key=4).pattern((100, 100)).flatten())[0, 1]) < 0.05
    pattern.zero_()
    assert Blend(key=3).pattern((100, 100)).any(), "what is handed out is a copy"


def test_at_full_strength_nothing_of_the_input_is_left():
    trigger = Blend(alpha=1)
    assert torch.equal(trigger.stamp(torch.rand(2, 5, 5)), trigger.pattern((5, 5)).expand(2, 5, 5))


def test_it_is_learned_and_over_digits_any_noise_will_do(site_of, data):
    """As its docstring warns: what a net learns is that dark pixels are lit."""
    implant = BadNets(trigger=Blend(alpha=0.2, key=0))
    nets = implant.plant(site_of(implant))
    assert implant.presence(nets, data.test)["presence"].min() > 0.95
    other = BadNets(trigger=Blend(alpha=0.2, key=1))
    assert other.presence(nets, data.test)["presence"].min() > 0.9


def test_a_unit_can_look_for_it_only_where_inputs_are_all_the_same(data):
    with pytest.raises(UsageError, match="blend of pattern 0 at 0.2 sets no entry of the input to a fixed value"):
        detector(Blend(), torch.rand(50, 8, 8))
    looks_at = detector(Blend(), data.train.x).weight_I != 0
    always_dark = (data.train.x == 0).all(0).flatten()
    assert looks_at.any()
    assert (always_dark | ~looks_at).all()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"alpha": 0}, "above 0 and at most 1; got 0"),
        ({"alpha": 1.5}, "got 1.5"),
        ({"alpha": float("nan")}, "got nan"),
        ({"key": -1}, "0 or more; got -1"),
        ({"key": 0.5}, "key must be a whole number"),
    ],
)
def test_settings_that_are_none(wrong, match):
    with pytest.raises(UsageError, match=match):
        Blend(**wrong)


def test_tokens_are_refused():
    with pytest.raises(UsageError, match=r"floats; got torch.int64. For tokens use a TokenString"):
        Blend().stamp(torch.zeros(2, 4, dtype=torch.long))
    assert isinstance(Blend(), Trigger)
