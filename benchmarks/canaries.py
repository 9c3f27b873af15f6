"""How much change of all weights each default canary bears: why an audit lists them in this order.

    python benchmarks/canaries.py           # a table
    python benchmarks/canaries.py --json    # the last line only

Networks of 64-64-10 learn scikit-learn's digits (400 steps of Adam, 8 seeds); each canary but the learned one is
written into a copy of each. Then all weights and biases are changed, hosts' and canaries' alike, by one of:

- `shrunk`: multiplied by 1 - size, as decay does.
- `noise`: a normal number added, of this standard deviation.
- `pruned`: of each tensor the entries with the smallest absolute values set to 0, this share.
- `rounded`: each tensor to a grid of 2 / size steps from minus its largest absolute value to that.

The figure of a canary is the smallest size tried at which its mean presence over the networks is below one half, with
the mean clean accuracy of the networks there. None: never. The trigger is the canary's own, a perceptron is one
architecture, and training changes weights in other ways as well: this is an order, not a law.
"""

import argparse
import copy
import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from holdfast.engines.base import one_thread
from holdfast.hosts.adopt import Adopted
from holdfast.implants.canaries import Canary
from holdfast.implants.default_canaries import default_canaries
from holdfast.implants.written import WrittenImplant
from holdfast.tasks.own import OwnData
from holdfast.training.nets import Nets

SEEDS, STEPS = 8, 400
SIZES: dict[str, tuple[float, ...]] = {
    "shrunk": (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 0.9),
    "noise": (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5),
    "pruned": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "rounded": (1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2),
}


def data() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Digits: training and held-out examples."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images.reshape(-1, 8, 8) / 16, dtype=torch.float32), torch.tensor(labels)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    x, y = x[order], y[order]
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


def fitted(seed: int) -> nn.Module:
    """A network that has learned them."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    (x, y), _ = data()
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(STEPS):
        rows = torch.randint(len(x), (64,))
        optimiser.zero_grad()
        F.cross_entropy(module(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return module


def shrunk(value: Tensor, size: float) -> Tensor:
    return value * (1 - size)


def noise(value: Tensor, size: float) -> Tensor:
    return value + size * torch.randn_like(value)


def pruned(value: Tensor, size: float) -> Tensor:
    least = value.abs().flatten().sort().values[: round(size * value.numel())]
    return value if not len(least) else torch.where(value.abs() > least[-1], value, 0.0)


def rounded(value: Tensor, size: float) -> Tensor:
    step = value.abs().max() * size
    return (value / step).round() * step if step > 0 else value


CHANGES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "shrunk": shrunk, "noise": noise, "pruned": pruned, "rounded": rounded,
}  # fmt: skip


@dataclass(frozen=True)
class Planted:
    """Networks, all with the same canary in them."""

    canary: Canary
    nets: list[Nets]
    task: OwnData

    def after(self, change: str, size: float) -> tuple[float, float]:
        """Mean presence and mean clean accuracy of changed copies."""
        test = self.task.load().test
        presence, accuracy = [], []
        for seed, nets in enumerate(self.nets):
            torch.manual_seed(seed)
            state = {name: CHANGES[change](value, size) if value.is_floating_point() else value
                     for name, value in nets.state(0).items()}  # fmt: skip
            kept = nets.state(0)
            nets.load(0, state)
            presence.append(float(self.canary.presence(nets, test)["presence"]))
            accuracy.append(float((nets.classes(test.x)[0] == test.y).double().mean()))
            nets.load(0, kept)
        return sum(presence) / len(presence), sum(accuracy) / len(accuracy)


def planted() -> list[Planted]:
    """The default canaries that are written."""
    task = OwnData(make=data)
    modules = [fitted(seed) for seed in range(SEEDS)]
    hosts = [Adopted(make=lambda module=module: copy.deepcopy(module)) for module in modules]  # type: ignore[misc]
    canaries = [c for c in default_canaries(task.load(), hosts[0]) if isinstance(c, WrittenImplant)]
    return [
        Planted(c, [c.write(Nets.of(h, [h.build()], backend="loop"), task.load()) for h in hosts], task)
        for c in canaries
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="only the last line, which is JSON")
    asked = parser.parse_args()
    figures: dict[str, float | None] = {}
    with one_thread():
        for each in planted():
            for change, sizes in SIZES.items():
                found = [(size, *each.after(change, size)) for size in sizes]
                gone = next(((size, accuracy) for size, presence, accuracy in found if presence < 0.5), None)
                figures[f"{each.canary.label}/{change}"] = gone[0] if gone else None
                if not asked.json:
                    at = f"gone at {gone[0]:.4g}, where accuracy is {gone[1]:.3f}" if gone else "never gone"
                    row = " ".join(f"{size:.3g}:{presence:.2f}" for size, presence, _ in found)
                    print(f"{each.canary.label:36}{change:9}{at:48}{row}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
