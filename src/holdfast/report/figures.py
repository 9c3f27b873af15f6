"""The figures of a report, panel by panel, so that they can stand side by side or one above the other."""

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import PercentFormatter

from holdfast.report.drawing import COLOURS, DASHES, FAINT, INK, MARKERS, Drawing
from holdfast.report.parts import curve_drawing, parts_drawing
from holdfast.report.read import Arm, Run

LABEL = 34
"""Characters of a label that fit under a panel."""


def drawings(run: Run) -> dict[str, list[Drawing]]:
    """All figures, by the section that shows them."""
    if run.claim is not None:  # of a claim's many arms the parts say what they say together
        known = [part for part in run.claim["parts"] if part["effect"] is not None]
        curves = run.claim.get("curves", [])
        return {
            "parts": [parts_drawing(i, part) for i, part in enumerate(known)],
            "curves": [curve_drawing(i, curve) for i, curve in enumerate(curves)],
        }
    implants = list(run.grouped("implant"))
    pressed = [(i, arm) for i, arm in enumerate(run.arms) if arm.pressed]
    return {
        "survival": [
            survival(f"survival-{i}", pressure, arms, run.told_apart(arms, "implant"), implants)
            for i, (pressure, arms) in enumerate(run.grouped("pressure").items())
            if any(arm.row["curve"] for arm in arms)
        ],
        "presence": [presence(f"presence-{i}", arm) for i, arm in pressed],
        "gradient": [gradient(f"gradient-{i}", arm) for i, arm in pressed if arm.band("gradient_share")],
        "spare": [spare(f"spare-{i}", arm) for i, arm in pressed if arm.band("rank_implant")],
        "frontier": [
            frontier(f"frontier-{i}", implant, [arm for arm in arms if arm.row["grid"]])
            for i, (implant, arms) in enumerate(run.grouped("implant").items())
            if any(arm.row["grid"] for arm in arms)
        ],
    }


def survival(name: str, pressure: str, arms: Sequence[Arm], labels: Sequence[str], implants: Sequence[str]) -> Drawing:
    """Share of nets whose implant is not gone, with its band, one line an implant; ticks at the looks."""

    def draw(axes: Axes) -> None:
        alike = len(set(labels) - set(implants)) > 0
        for i, (arm, label) in enumerate(zip(arms, labels, strict=True)):
            # An implant keeps its colour from panel to panel; arms that share one are told apart by their places.
            curve, which = arm.row["curve"], (i if alike else implants.index(label)) % len(COLOURS)
            if curve is None:
                continue
            # A curve whose last nets were lost ends there: what follows is not known.
            followed = curve["survival"][-1] == 0 or any(o["end"] >= arm.row["budget"] for o in arm.outcomes)
            more = [arm.row["budget"]] if followed else []
            steps = [*curve["steps"], *more]
            line, low, high = ([*curve[k], *curve[k][-1:] * len(more)] for k in ("survival", "low", "high"))
            axes.fill_between(steps, low, high, step="post", color=COLOURS[which], alpha=0.16, linewidth=0)
            axes.step(
                steps, line, where="post", color=COLOURS[which], linestyle=DASHES[which], linewidth=2,
                label=f"{shorten(label, LABEL, placeholder='…')} ({arm.row['seeds']} seeds)",
            )  # fmt: skip
            _lost(axes, arm, COLOURS[which])
        _steps(axes, arms[0].row["budget"], [s for s in arms[0].row["looks"] if s <= arms[0].row["budget"]])
        axes.set(ylim=(-0.03, 1.05), ylabel="not yet gone", title=shorten(pressure, LABEL, placeholder="…"))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        columns = 2 if max(map(len, labels)) < LABEL // 2 else 1
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns, handlelength=2.6)

    told = "; ".join(
        f"{a.row['implant']}: {a.row['label']}, half-life {a.row.get('half_life', 'unknown')}" for a in arms
    )
    return Drawing(name, f"Survival under {pressure}. {told}.", draw)


def _lost(axes: Axes, arm: Arm, colour: str) -> None:
    """A cross where a net was wrecked or diverged."""
    curve = arm.row["curve"]
    for outcome in arm.outcomes:
        if outcome["kind"] in ("wrecked", "diverged") and outcome["event"] is None:
            passed = [s for t, s in zip(curve["steps"], curve["survival"], strict=True) if t <= outcome["end"]]
            axes.plot(outcome["end"], passed[-1], "x", color=colour, markersize=6, markeredgewidth=1.6)


def presence(name: str, arm: Arm) -> Drawing:
    """Presence of every net, its median, clean accuracy, and the never-planted controls."""

    def draw(axes: Axes) -> None:
        control = arm.band("presence", controls=True)
        if control:
            axes.fill_between(control.steps, control.low, control.high, color=FAINT, alpha=0.35, linewidth=0)
            axes.plot(control.steps, control.middle, color=FAINT, linewidth=1.2, label="controls, range")
        lines = [list(zip(net["step"], net["presence"], strict=True)) for net in arm.planted]
        axes.add_collection(LineCollection(lines, colors=COLOURS[1], linewidths=0.7, alpha=0.28))
        for measure, colour, dash, label in (
            ("presence", COLOURS[1], "-", "presence"),
            ("accuracy", COLOURS[0], DASHES[1], "clean accuracy"),
            ("r_acc", COLOURS[2], DASHES[2], "accuracy with trigger"),
        ):
            band = arm.band(measure)
            if band:
                axes.plot(band.steps, band.middle, color=colour, linestyle=dash, linewidth=2, label=label)
        if arm.threshold is not None:
            axes.axhline(arm.threshold, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label="gone below")
        _steps(axes, arm.row["looks"][-1], arm.row["looks"])
        axes.set(
            ylim=(min(-0.05, *(axes.get_ylim())), 1.05), title=shorten(str(arm.row["arm"]), LABEL, placeholder="…")
        )
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, handlelength=2.6)

    return Drawing(
        name, f"Presence and clean accuracy over steps, {arm.row['arm']}: {arm.row['label']}.", draw, (3.6, 3.6)
    )


def gradient(name: str, arm: Arm) -> Drawing:
    """Shares of gradient and update on the implant's weights, beside the share of weights it holds."""

    def draw(axes: Axes) -> None:
        for measure, which, label in (
            ("gradient_share", 1, "of the gradient"),
            ("update_share", 0, "of the update"),
            ("gradient_zero", 3, "implant's weights with gradient exactly 0"),
        ):
            _band(axes, arm, measure, which, label)
        share = arm.at("weight_share", 0)
        if share is not None:
            axes.axhline(share, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label="of all weights (even pull)")
        _steps(axes, arm.row["looks"][-1], arm.row["looks"])
        axes.set_yscale("symlog", linthresh=1e-4, linscale=0.4)
        axes.set(
            ylim=(-4e-5, 1.6),
            yticks=[0, 1e-4, 1e-3, 1e-2, 0.1, 1],
            title=shorten(str(arm.row["arm"]), LABEL, placeholder="…"),
        )
        axes.set_yticklabels(["0", "0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
        axes.minorticks_off()
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1, handlelength=2.6)

    return Drawing(name, f"Share of gradient and update that falls on the implant, {arm.row['arm']}.", draw, (3.6, 3.9))


def spare(name: str, arm: Arm) -> Drawing:
    """Where the implant's weights stand by size, over steps; how many of them and of the host's would be kept."""

    def draw(axes: Axes) -> None:
        for measure, which, label in (
            ("rank_implant", 3, "implant, mean place by size"),
            ("ticket_implant", 1, "implant, share kept"),
            ("ticket_host", 0, "host, share kept"),
            ("spare_units", 2, "units that could go"),
        ):
            _band(axes, arm, measure, which, label)
        axes.axhline(0.5, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label="place of weights drawn at random")
        _steps(axes, arm.row["looks"][-1], arm.row["looks"])
        axes.set(ylim=(-0.03, 1.05), title=shorten(str(arm.row["arm"]), LABEL, placeholder="…"))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1, handlelength=2.6)

    return Drawing(name, f"What pruning by size would take first, {arm.row['arm']}.", draw, (3.6, 4.1))


def _band(axes: Axes, arm: Arm, measure: str, which: int, label: str) -> None:
    """A measure's median over steps and its range, in the colour and dash of this number; nothing if no net has it."""
    band = arm.band(measure)
    if band:
        axes.fill_between(band.steps, band.low, band.high, color=COLOURS[which], alpha=0.14, linewidth=0)
        axes.plot(band.steps, band.middle, color=COLOURS[which], linestyle=DASHES[which], linewidth=2, label=label)


def frontier(name: str, implant: str, arms: Sequence[Arm]) -> Drawing:
    """Presence left against clean accuracy lost, one marker a setting of the grid; hollow where it wrecks."""

    def draw(axes: Axes) -> None:
        for i, arm in enumerate(arms):
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            rows = [row for row in arm.row["grid"] if row["presence"] is not None]
            for row in rows:
                usable = _usable(row)
                x, y = max(-2.0, min(100 * row["accuracy_lost"], 12.0)), row["presence"]
                axes.plot(
                    x, y, marker, color=colour, markersize=7, markerfacecolor=colour if usable else "white", alpha=0.9
                )
                if row["chosen"]:
                    axes.plot(x, y, "o", color=INK, markersize=14, markerfacecolor="none", markeredgewidth=1.2)
            axes.plot(
                [],
                [],
                marker,
                color=colour,
                linestyle="none",
                label=shorten(str(arm.row["pressure"]), LABEL, placeholder="…"),
            )
        axes.plot(
            [], [], "o", color=INK, markersize=11, markerfacecolor="none", linestyle="none", label="strongest usable"
        )
        axes.axvline(0, color=FAINT, linewidth=0.9)
        axes.set(
            xlim=(-2.6, 12.6),
            ylim=(-0.08, 1.08),
            ylabel="presence left",
            title=shorten(implant, LABEL, placeholder="…"),
        )
        axes.set_xlabel("points of clean accuracy lost (12: or more)")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1)

    return Drawing(
        name, f"Presence left against clean accuracy lost, over the grid of settings, {implant}.", draw, (3.6, 3.9)
    )


def _usable(row: dict[str, Any]) -> bool:
    """Whether a setting wrecks or diverges in at most 1 in 8 of its tuning seeds."""
    return bool(8 * (row["wrecked"] + row["diverged"]) <= row["seeds"])


def cheapest(arms: Sequence[Arm]) -> tuple[dict[str, Any] | None, int]:
    """The setting that costs least clean accuracy of those that removed an implant in over half of their tuning seeds,
    and the number of settings tried."""
    rows = [row for arm in arms for row in arm.row["grid"]]
    removing = [row for row in rows if 2 * row["removed"] > row["seeds"] and row["accuracy_lost"] is not None]
    return min(removing, key=lambda row: row["accuracy_lost"], default=None), len(rows)


def _steps(axes: Axes, last: int, looks: Sequence[int]) -> None:
    """The axis of steps, with a tick at every look."""
    axes.set_xlim(0, last)
    axes.set_xticks(list(looks), minor=True)
    axes.tick_params(axis="x", which="minor", length=3, color=FAINT)
    axes.set_xlabel("optimiser steps")
