"""How fast tickets are found: an epoch against open_lth as it is found, a mask against a sort, and 15 long trainings.

    python benchmarks/tickets.py                                        # a table
    python benchmarks/tickets.py --json                                 # the last line only
    python benchmarks/tickets.py --open-lth DIR --python DIR/bin/python # with the peer, in an environment of its own

Everything runs on one thread, but for the 15 trainings, which take two processes. Ours is the production path: `Fit`
with `Masked`, its draws, and the data as tensors in memory.

- `epoch_k1_vs_open_lth`: CPU seconds of an epoch of LeNet-300-100 with SGD at .1 (60,000 images of Fashion-MNIST in
  batches of 128, then accuracy and loss on 10,000 test images), open_lth over ours with one net.
- `epoch_k4_vs_open_lth`: the same, a net, with four nets in one batch; open_lth trains one at a time.
- `mask_vs_sort`: seconds to select the largest fifth of 235,200 scores by a sort (`torch.sort`, then a scatter), over
  those of `largest`.
- `imp_15_runs_minutes`: 15 trainings of 50,000 steps (LeNet-300-100, Adam, batches of 60, masks held, a look at 2,000
  validation images every 200 steps) on two cores, from the rate of two processes that train 8 and 7 of them at once.

The peer (facebookresearch/open_lth, commit of May 2020) is run as it is found, by its own command, `lottery
--default_hparams=mnist_lenet_300_100 --levels=0`, on the same images in MNIST's format; an epoch is the difference of
two epochs and one, the smaller of two tries. DIR is a checkout; a copy of it gets the two lines that today's PyTorch
and NumPy need (the order of a class's bases, `np.prod`). PYTHON is an interpreter with torch and torchvision; where
torchvision comes without its compiled part, the names of its operators are declared, since none is called. Without
--open-lth its figures are left out.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from holdfast import LENET_300_100, SGD, Adam, FashionMNIST, Fit
from holdfast.engines.base import one_thread
from holdfast.pressures.masked import Masked
from holdfast.pruning import Masks, largest
from holdfast.tasks import Data, Split
from holdfast.tasks.fashion_mnist_files import place
from holdfast.training.evaluate import evaluate
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

BATCH, IMAGES, TRIES = 128, 60_000, 3
RUNS, STEPS, SAMPLED = 15, 50_000, 400

PEER = """
import re, runpy, sys, time
from importlib.util import find_spec
from pathlib import Path
import torch
torch.set_num_threads(1)
text = (Path(find_spec("torchvision").origin).parent / "_meta_registrations.py").read_text()
names = {*re.findall(r'register_fake\\("torchvision::(\\w+)"', text), *re.findall(r'register_meta\\("(\\w+)"', text)}
library = torch.library.Library("torchvision", "FRAGMENT")
for name in names:
    if not hasattr(torch.ops.torchvision, name):
        library.define(name + "(Tensor x) -> Tensor")
epochs, folder = sys.argv[1:]
sys.path.insert(0, folder)
sys.argv = ["open_lth.py", "lottery", "--default_hparams=mnist_lenet_300_100", "--levels=0",
            f"--training_steps={epochs}ep"]
began = time.process_time()
runpy.run_path(folder + "/open_lth.py", run_name="__main__")
print("CPU", time.process_time() - began)
"""


def images() -> Data:
    """Fashion-MNIST as the peer has it: all 60,000 training images."""
    data = FashionMNIST().load()
    every = Split(torch.cat([data.train.x, data.validation.x]), torch.cat([data.train.y, data.validation.y]))
    assert len(every) == IMAGES
    return Data(every, data.test, data.test, data.classes)


def trained(k: int, data: Data, fit: Fit, looks: list[int], after: Callable[[Nets], object], seed: int = 0) -> float:
    """CPU seconds of a training of k nets with masks, and of what follows each look."""
    streams = tuple(Streams(seed, number) for number in range(k))
    nets = Nets.initialised(LENET_300_100, streams)
    fit = fit.with_terms(Masked(Masks.full(nets)))
    site = Site(host=LENET_300_100, data=data, streams=streams)
    began = time.process_time()
    for point in Fit.press([fit] * k, site, nets, looks):
        after(point.nets)
    return time.process_time() - began


def epoch(k: int, data: Data) -> float:
    """CPU seconds of an epoch and a pass over the test images, a net."""
    steps = IMAGES // BATCH
    fit = Fit(SGD(lr=0.1), steps=steps, batch=BATCH)
    return min(trained(k, data, fit, [steps], lambda nets: evaluate(nets, data.test)) for _ in range(TRIES)) / k


def peer(folder: Path, python: str) -> float:
    """CPU seconds of open_lth's epoch."""
    with tempfile.TemporaryDirectory() as home:
        copied = Path(home, "open_lth")
        shutil.copytree(folder, copied)
        for name, old, new in (
            ("models/base.py", "abc.ABC, torch.nn.Module", "torch.nn.Module, abc.ABC"),
            ("training/optimizers.py", "np.product", "np.prod"),
        ):
            text = (copied / name).read_text()
            (copied / name).write_text(text.replace(old, new))
        raw = Path(home, "open_lth_datasets", "mnist", "MNIST", "raw")
        raw.mkdir(parents=True)
        for file in place(None).iterdir():
            if file.name.endswith("-ubyte.gz"):
                shutil.copy(file, raw)
                subprocess.run(["gunzip", "-f", raw / file.name], check=True)
        times: dict[int, float] = {}
        for epochs in (1, 2, 1, 2):
            shutil.rmtree(Path(home, "open_lth_data"), ignore_errors=True)
            done = subprocess.run(
                [python, "-c", PEER, str(epochs), str(copied)],
                env={**os.environ, "HOME": home}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            found = re.search(r"^CPU (\S+)$", done.stdout, re.MULTILINE)
            if done.returncode or not found:
                sys.exit(f"open_lth failed:\n{done.stdout[-500:]}\n{done.stderr[-1500:]}")
            times[epochs] = min(float(found[1]), times.get(epochs, float("inf")))
    return times[2] - times[1]


def fastest(act: Callable[[], object], tries: int = 30) -> float:
    """Seconds of the fastest of some tries."""
    taken = []
    for _ in range(tries):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return min(taken)


def mask_vs_sort() -> float:
    """A mask of 235,200 scores by a sort, over ours."""
    scores_KP = torch.randn(1, 235_200, generator=torch.Generator().manual_seed(0))

    def by_sort() -> torch.Tensor:
        order_KP = scores_KP.sort(1, descending=True).indices[:, : scores_KP.shape[1] // 5]
        return torch.zeros_like(scores_KP, dtype=torch.bool).scatter_(1, order_KP, True)

    assert torch.equal(by_sort(), largest({"a": scores_KP}, 0.2)["a"])
    return fastest(by_sort) / fastest(lambda: largest({"a": scores_KP}, 0.2))


def share(k: int) -> float:
    """Wall seconds of so many nets' first steps, looks among them, in a process of its own."""
    data = FashionMNIST().load()
    few = Split(data.validation.x[:2000], data.validation.y[:2000])
    with one_thread():
        trained(k, data, Fit(Adam(lr=1.2e-3), steps=20, batch=60), [20], lambda _: None)  # so that all is loaded
        began = time.perf_counter()
        fit = Fit(Adam(lr=1.2e-3), steps=SAMPLED, batch=60)
        trained(k, data, fit, list(range(200, SAMPLED + 1, 200)), lambda nets: evaluate(nets, few))
        return time.perf_counter() - began


def fifteen() -> float:
    """Minutes of 15 trainings on two cores."""
    with ProcessPoolExecutor(2) as pool:
        longest = max(pool.map(share, (RUNS // 2 + 1, RUNS // 2)))
    return longest * STEPS / SAMPLED / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    parser.add_argument("--open-lth", type=Path, help="a checkout of open_lth")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch and torchvision")
    asked = parser.parse_args()
    figures: dict[str, float] = {}
    with one_thread():
        data = images()
        one, four = epoch(1, data), epoch(4, data)
        if asked.open_lth:
            theirs = peer(asked.open_lth, asked.python)
            figures |= {"epoch_k1_vs_open_lth": theirs / one, "epoch_k4_vs_open_lth": theirs / four}
        if not asked.json:
            said = f", open_lth {theirs:.2f} s" if asked.open_lth else " (no --open-lth: its figures are left out)"
            print(f"epoch: {one:.2f} s, four at once {four:.2f} s a net{said}")
        figures["mask_vs_sort"] = mask_vs_sort()
    figures["imp_15_runs_minutes"] = fifteen()
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
