"""Draw how the accuracy of a weak predictor falls when its weights are changed, under each protection.

    python benchmarks/collapse_curves.py docs/collapse.svg [--json]

The predictor of the claim `any-algorithm` as a whole perceptron on binary digits, under each protection and in clipped
units; changes of its weights and biases inside along a random direction, minus the gradient of its loss, and one
weight, in noise margins (`probes/collapse.py`). Lines are means over 20 seeds of root 1, which no claim judges; bands
hold the middle half of them.

- `random`, `gradient`, `single`: for each protection the size, of those tried, at which half of the advantage over
  chance is gone in the mean; null where none is.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from holdfast import SGD, Fit, Predictor
from holdfast.claims.weak_vote import TASK, protected
from holdfast.probes.base import Look
from holdfast.probes.collapse import SIZES, collapse_curve, directions
from holdfast.report.drawing import COLOURS, DASHES, STYLE
from holdfast.training.site import Site
from holdfast.training.streams import Streams

SEEDS, WAY_ROUND = 20, 24
TITLES = {"random": "random direction", "gradient": "minus the gradient", "single": "one weight"}
Curves = dict[str, NDArray[np.float64]]


def programs() -> dict[str, Predictor]:
    return {**protected(), "clipped": replace(protected()["restoring"], clipped=True)}


def curves(program: Predictor) -> Curves:
    """By kind, accuracy_SK; NaN where no direction is."""
    data, streams = TASK.load(), tuple(Streams(1, seed) for seed in range(SEEDS))
    host = program.host(TASK.inputs, WAY_ROUND)
    site = Site(host=host, data=data, streams=streams, implant=program)
    nets, fit = program.plant(site), Fit(SGD(lr=1e-3), steps=1)
    point = next(iter(Fit.press([fit] * SEEDS, site.at("pressure"), nets, (0, 1))))
    masks = {"": program.weights(nets, data.test)}
    look = Look(checkpoint=point, start=nets, implant=program, split=data.test, train=data.train, masks=masks)
    return {kind: collapse_curve(program, nets, way, data.test).numpy() for kind, way in directions(look).items()}


def draw(axes: Axes, kind: str, found: Mapping[str, Curves], chance: float) -> None:
    for at, (name, by_kind) in enumerate(found.items()):
        accuracy_SK = by_kind[kind][:, ~np.isnan(by_kind[kind][0])]
        if not accuracy_SK.size:
            continue
        colour = COLOURS[at % len(COLOURS)]
        low, high = np.quantile(accuracy_SK, (0.25, 0.75), axis=1)
        axes.fill_between(SIZES, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.plot(SIZES, accuracy_SK.mean(1), color=colour, linestyle=DASHES[at % len(DASHES)], label=name)
    axes.axhline(chance, color="#7a8794", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.set_xticks([2.0**i for i in range(-8, 7, 2)], ["1/256", "1/64", "1/16", "1/4", "1", "4", "16", "64"])
    axes.set_title(TITLES[kind])
    axes.set_xlabel("change, in noise margins")


def half_gone(accuracy_SK: NDArray[np.float64], chance: float, whole: float) -> float | None:
    kept = accuracy_SK[:, ~np.isnan(accuracy_SK[0])]
    if not kept.size:
        return None
    gone = np.flatnonzero(kept.mean(1) - chance < (whole - chance) / 2)
    return SIZES[gone[0]] if len(gone) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="where the SVG goes")
    parser.add_argument("--json", action="store_true", help="print the last line only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    test, vote = TASK.load().test, programs()["none"]
    y_N = test.y
    whole = float((vote.answers(test) == y_N).double().mean())
    chance = float(y_N.bincount().max()) / len(y_N)
    found = {}
    for name, program in programs().items():
        if not arguments.json:
            print(f"{name}: {sum(program.units)} units in {len(program.units)} hidden layers")
        found[name] = curves(program)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "collapse"}):  # type: ignore[dict-item]
        figure = Figure(figsize=(10.4, 3.6), layout="constrained")
        panels = figure.subplots(1, 3, sharey=True)
        for axes, kind in zip(panels, TITLES, strict=True):
            draw(axes, kind, found, chance)
        panels[0].set_ylabel("accuracy on test inputs")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.savefig(arguments.picture, metadata={"Date": None, "Creator": None})
    figures = {kind: {name: half_gone(c[kind], chance, whole) for name, c in found.items()} for kind in TITLES}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
