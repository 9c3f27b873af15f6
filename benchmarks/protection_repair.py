"""Which trainers mend an encrypted program by moving its own weights, and what does the loss tell them?

    python benchmarks/protection_repair.py OUT [--minutes M] [--seeds K] [--root R]    # trains
    python benchmarks/protection_repair.py OUT --draw docs/repair.svg     # tables and picture of what is there

OUT is a folder; `repair.jsonl` in it gets a line for each seed as soon as its cell is done, and a cell that is there is
not trained again. The sample is `samples/repair.py`: set `tiny` (n = 8, N = 64) unless said, 200 steps of Adam, batches
of 32, half of them bad. Seeds 0 to 7 of root 8, a program and a key each.

- Map 2, trainers x programs. Programs: `own`, the bad input has a table's entry to itself; `shared`, it shares the
  entry of the last table, or of the last two; `every`, wanted inputs use every entry that bad ones use. Trainers: see
  `TRAINERS`. What all weights are trained by is said so; else it is the tables.
- Map 3, what the loss leaks: loss through decryption or of ciphertexts, sets `tiny` and `small` (n = 32, N = 128), one
  table. What is told of the small key by which columns of one gradient by the switching keys are 0 (1: all, 0:
  nothing); and what a trainer does with the key that it reads off.
- Search, over n: zeroth order on one table in `tiny` and in `small`.

Printed, of each cell: mean score (p - s) / (1 - s) with its 95 % interval (BCa over seeds), means of the shares of bad
answers repaired and of wanted ones kept, and in how many seeds a look had p above .9, with the median step of these.

The design is for root 8. It was sized on root 777.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from holdfast.claims.measured import band
from holdfast.engines.base import one_thread
from holdfast.pressures import KeyAware, RandomDirection, StraightThrough, ZerothOrder
from holdfast.report.drawing import STYLE
from holdfast.samples import Repair
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

ROOT, SEEDS, MINUTES, STEPS, TRIED = 8, 8, 50.0, 200, 4
SLOW = Repair(steps=STEPS, lr=0.001)
FAST = replace(SLOW, lr=0.003)
PROGRAMS: dict[str, dict[str, Any]] = {
    "own": {},
    "shared, 1 level after": {"sharing": "shared", "after": 1},
    "shared, 2 levels after": {"sharing": "shared", "after": 2},
    "every": {"sharing": "every", "after": 2},
}
TRAINERS = {
    "plain": replace(SLOW, protection="plain", trainer=StraightThrough()),
    "with the key": replace(SLOW, trainer=KeyAware()),
    "zeroth order": replace(FAST, trainer=ZerothOrder(at="bodies")),
    "trivial keys, raw": replace(SLOW, protection="trivial", trainer=StraightThrough()),
    "exact": FAST,
    "exact, all weights": replace(SLOW, trained="all"),
    "raw": replace(FAST, trainer=StraightThrough()),
    "damped": replace(FAST, trainer=StraightThrough(damping=2.0**-10)),
    "normalised": replace(FAST, trainer=StraightThrough(normalised=True)),
    "random direction": replace(FAST, trainer=RandomDirection()),
}
Row = dict[str, Any]


class Cell(NamedTuple):
    map: str
    row: str
    column: str
    sample: Repair


def cells() -> list[Cell]:
    """In the order in which they are trained."""
    found = [
        Cell("repair", name, column, replace(trainer, **program))
        for column, program in PROGRAMS.items()
        for name, trainer in TRAINERS.items()
    ]
    for name in ("tiny", "small"):
        base = replace(SLOW, parameter_set=name, trainer=KeyAware(), steps=100)
        found += [
            Cell("leak", f"{loss} loss, key {key}", name, replace(base, loss=loss, key=key))  # type: ignore[arg-type]
            for loss in ("client", "ciphertext")
            for key in ("read", "given")
        ]
    return [*found, Cell("search", "zeroth order", "small", replace(TRAINERS["zeroth order"], parameter_set="small"))]


def trained(sample: Repair, root: int, seeds: int) -> list[dict[str, float]]:
    each = [Streams(root, seed) for seed in range(seeds)]
    return [dict(one) for one in sample.measure_together(each, Slot(), lambda _: None)]


def estimate(seeds: int) -> float:
    """Minutes for all, from a few steps of each cell."""
    total = 0.0
    for cell in cells():
        taken = []
        for steps in (1, TRIED):
            start = time.perf_counter()
            trained(replace(cell.sample, steps=steps), 777, seeds)
            taken.append(time.perf_counter() - start)
        total += taken[0] + (taken[1] - taken[0]) / (TRIED - 1) * cell.sample.steps
    return total / 60


def train(file: Path, root: int, seeds: int, minutes: float) -> None:
    """Cells that are not there yet; none is begun after so many minutes."""
    done, began = {(r["root"], r["map"], r["row"], r["column"]) for r in read(file)}, time.perf_counter()
    for cell in cells():
        row = {"root": root, "map": cell.map, "row": cell.row, "column": cell.column}
        if tuple(row.values()) in done:
            continue
        if time.perf_counter() - began > 60 * minutes:
            print(f"{minutes:g} minutes are over: what is left is trained by the same command.")
            return
        found = trained(cell.sample, root, seeds)
        with file.open("a", encoding="utf-8") as out:
            for seed, measures in enumerate(found):
                plain = {name: None if math.isnan(value) else value for name, value in measures.items()}
                print(json.dumps(row | {"seed": seed} | plain), file=out)
        print(line([row | one for one in found]), flush=True)


def read(file: Path) -> list[Row]:
    if not file.exists():
        return []
    rows = [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()]
    return [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]


def grouped(rows: list[Row]) -> Iterator[list[Row]]:
    known = dict.fromkeys((row["map"], row["row"], row["column"]) for row in rows)
    for key in known:
        yield [row for row in rows if (row["map"], row["row"], row["column"]) == key]


def line(rows: list[Row]) -> str:
    first = rows[0]
    mean, low, high = band(np.array([row["score"] for row in rows]))
    each = {name: fmean(row[name] for row in rows) for name in ("bad", "wanted", "shift", "leaked")}
    steps = [row["solved"] for row in rows if not math.isnan(row["solved"])]
    return (
        f"{first['map']:6} {first['row']:26} {first['column']:22} | score {mean:5.2f} [{low:5.2f}, {high:5.2f}] | bad "
        f"{each['bad']:.2f} wanted {each['wanted']:.2f} shift {each['shift']:.2f} | p > .9 in {len(steps)} of "
        f"{len(rows)}, median step {median(steps or [math.nan]):3g} | leaked {each['leaked']:.3f}"
    )


def draw(rows: list[Row], picture: Path) -> None:
    """Mean score of each trainer on each program, with its interval."""
    found = {(g[0]["row"], g[0]["column"]): g for g in grouped(rows) if g[0]["map"] == "repair"}
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "repair"}):  # type: ignore[dict-item]
        figure = Figure(figsize=(8.6, 4.8), layout="constrained")
        axes = figure.subplots()
        scores = {key: band(np.array([row["score"] for row in group])) for key, group in found.items()}
        means = np.array([[scores[name, column][0] for column in PROGRAMS] for name in TRAINERS])
        image = axes.imshow(means, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
        for i, name in enumerate(TRAINERS):
            for j, column in enumerate(PROGRAMS):
                mean, low, high = scores[name, column]
                dark = abs(mean) > 0.65
                axes.text(
                    j, i, f"{mean:.2f}", ha="center", va="bottom", color="white" if dark else "black", fontsize=10
                )
                said = f"{low:.2f} to {high:.2f}"
                axes.text(j, i, said, ha="center", va="top", color="white" if dark else "black", fontsize=7)
        axes.set_xticks(range(len(PROGRAMS)), list(PROGRAMS))
        axes.set_yticks(range(len(TRAINERS)), list(TRAINERS))
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.set_xlabel("entries that the bad input shares with wanted ones")
        figure.colorbar(image, ax=axes, label="score: 1 repaired, 0 as the best constant shift")
        figure.savefig(picture, metadata={"Date": None, "Creator": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the seeds' measures")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"begin no cell after these ({MINUTES:g})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"of each cell ({SEEDS})")
    parser.add_argument("--root", type=int, default=ROOT, help=f"of all random streams ({ROOT})")
    parser.add_argument("--draw", type=Path, help="train nothing: print the tables, and draw map 2 here")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out / "repair.jsonl"
    if asked.draw:
        for group in grouped(read(file)):
            print(line(group))
        draw(read(file), asked.draw)
        return
    print(f"{len(cells())} cells of {asked.seeds} seeds: about {estimate(asked.seeds):.0f} minutes", flush=True)
    train(file, asked.root, asked.seeds, asked.minutes)


if __name__ == "__main__":
    with one_thread():
        main()
