"""Up to which key length do units beside an encrypted program learn to mend it?

    python benchmarks/protection_bypass.py OUT [--minutes M] [--seeds K] [--root R]    # trains
    python benchmarks/protection_bypass.py OUT --draw docs/bypass.svg     # table and picture of what is there

OUT is a folder; `bypass.jsonl` in it gets a line for each seed as soon as its cell is done, and a cell that is there is
not trained again. The sample is `samples/bypass.py`: a table of three bits with 2 wrong entries of 8, one LWE
ciphertext as input (n numbers a, and b; binary secret with n/2 ones, noise 2^-10), and a net beside the frozen program
with two hidden layers of 128 ReLU units. Adam at 2e-3, 3,200 steps, batches of 256, half of them bad. Seeds 0 to 7 of
root 8, a program, a secret and a net each.

- fresh: n = 2, 4, 6, 8, 12, 16, 24, 32, 64; what the net reads is `raw`, `cos/sin`, `periodic`. 27 cells.
- pools: `raw`, n = 8 and 32, M = 1, 64, 1024, 16384 ciphertexts of each message to draw from. 8 cells.
- plain: a = 0, so that b is the message, n = 8, each of the three. Controls. 3 cells.

Printed, of each cell: in how many seeds a look had more than .95 of fresh bad ciphertexts and of wanted ones right
(`solved`), with the exact 95 % interval of that share over seeds (Clopper and Pearson), the median step of these looks,
and means over seeds of p, the share of bad answers mended times that of wanted ones kept, of the best constant shift,
and of pools p on the pool. With 8 seeds an interval is wide: 0 of 8 is compatible with a share of .37, 8 of 8 with .63.

The design is for root 8. It was sized on root 777, where also the start of periodic units was chosen, at n = 12 on 4
seeds. Around 0 none was learnt: with a in [0, 1) in place of a - 1/2, standard deviations .25, .5 and 1, in 4,000
steps; with a - 1/2, .25 and .5, in 1,600. Around 1/2, with a - 1/2, in 1,600 steps: 4 of 4 with .25 (taken), 3 with
.5, 2 with .1; and of n = 16, in 3,200 steps, 1 of 4 with .25 and none with .5.
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
from matplotlib.figure import Figure

from holdfast.engines.base import one_thread
from holdfast.report.drawing import COLOURS, DASHES, FAINT, MARKERS, STYLE
from holdfast.samples import Bypass
from holdfast.stats.intervals import clopper_pearson
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

ROOT, SEEDS, MINUTES, STEPS, TRIED = 8, 8, 40.0, 3200, 40
LENGTHS = (2, 4, 6, 8, 12, 16, 24, 32, 64)
READS = {"raw": "the numbers", "cos/sin": "their cosines and sines", "periodic": "periodic units, which know LWE"}
POOLS, POOLED = (1, 64, 1024, 16384), (8, 32)
Row = dict[str, Any]


class Cell(NamedTuple):
    name: str
    sample: Bypass


def cells() -> list[Cell]:
    """In the order in which they are trained."""
    base = Bypass(steps=STEPS)
    fresh = [Cell("fresh", replace(base, n=n, reads=reads)) for reads in READS for n in LENGTHS]
    pools = [Cell("pool", replace(base, n=n, inputs=m)) for n in POOLED for m in POOLS]
    return [*fresh, *pools, *(Cell("plain", replace(base, reads=reads, protection="plain")) for reads in READS)]


def trained(sample: Bypass, root: int, seeds: int) -> list[dict[str, float]]:
    return [
        dict(one) for one in sample.measure_together([Streams(root, s) for s in range(seeds)], Slot(), lambda _: None)
    ]


def estimate(seeds: int, root: int) -> float:
    """Minutes for all, from a few steps of each kind."""
    seconds = {}
    for reads in READS:
        sample = Bypass(n=16, reads=reads, steps=TRIED)
        trained(replace(sample, steps=1), root, seeds)
        started = [time.perf_counter()]
        for steps in (1, TRIED):
            trained(replace(sample, steps=steps), root, seeds)
            started.append(time.perf_counter())
        each = (started[2] - 2 * started[1] + started[0]) / (TRIED - 1)
        seconds[reads] = started[1] - started[0] + max(each, 0) * STEPS
    return sum(seconds[cell.sample.reads] for cell in cells()) / 60


def key(row: Row) -> tuple[Any, ...]:
    return row["root"], row["cell"], row["reads"], row["n"], row["inputs"]


def train(file: Path, root: int, seeds: int, minutes: float) -> None:
    """Cells that are not there yet; none is begun after so many minutes."""
    done, began = {key(row) for row in read(file)}, time.perf_counter()
    for cell in cells():
        row = {
            "cell": cell.name,
            "reads": cell.sample.reads,
            "n": cell.sample.n,
            "inputs": cell.sample.inputs,
            "root": root,
        }
        if key(row) in done:
            continue
        if time.perf_counter() - began > 60 * minutes:
            print(f"{minutes:g} minutes are over: what is left is trained by the same command.")
            return
        start = time.perf_counter()
        found = trained(cell.sample, root, seeds)
        seconds = round(time.perf_counter() - start, 1)
        with file.open("a", encoding="utf-8") as out:
            for seed, measures in enumerate(found):
                plain = {name: None if math.isnan(value) else value for name, value in measures.items()}
                print(json.dumps(row | {"seed": seed, "seconds": seconds} | plain), file=out)
        print(line([row | one for one in found]), f"({seconds:.0f} s)", flush=True)


def read(file: Path) -> list[Row]:
    if not file.exists():
        return []
    rows = [json.loads(text) for text in file.read_text(encoding="utf-8").splitlines()]
    return [row | {"solved": math.nan if row["solved"] is None else row["solved"]} for row in rows]


def grouped(rows: list[Row]) -> Iterator[list[Row]]:
    for known in dict.fromkeys(map(key, rows)):
        yield [row for row in rows if key(row) == known]


def share(rows: list[Row]) -> tuple[int, float, float]:
    """Seeds that solved it, and the interval of their share."""
    hits = sum(not math.isnan(row["solved"]) for row in rows)
    return hits, *clopper_pearson(hits, len(rows))


def line(rows: list[Row]) -> str:
    first, (hits, low, high) = rows[0], share(rows)
    steps = [row["solved"] for row in rows if not math.isnan(row["solved"])]
    mean = {n: fmean(row[n] for row in rows) for n in ("bad", "wanted", "shift")}
    p = fmean(row["bad"] * row["wanted"] for row in rows)
    said = (
        f"{first['cell']:5} {first['reads']:8} n={first['n']:<2} M={first['inputs']:<5} | "
        f"solved {hits} of {len(rows)} [{low:.2f}, {high:.2f}], median step {median(steps or [math.nan]):4g} | "
        f"bad {mean['bad']:.3f} wanted {mean['wanted']:.3f} p {p:.3f} shift {mean['shift']:.3f}"
    )
    if first["inputs"]:
        said += f" | pool {fmean(row['seen_bad'] for row in rows):.3f} {fmean(row['seen_wanted'] for row in rows):.3f}"
    return said


def draw(rows: list[Row], picture: Path) -> None:
    """Left: share of seeds that solved it, over n. Right: p, against that of the best constant shift."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "bypass"}):  # type: ignore[dict-item]
        figure = Figure(figsize=(10.0, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        fresh = [group for group in grouped(rows) if group[0]["cell"] == "fresh"]
        for at, (reads, title) in enumerate(READS.items()):
            mine = sorted((group for group in fresh if group[0]["reads"] == reads), key=lambda group: group[0]["n"])
            x = [group[0]["n"] * (1 + 0.035 * (at - 1)) for group in mine]  # beside each other, not on each other
            style = {"color": COLOURS[at], "linestyle": DASHES[at], "marker": MARKERS[at], "label": title}
            shares = [share(group) for group in mine]
            y = [hits / len(group) for (hits, _, _), group in zip(shares, mine, strict=True)]
            off = [[v - low for v, (_, low, _) in zip(y, shares, strict=True)],
                   [high - v for v, (_, _, high) in zip(y, shares, strict=True)]]  # fmt: skip
            left.errorbar(x, y, yerr=off, elinewidth=0.9, capsize=2, markersize=5, **style)
            p = [[row["bad"] * row["wanted"] for row in group] for group in mine]
            right.plot(x, [fmean(values) for values in p], markersize=5, **style)
            for at_n, values in zip(x, p, strict=True):
                right.plot([at_n] * len(values), values, ".", color=COLOURS[at], alpha=0.45, markersize=4)
        chance = fmean(row["shift"] for group in fresh for row in group)
        right.axhline(chance, color=FAINT, linewidth=1.2, label="chance: best constant shift, mean")
        left.axhline(0, color=FAINT, linewidth=1.2)
        left.set(title="Programs mended", ylabel="share of seeds, 95 % interval", ylim=(-0.03, 1.03))
        right.set(title="Bad answers mended x wanted ones kept", ylabel="share on fresh ciphertexts")
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xticks(LENGTHS, map(str, LENGTHS))
            axes.set_xlabel("n, length of the key")
            axes.minorticks_off()
        right.tick_params(labelleft=True)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        figure.savefig(picture, metadata={"Date": None, "Creator": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the seeds' measures")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"begin no cell after these ({MINUTES:g})")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"of each cell ({SEEDS})")
    parser.add_argument("--root", type=int, default=ROOT, help=f"of all random streams ({ROOT})")
    parser.add_argument("--draw", type=Path, help="train nothing: print the table, and draw it here")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    file = asked.out / "bypass.jsonl"
    if asked.draw:
        for group in grouped(read(file)):
            print(line(group))
        draw(read(file), asked.draw)
        return
    print(f"{len(cells())} cells of {asked.seeds} seeds: about {estimate(asked.seeds, 777):.0f} minutes", flush=True)
    train(file, asked.root, asked.seeds, asked.minutes)


if __name__ == "__main__":
    with one_thread():
        main()
