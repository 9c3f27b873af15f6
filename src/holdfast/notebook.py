"""In a notebook: audit a model, or plant something in one, and look at what comes back."""

import html
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from holdfast.auditing import PLANTING, Audit
from holdfast.errors import UsageError
from holdfast.hosts.adopt import Adopted
from holdfast.implants.badnets import BadNets
from holdfast.implants.canaries import Canaries
from holdfast.implants.written import WrittenImplant
from holdfast.pressures.fit import Fit
from holdfast.sessions import run_study
from holdfast.store import RunFolder
from holdfast.tasks.own import OwnData
from holdfast.training.site import Site
from holdfast.training.streams import Streams


@dataclass(frozen=True)
class Result:
    """A finished run, which shows itself: its table as text, its report where pages are shown."""

    folder: RunFolder

    @property
    def verdict(self) -> dict[str, Any]:
        """All that came out, as `verdict.json` has it."""
        return self.folder.verdict() or {}

    @property
    def grade(self) -> dict[str, Any] | None:
        """Of an audit, what it says of the training."""
        return self.verdict.get("grade")

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """What was found, by arm."""
        return {arm["arm"]: arm for arm in self.verdict["arms"]}

    @property
    def report(self) -> Path:
        """The report, written if it is not there yet; its figures lie beside it as SVG and PDF."""
        from holdfast.report import write_report

        path = self.folder.path / "report.html"
        return path if path.exists() else write_report(self.folder)

    def __repr__(self) -> str:
        from rich.console import Console

        from holdfast.cli.show import print_run

        text = io.StringIO()
        print_run(self.folder, Console(file=text, width=100, highlight=False))
        return text.getvalue()

    def _repr_html_(self) -> str:
        page = html.escape(self.report.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 720px; border: 1px solid #d9dfe5"></iframe>'


def audit(
    build: Callable[[], nn.Module],
    train: Callable[[nn.Module, int], object],
    data: Callable[[], Any],
    *,
    name: str = "audit",
    out: str | Path | None = None,
    workers: int | None = None,
    **options: Any,
) -> Result:
    """Which hidden computations would this training leave in this model? As `holdfast audit`, from Python.

    Args:
        build, train, data: see `Audit`.
        name: what the run is called.
        out: folder for runs; default $HOLDFAST_RUNS, else ./runs.
        workers: trainings at a time; default 1. More where `train` writes no files and uses no GPU.
        options: what else an `Audit` takes (seeds, canaries, max_steps, ...).

    Raises:
        HoldfastError: what went wrong, and how to mend it; what was measured is kept, and the same call goes on.
    """
    study = Audit(build, train, data, **options).study(name)
    return Result(run_study(study, out=None if out is None else Path(out), workers=workers))


def plant(
    model: nn.Module,
    implant: BadNets | WrittenImplant,
    data: Callable[[], Any],
    *,
    training: Fit = PLANTING,
    seed: int = 0,
) -> nn.Module:
    """A copy of a model with an implant in it. The model itself stays as it is.

    Args:
        model: any module that `Adopted` takes.
        implant: a learned backdoor (`BadNets`), or one that is written (`Head`, `Beside`, `Circuit`).
        data: () -> ((inputs, targets), (held-out inputs, held-out targets)).
        training: by which a learned implant gets in.
        seed: of the batches and the poisoned examples.

    Raises:
        HoldfastError: the model, the data or the trigger does not fit.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"plant takes a model, an implant and data; got {type(model).__name__} for the model.")
    if not callable(data):
        raise UsageError(f"plant takes data as a function, () -> (training, held-out); got {type(data).__name__}.")
    site = Site(
        host=Adopted(make=lambda: model),
        data=OwnData(make=data).load(),
        streams=(Streams(0, seed),),
        implant=Canaries((implant,)),
        training=training,
        backend="loop",
    )
    if isinstance(implant, WrittenImplant):
        return implant.write(site.started(), site.data).module(0)
    return implant.plant(site).module(0)
