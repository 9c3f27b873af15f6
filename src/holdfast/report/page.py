"""Write the report: one HTML file that opens from disk, and each figure as SVG and PDF."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from holdfast.report.answer import answer, join
from holdfast.report.figures import cheapest, drawings
from holdfast.report.read import Run
from holdfast.report.references import references
from holdfast.store import RunFolder

MARKS = {
    "SURVIVES": "■",
    "REMOVED": "○",
    "MIXED": "◐",
    "UNDECIDED": "?",
    "INVALID": "×",
    "SUPPORTED": "✓",
    "REFUTED": "✗",
}
PARTS = ("SUPPORTED", "REFUTED", "UNDECIDED")
TEMPLATE = Path(__file__).with_name("page.html.jinja")


def write_report(folder: RunFolder) -> Path:
    """Write `report.html` and `figures/` into a run folder; the same run gives the same bytes.

    Nothing is loaded from elsewhere when the page is opened. Text that comes from settings is escaped.

    Raises:
        HoldfastError: the run is not complete, is damaged, or was made by a newer version.
    """
    run = Run.of(folder)
    figures = folder.path / "figures"
    figures.mkdir(exist_ok=True)
    drawn = {section: [Markup(drawing.save(figures)) for drawing in each] for section, each in drawings(run).items()}
    page = (
        _environment()
        .from_string(TEMPLATE.read_text())
        .render(
            run=run,
            names=_names(run),
            hosts=list(dict.fromkeys(f"{arm.row['host']}, {arm.row['task']}" for arm in run.arms)),
            levels=sorted({f"{100 * arm.row['level']:g} %" for arm in run.arms}),
            answer=_answer(run),
            figures=drawn,
            cheapest={implant: cheapest(arms) for implant, arms in run.grouped("implant").items()},
            references=references(run.kinds),
            seconds=folder.seconds(),
        )
    )
    path = folder.path / "report.html"
    fresh = path.with_suffix(".html.tmp")
    fresh.write_text(page, encoding="utf-8")
    os.replace(fresh, path)
    return path


def _answer(run: Run) -> str:
    """The first sentence of the page."""
    if run.claim is not None:
        counts = {word: [p["name"] for p in run.claim["parts"] if p["verdict"] == word] for word in PARTS}
        told = [f"{len(names)} {word.lower()} ({join(names)})" for word, names in counts.items() if names]
        return f"{run.claim['verdict']}. Of its {len(run.claim['parts'])} parts {', '.join(told)}."
    if "grade" in run.verdict:
        return str(run.verdict["grade"]["sentence"])
    return " ".join([*([answer(run.verdict["arms"])] if run.arms else []), *_measured(run.verdict["censuses"])])


def _measured(censuses: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence that names what was measured, if anything was."""
    if not censuses:
        return []
    return [f"Measured, without any training: {join([str(census['census']) for census in censuses])}."]


def _names(run: Run) -> list[str]:
    """The first column of the verdicts: the implant, or the arm's name where implant and pressure don't tell it."""
    both = [(arm.row["implant"], arm.row["pressure"]) for arm in run.arms]
    return [
        str(a.row["implant"] if both.count(pair) == 1 else a.row["arm"]) for a, pair in zip(run.arms, both, strict=True)
    ]


def _environment() -> Environment:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["share"] = _share
    environment.filters["figure"] = lambda value: "–" if value is None else f"{value:.4g}"
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.3g} %"
    environment.globals["mark"] = lambda verdict: MARKS[verdict]
    return environment


def _share(interval: Any) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"
