"""The picture of a claim: each part's effect and interval against the smallest effect that matters."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from holdfast.report.drawing import FAINT, INK, Drawing

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
        axes.set_xlabel(f"claimed {part['says']}; {'no interval' if part['interval'] is None else 'interval'}")
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_color(FAINT)

    said = "" if part["interval"] is None else f", interval {part['interval'][0]:.3g} to {part['interval'][1]:.3g}"
    title = f"{part['name']}: {part['effect']:.3g}{said}, claimed {part['says']}: {part['verdict']}"
    return Drawing(f"part-{i}", title, draw, size=(3.6, 1.7))
