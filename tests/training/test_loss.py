"""Cross-entropy against PyTorch's own."""

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.training.loss import cross_entropy

nets = st.integers(1, 9)
batches = st.integers(1, 40)
"""Of every remainder modulo the padding, none included."""


@settings(deadline=None)
@given(nets, batches, st.integers(2, 30), st.floats(0.01, 50), st.integers(0, 2**31))
def test_values_and_gradients(k, b, c, scale, seed):
    draw = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(k, b, c, generator=draw)).requires_grad_()
    y = torch.randint(c, (k, b), generator=draw)
    weight_K = torch.rand(k, generator=draw)
    loss_K = cross_entropy(logits, y)
    (ours,) = torch.autograd.grad((weight_K * loss_K).sum(), logits)
    want_K = torch.stack([F.cross_entropy(logits[i], y[i]) for i in range(k)])
    (theirs,) = torch.autograd.grad((weight_K * want_K).sum(), logits)
    assert torch.allclose(loss_K, want_K, rtol=1e-5, atol=1e-5)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_one_nets_nan_stays_its_own():
    logits = torch.randn(3, 4, 5)
    logits[1] = torch.nan
    logits.requires_grad_()
    loss_K = cross_entropy(logits, torch.zeros(3, 4, dtype=torch.int64))
    (grad,) = torch.autograd.grad(loss_K, logits, torch.ones(3))
    assert loss_K.isnan().tolist() == [False, True, False]
    assert grad[0].isfinite().all()
    assert grad[2].isfinite().all()
