"""Draw the README's picture from a finished demo: presence of each implant under each pressure.

holdfast demo && python benchmarks/readme_picture.py docs/demo.svg
"""

import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from holdfast import open_run
from holdfast.report.drawing import STYLE
from holdfast.report.figures import presence
from holdfast.report.read import Run


def main() -> None:
    run = Run.of(open_run("demo"))
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "readme"}):  # type: ignore[dict-item]
        figure = Figure(figsize=(10.4, 6.2), layout="constrained")
        panels = figure.subplots(2, 3, sharey=True).flat
        for axes, arm in zip(panels, run.arms, strict=True):
            presence("panel", arm).draw(axes)
            axes.set_title(f"{arm.row['arm']}\n{arm.row['label']}", fontsize=9.5)
            handles, labels = axes.get_legend_handles_labels()
            axes.get_legend().remove()
        figure.legend(handles, labels, loc="outside lower center", ncols=5)
        figure.savefig(Path(sys.argv[1]), metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
