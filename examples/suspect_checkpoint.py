"""A checkpoint that somebody hands you: does more training remove the backdoor that is in it?

    python examples/suspect_checkpoint.py          # makes two checkpoints to play with, in plain PyTorch
    holdfast run examples/suspect_checkpoint.py    # judges the suspect one, with the clean one as its reference

For a checkpoint of your own, change the two paths, the widths and the trigger. Without a clean reference leave `clean=`
out: the verdict then says that there was none.
"""

from pathlib import Path

import holdfast

HERE = Path(__file__).parent / "checkpoints"
SUSPECT, CLEAN = HERE / "suspect.safetensors", HERE / "clean.safetensors"
DOOR = holdfast.Backdoor(trigger=holdfast.Patch(size=2), target=0)


@holdfast.recipe
def suspect() -> holdfast.Experiment:
    """Fine-tuning on clean data, by the strongest of ten settings."""
    return holdfast.Experiment(
        host=holdfast.MLP(widths=(64, 64, 10)),
        task=holdfast.Digits(),
        implant=holdfast.Given(DOOR, checkpoint=SUSPECT, clean=CLEAN),
        pressure=holdfast.attackers(steps=600),
        reactivation=holdfast.Fit(holdfast.SGD(lr=0.05, momentum=0.9), holdfast.Poison(rate=0.1), steps=40),
    )


def make() -> None:
    """Train a clean net and a backdoored one, and save both as safetensors."""
    import torch
    import torch.nn.functional as F
    from safetensors.torch import save_file

    data = holdfast.Digits().load()
    poisoned = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(1))[:108]
    HERE.mkdir(exist_ok=True)
    for path in (CLEAN, SUSPECT):
        x, y = data.train.x.clone(), data.train.y.clone()
        if path == SUSPECT:
            x[poisoned], y[poisoned] = DOOR.trigger.stamp(x[poisoned]), DOOR.target
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
        optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
        for _ in range(600):
            batch = torch.randint(len(x), (64,))
            optimiser.zero_grad()
            F.cross_entropy(net(x[batch].flatten(1)), y[batch]).backward()
            optimiser.step()
        save_file(net.state_dict(), path)
        print(path)


if __name__ == "__main__":
    make()
