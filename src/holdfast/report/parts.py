"""The pictures of a claim: each part's effect and interval against the smallest effect that matters, and its curves."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from holdfast.report.drawing import COLOURS, DASHES, FAINT, INK, MARKERS, Drawing

TICKS = 5
"""At most so many, at places that were measured, where they stand at ratios."""
SHADES = {"SUPPORTED": "#009E73", "REFUTED": "#D55E00", "UNDECIDED": "#556270"}


def parts_drawing(i: int, part: Mapping[str, Any]) -> Drawing:
    """One part: its interval, d (or the band within d of a value) as lines, and what is claimed, shaded."""

    def draw(axes: Axes) -> None:
        low, high = part["interval"] or (part["effect"], part["effect"])
        d, about = part["d"], part.get("about")
        edges = [d] if about is None else [about - d, about + d]
        ends = [*edges, low, high]
        margin = 0.25 * (max(ends) - min(ends)) or max(0.1, abs(d) / 2)
        left, right = min(ends) - margin, max(ends) + margin
        side = edges if about is not None else (d, right) if part["says"].startswith(">") else (left, d)
        colour = SHADES[part["verdict"]]
        axes.axvspan(*side, color="#eef2f5", linewidth=0)
        for edge in edges:
            axes.axvline(edge, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        axes.plot([low, high], [0, 0], color=colour, linewidth=5, solid_capstyle="butt")
        axes.plot([part["effect"]], [0], marker="o", color=colour, markersize=9)
        axes.set(xlim=(left, right), ylim=(-1, 1), yticks=[], title=f"{part['name']}: {part['verdict']}")
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(f"claimed {part['says']}; {'no interval' if part['interval'] is None else 'interval'}")
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_color(FAINT)

    said = "" if part["interval"] is None else f", interval {part['interval'][0]:.3g} to {part['interval'][1]:.3g}"
    title = f"{part['name']}: {part['effect']:.3g}{said}, claimed {part['says']}: {part['verdict']}"
    return Drawing(f"part-{i}", title, draw, size=(3.6, 1.7))


def curve_drawing(i: int, curve: Mapping[str, Any]) -> Drawing:
    """Lines of means, with their intervals."""

    def draw(axes: Axes) -> None:
        for which, (label, points) in enumerate(curve["lines"].items()):
            x, mean, low, high = zip(*points, strict=True)
            colour, style = COLOURS[which % len(COLOURS)], which % len(DASHES)
            axes.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
            axes.plot(
                x, mean, color=colour, linestyle=DASHES[style], marker=MARKERS[style], markersize=3.5, linewidth=1.8,
                label=label,
            )  # fmt: skip
        if curve["ratio"]:
            axes.set_xscale("log")
            places = [point[0] for point in next(iter(curve["lines"].values()))]
            axes.set_xticks(places[:: -(-len(places) // TICKS)])
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=curve["x"], ylabel=curve["y"], title=curve["name"])
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, handlelength=2.6)

    told = "; ".join(f"{label}: {points[0][1]:.4g} to {points[-1][1]:.4g}" for label, points in curve["lines"].items())
    return Drawing(f"curve-{i}", f"{curve['name']} by {curve['x']}. {told}.", draw, size=(3.6, 3.4))
