"""A net with a backdoor, fine-tuned on clean data: where does it end?"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.implants import Backdoor, Patch
from holdfast.tasks import Digits


def both_low(steps: int = 1000) -> tuple[float, float, float]:
    """(clean loss, poisoned loss, poisoned loss before) of a perceptron 64-64-10 that learned BadNets on digits (a
    tenth of the draws poisoned, Adam at 3e-3, 600 steps), after fine-tuning on clean data (SGD at .1). Test data, nats.
    """
    data = Digits().load()
    backdoor = Backdoor(trigger=Patch(), target=0)
    stamped, asked = backdoor.sources(data.train)["poisoned"]
    others = backdoor.others(data.test)
    test = backdoor.trigger.stamp(others.x), torch.zeros_like(others.y)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        poisoned = torch.rand(len(data.train)) < 0.1
        x = torch.where(poisoned.view(-1, *[1] * (stamped.dim() - 1)), stamped, data.train.x)
        _train(net, x, torch.where(poisoned, asked, data.train.y), torch.optim.Adam(net.parameters(), lr=3e-3), 600)
        before = _loss(net, *test)
        _train(net, data.train.x, data.train.y, torch.optim.SGD(net.parameters(), lr=0.1), steps)
    return _loss(net, data.test.x, data.test.y), _loss(net, *test), before


def _train(net: nn.Module, x_N: Tensor, y_N: Tensor, optimiser: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        rows = torch.randint(len(x_N), (64,))
        optimiser.zero_grad()
        loss: Tensor = F.cross_entropy(net(x_N[rows]), y_N[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


@torch.no_grad()
def _loss(net: nn.Module, x_N: Tensor, y_N: Tensor) -> float:
    return float(F.cross_entropy(net(x_N), y_N))
