"""`holdfast show`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from holdfast.errors import HoldfastError
from holdfast.store import RunFolder, find_run, runs_root, shown

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COUNTS = ("seeds", "held", "removed", "wrecked", "diverged")
KEYS = ("implant", "pressure", "setting", "verdict", *COUNTS, "interval", "level", "suppressed")
STYLE = {
    "SURVIVES": "bold red",
    "REMOVED": "bold green",
    "SUPPORTED": "bold green",
    "REFUTED": "bold red",
    "MIXED": "bold yellow",
    "INVALID": "bold magenta",
}


@dataclass(frozen=True, kw_only=True)
class Show:
    """Print the verdicts of a run."""

    name: tyro.conf.Positional[str]
    """Name of a run (`holdfast ls` lists them), the start of one, or its folder."""
    out: Path | None = None
    """Folder of runs. Default: $HOLDFAST_RUNS, else ./runs."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Read and print."""
        folder = find_run(self.name, runs_root(self.out))
        if self.json:
            print(json.dumps(answer(folder)))
        else:
            print_run(folder)
        return 0


def verdict_of(folder: RunFolder) -> dict[str, Any]:
    """What came out of a run.

    Raises:
        HoldfastError: it is not complete.
    """
    folder.study()
    verdict = folder.verdict()
    if verdict is None:
        raise HoldfastError(f"{folder.path} is not complete. The command that started it goes on where it stopped.")
    return verdict


def answer(folder: RunFolder) -> dict[str, Any]:
    """The answer of every command that runs or shows a study, as one JSON object."""
    verdict, claim = verdict_of(folder), folder.claim()
    if claim is not None:
        return {"run": folder.name, **claim, "seconds": round(folder.seconds(), 1)}
    arms = [{"arm": a["arm"], **{k: a[k] for k in KEYS}} for a in verdict["arms"]]
    comparisons = [{k: v for k, v in c.items() if k != "cells"} for c in verdict["comparisons"]]
    graded = {"grade": verdict["grade"]} if "grade" in verdict else {}
    censuses = [{k: v for k, v in census.items() if k != "cells"} for census in verdict["censuses"]]
    return {
        "run": folder.name,
        **graded,
        "arms": arms,
        "comparisons": comparisons,
        **({"censuses": censuses} if censuses else {}),
        "seconds": round(folder.seconds(), 1),
    }


def print_run(folder: RunFolder, console: "Console | None" = None) -> None:
    """What came out of a run: of a claim, or of any other study."""
    if console is None:
        from rich.console import Console

        class Piped(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError  # rich would end with status 1; the command says 0

        console = Piped(highlight=False)
    claim = folder.claim()
    if claim is None:
        _print_verdict(folder, console)
    else:
        _print_claim(folder, claim, console)


def _print_claim(folder: RunFolder, claim: Mapping[str, Any], console: "Console") -> None:
    """A claim: its sentence, its verdict, its parts, and what stands beside them."""
    from rich import box
    from rich.table import Table

    console.print(f"\n“{_plain(claim['sentence'])}”")
    console.print(f"[{STYLE.get(claim['verdict'], 'bold')}]{claim['verdict']}[/] ({claim['claim']}, {claim['size']})")
    for sentence in claim["invalid"]:
        console.print(_plain(sentence))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("part")
    for heading in ("effect", "interval", "units", "claim"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for part in claim["parts"]:
        table.add_row(
            _plain(part["name"]) + ("*" if part["necessary"] else ""),
            "–" if part["effect"] is None else f"{part['effect']:.3g}",
            _interval(part),
            str(part["units"]),
            part["says"],
            f"[{STYLE.get(part['verdict'], 'bold')}]{part['verdict']}[/]",
        )
    console.print(table)
    for part in claim["parts"]:
        console.print(f"[bold]{_plain(part['name'])}[/]: {_plain(part['what'])}. {_plain(part['reason'])}")
    for heading, rows in (("Controls", claim["controls"]), ("Anchors", claim["anchors"])):
        console.print(f"\n[bold]{heading}[/]")
        for row in rows:
            told = row["got"] if "holds" in row else f"expected {row['expected']}; got {row['got']}: {row['status']}"
            console.print(f"{_plain(row['name'])}: {_plain(told)}")
    console.print(
        f"\n[dim]* necessary. Intervals at {100 * claim['level']:.4g} % over units, seeds or pairs of them; "
        f"look {claim['look']}.[/]"
    )
    console.print(f"[dim]run  {_plain(shown(folder.path))}[/]", soft_wrap=True)


def _interval(part: Mapping[str, Any]) -> str:
    if part["interval"] is None:
        return "–"
    return f"{part['interval'][0]:.3g} to {part['interval'][1]:.3g}"


def _print_verdict(folder: RunFolder, console: "Console") -> None:
    """The verdict table and what stands behind it."""
    verdict = verdict_of(folder)
    console.print(f"\n[bold]{_plain(verdict['question'])}[/]")
    if "grade" in verdict:
        console.print(_plain(verdict["grade"]["sentence"]))
    if verdict["arms"]:
        _print_arms(verdict, console)
    if verdict["censuses"]:
        console.print(_measured(verdict["censuses"]))
    console.print(f"[dim]run  {_plain(shown(folder.path))}[/]", soft_wrap=True)


def _print_arms(verdict: Mapping[str, Any], console: "Console") -> None:
    console.print(_table(verdict["arms"]))
    for arm in verdict["arms"]:
        setting = f" Setting: {arm['setting']}." if arm["setting"] else ""
        console.print(f"[bold]{_plain(arm['arm'])}[/]: {_plain(arm['reason'] + setting)}")
    for row in verdict["comparisons"]:
        console.print(
            f"[bold]{_plain(row['other'])}[/] against [bold]{_plain(row['reference'])}[/]: "
            f"{row['verdict']}. {_plain(row['reason'])}"
        )
    for budget in dict.fromkeys(arm["attack_budget"] for arm in verdict["arms"]):
        console.print(f"[bold]Attack budget[/]: {_plain(budget)}")
    levels = sorted({arm["level"] for arm in verdict["arms"]})
    console.print(
        f"\n[dim]share: exact interval of the share removed for REMOVED, else of the share held, at "
        f"{', '.join(f'{100 * level:g} %' for level in levels)}; lost: host wrecked or diverged.[/]"
    )


def _measured(censuses: Sequence[Mapping[str, Any]]) -> "Table":
    """What was measured: mean and range over the seeds."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for heading in ("measured", "measure"):
        table.add_column(heading)
    for heading in ("seeds", "mean", "least", "most"):
        table.add_column(heading, justify="right", no_wrap=True)
    for census in censuses:
        for name, found in census["measures"].items():
            figures = ("–" if found[k] is None else f"{found[k]:.4g}" for k in ("mean", "least", "most"))
            table.add_row(_plain(census["census"]), _plain(name), str(found["seeds"]), *figures)
    return table


def _table(arms: Sequence[Mapping[str, Any]]) -> "Table":
    from rich import box
    from rich.table import Table

    # 80 columns must do: the widest verdict takes 20, the figures 25, and what stands between them 7.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    table.add_column("arm")
    table.add_column("verdict", no_wrap=True)
    for heading in ("held", "removed", "lost", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm in arms:
        table.add_row(
            _plain(arm["arm"]),
            f"[{STYLE.get(arm['verdict'], 'bold')}]{arm['label']}[/]",
            f"{arm['held']}/{arm['seeds']}",
            f"{arm['removed']}/{arm['seeds']}",
            str(arm["wrecked"] + arm["diverged"]),
            f"{arm['interval'][0]:.2f}-{arm['interval'][1]:.2f}",
        )
    return table


def _plain(text: object) -> str:
    from rich.markup import escape

    return escape(str(text))
