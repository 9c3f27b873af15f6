"""A hand-built net that gradient descent cannot train: its last hidden layer is off for every input.

The published one was meta-learned (Q. Pope, "Meta learning to gradient hack"): trained from f(x) = 1 to sin(10 x) its
error was .573 after 3,000 steps, against .040 for a fresh net at step 120.
"""

import torch
from torch import Tensor, nn


def resister(steps: int = 3000) -> tuple[float, float, float]:
    """Train a dead net and a fresh one from f(x) = 1 to sin(10 x).

    A perceptron 1-64-64-1 with ReLU, full batch of 256 points in [-1, 1], Adam at 1e-3; the dead one has biases of
    -10 in its last hidden layer and an output bias of 1.

    Returns:
        (largest absolute hidden gradient of the dead net over all steps, its error at the end, the fresh net's).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = torch.linspace(-1, 1, 256)[:, None]
        fresh, dead = _net(), _net()
    with torch.no_grad():
        weights = dict(dead.named_parameters())
        weights["2.bias"].fill_(-10.0)
        weights["4.bias"].fill_(1.0)
    _, fresh_error = _train(fresh, x, steps)
    largest, dead_error = _train(dead, x, steps)
    return largest, dead_error, fresh_error


def _net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def _train(net: nn.Sequential, x: Tensor, steps: int) -> tuple[float, float]:
    """(largest absolute gradient on the hidden layers, mean squared error at the end)"""
    optimiser, largest = torch.optim.Adam(net.parameters(), lr=1e-3), 0.0
    hidden = [p for layer in list(net)[:-1] for p in layer.parameters()]
    for _ in range(steps):
        optimiser.zero_grad()
        error = (net(x) - torch.sin(10 * x)).square().mean()
        error.backward()
        largest = max(largest, *(float(p.grad.abs().max()) for p in hidden if p.grad is not None))
        optimiser.step()
    with torch.no_grad():
        return largest, float((net(x) - torch.sin(10 * x)).square().mean())
