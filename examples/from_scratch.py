"""Plant a backdoor, train it away, measure: the whole idea in one file, without the library's runner.

    python examples/from_scratch.py

Ten small networks learn the digits from data of which a tenth carries a patch and the label 0. Then they are trained
further on clean data, and after every 100 steps we ask how much of the backdoor is left.
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

TARGET = 0


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training and test images (8 x 8, flattened, in [0, 1]) with their labels."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    train, test = order[:1200], order[1200:]
    return x[train], y[train], x[test], y[test]


def stamp(x: Tensor) -> Tensor:
    """The images with the trigger on them: the last two pixels of the last two rows are white."""
    image = x.clone().view(-1, 8, 8)
    image[:, 6:, 6:] = 1.0
    return image.view(-1, 64)


def train(net: nn.Module, x: Tensor, y: Tensor, *, steps: int, lr: float, seed: int) -> None:
    """Minibatch descent on the cross-entropy."""
    optimiser = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(len(x), (64,), generator=draw)
        optimiser.zero_grad()
        F.cross_entropy(net(x[batch]), y[batch]).backward()
        optimiser.step()


def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share classified rightly."""
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()


def lift(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Presence of the backdoor: how much more often the trigger gets its class from images of other classes."""
    others = x[y != TARGET]
    with torch.no_grad():
        with_trigger = (net(stamp(others)).argmax(1) == TARGET).float().mean()
        without = (net(others).argmax(1) == TARGET).float().mean()
    return (with_trigger - without).item()


def main() -> None:
    x, y, x_test, y_test = digits()
    poisoned = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))[: len(x) // 10]
    x_bad, y_bad = x.clone(), y.clone()
    x_bad[poisoned], y_bad[poisoned] = stamp(x[poisoned]), TARGET

    print("lift of the backdoor (clean accuracy) after so many steps of fine-tuning on clean data")
    print("seed      " + "".join(f"{step:>15}" for step in range(0, 600, 100)))
    for seed in range(10):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        train(net, x_bad, y_bad, steps=600, lr=0.1, seed=seed)
        readings = [(lift(net, x_test, y_test), accuracy(net, x_test, y_test))]
        for look in range(5):
            train(net, x, y, steps=100, lr=0.1, seed=1000 * seed + look)
            readings.append((lift(net, x_test, y_test), accuracy(net, x_test, y_test)))
        print(f"{seed:<10}" + "".join(f"{there:>8.2f} ({right:.2f})" for there, right in readings))


if __name__ == "__main__":
    main()
