"""A figure on its way to the page: one style, one file each as SVG and PDF, and an SVG that can stand beside others."""

import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito: told apart with any colour vision. Dashes and markers differ with them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.3, 1.5)), (0, (9, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, FAINT = "#1d2733", "#7a8794"

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6eaee",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Drawing:
    """One figure of the report."""

    name: str
    """File name without ending; also the prefix of its ids on the page."""
    title: str
    """What it shows, for people who can't see it."""
    draw: Callable[[Axes], None]
    size: tuple[float, float] = (3.6, 2.8)
    """Inches. The page shows it at up to 96 pixels an inch, so text stays legible on a phone."""

    def save(self, folder: Path) -> str:
        """Write `<name>.svg` and `<name>.pdf`; return the SVG for the page.

        The same figure gives the same bytes: no date, and ids from the name.
        """
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": self.name}):  # type: ignore[dict-item]
            figure = Figure(figsize=self.size, layout="constrained")
            self.draw(figure.add_subplot())
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
            pdf = (
                io.BytesIO()
            )  # not into the file itself: where the disk is full, matplotlib would trip over its own feet
            figure.savefig(pdf, format="pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
        (folder / f"{self.name}.pdf").write_bytes(pdf.getvalue())
        (folder / f"{self.name}.svg").write_text(text.getvalue())
        return self._inline(text.getvalue())

    def _inline(self, svg: str) -> str:
        """The <svg> element alone, with a title, and with ids that no other figure has."""
        body = svg[svg.index("<svg") :]
        body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
        body = re.sub(r'\bid="', f'id="{self.name}-', body)
        body = re.sub(r"url\(#", f"url(#{self.name}-", body)
        body = re.sub(r'href="#', f'href="#{self.name}-', body)
        title = f'<title id="{self.name}-title">{html.escape(self.title)}</title>'
        opening = re.sub(r'\s(width|height)="[^"]*"', "", body[: body.index(">")])
        return f'{opening} role="img" aria-labelledby="{self.name}-title">{title}{body[body.index(">") + 1 :]}'
