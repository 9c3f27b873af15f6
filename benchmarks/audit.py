"""What an audit costs beside the trainings that it runs.

    python benchmarks/audit.py           # a table
    python benchmarks/audit.py --json    # the last line only

A small CNN (two convolutions, 24,000 weights) learns scikit-learn's digits for 1,500 steps of 64 with Adam, as a plain
loop. The baseline is that training by itself, on the same model with the same canaries' units in it, on one thread. The
audit runs the same trainings in this process, on one thread, with looks at 20 steps; its planting (warm-up, learned
canary) is left out, all else is in: copies, looks, writing, judging.

- `overhead`: (seconds of the audit without planting - trainings x seconds of one by itself) / (trainings x seconds of
  one by itself). Trainings by themselves are run before and after, and their mean is taken.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import nn

import holdfast
from holdfast.engines import Here
from holdfast.engines.base import one_thread
from holdfast.run import run
from holdfast.sessions import Silent, folder_of
from holdfast.store.environment import environment
from holdfast.study import Study
from holdfast.training.randomness import seeded

STEPS, SEEDS = 1500, 2


def build() -> nn.Module:
    """The model before training."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 36), nn.ReLU(), nn.Linear(36, 10),
    )  # fmt: skip


def train(model: nn.Module, seed: int) -> None:
    """A plain loop."""
    (x, y), _ = data()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(STEPS):
        batch = torch.randint(len(x), (64,))
        optimiser.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()


def data() -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Digits: training and held-out examples."""
    digits = holdfast.Digits().load()
    held = [torch.cat([getattr(s, k) for s in (digits.validation, digits.test)]) for k in ("x", "y")]
    return (digits.train.x, digits.train.y), (held[0], held[1])


def by_itself(count: int) -> float:
    """Mean seconds of a training, on models with the canaries' units."""
    took = []
    for seed in range(count):
        with one_thread(), seeded(seed):
            model = holdfast.plant(build(), holdfast.Beside(trigger=holdfast.Patch(row=0, column=0)), data)
            began = time.perf_counter()
            train(model, seed)
            took.append(time.perf_counter() - began)
    return fmean(took)


def audited(study: Study) -> tuple[float, int]:
    """Seconds of the audit without planting, and its trainings."""
    with tempfile.TemporaryDirectory() as out:
        folder, record = folder_of(study, Path(out))
        with folder.writing():
            folder.begin(record, environment())
            began = time.perf_counter()
            run(study, folder, Here(), Silent())
            total = time.perf_counter() - began
        rows = [json.loads(line) for line in (folder.path / "times.jsonl").read_text().splitlines()]
    planting = sum(row["work_s"] for row in rows if row["stage"] == "planting")
    return total - planting, sum(row["stage"] == "pressing" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    print("about 90 s on one core", file=sys.stderr)
    study = holdfast.Audit(build, train, data, seeds=SEEDS).study()
    before = by_itself(2)
    seconds, trainings = audited(study)
    alone = (before + by_itself(2)) / 2
    overhead = (seconds - trainings * alone) / (trainings * alone)
    if not options.json:
        print(f"one training by itself {alone:.2f} s; {trainings} in an audit {seconds:.2f} s, planting left out")
    print(json.dumps({"overhead": round(overhead, 3)}))


if __name__ == "__main__":
    main()
