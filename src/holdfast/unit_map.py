"""The spare map of one network: which units and weights it could do without, and which are somebody's implant."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.errors import UsageError, number
from holdfast.hosts.adopt import Adopted
from holdfast.implants.canaries import Canary
from holdfast.pruning.ablation import Ablation
from holdfast.pruning.largest import largest
from holdfast.pruning.masks import Masks, by_unit, prunable
from holdfast.tasks.base import Split
from holdfast.tasks.own import OwnData
from holdfast.training.nets import Nets

EXAMPLES = 512
"""Held-out examples on which units are ablated."""


@dataclass(frozen=True)
class Unit:
    """One hidden unit."""

    layer: str
    """Path of the layer that reads it."""
    unit: int
    effect: float
    """By how much the loss on held-out data rises, in nats, when it gives its mean."""
    effect_before: float
    """The same in the network before; NaN where none was given."""
    kept: float
    """Share of its weights into that layer that are among the largest of the network; NaN where these are not pruned,
    as a head is not that is tied to an embedding."""
    is_implant: bool
    """Whether one of those weights was written by the planter, or carries what was learned."""


@dataclass(frozen=True)
class UnitMap:
    """What `spare_map` found. Shows itself as a table, and where pages are shown as a picture."""

    units: tuple[Unit, ...]
    masks: Masks
    """Which weights are among the `keep` largest of the network (K = 1): its ticket, by magnitude."""
    implant: dict[str, Tensor]
    """Which weights are the implant's, by name; empty where none was given."""
    keep: float

    def __repr__(self) -> str:
        rows = []
        for layer in dict.fromkeys(unit.layer for unit in self.units):
            some = [unit for unit in self.units if unit.layer == layer]
            blank = sum(unit.effect < 1e-3 for unit in some)
            written = sum(unit.is_implant for unit in some)
            dearest = max(some, key=lambda unit: unit.effect)
            rows.append(
                f"  read by {layer}: {len(some)} units, {blank} could go (loss rises by less than .001), "
                f"{written} the implant's; dearest: {dearest.unit} ({dearest.effect:.3f} nats)"
            )
        return "\n".join([f"Spare map, {self.keep:.0%} of the weights kept", *rows])

    def _repr_html_(self) -> str:
        return f'<div style="max-width: 620px">{self.svg()}</div>'

    def svg(self) -> str:
        """The picture: each unit by how much the loss feels it and by how much of it pruning would keep."""
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter

        from holdfast.report.drawing import COLOURS, MARKERS, STYLE

        with matplotlib.rc_context({**STYLE, "svg.hashsalt": "spare map"}):  # type: ignore[dict-item]
            figure = Figure(figsize=(6.0, 3.8), layout="constrained")
            axes = figure.add_subplot()
            for which, (label, is_implant) in enumerate((("host", False), ("implant", True))):
                some = [unit for unit in self.units if unit.is_implant == is_implant]
                if some:
                    axes.plot(
                        [unit.effect for unit in some], [unit.kept for unit in some], MARKERS[which], linestyle="none",
                        color=COLOURS[which], markersize=5, alpha=0.7, label=f"{label}, {len(some)} units",
                    )  # fmt: skip
            axes.set_xscale("symlog", linthresh=1e-3)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.set(xlabel="rise of the loss without it, nats", ylim=(-0.03, 1.05))
            axes.set_ylabel(f"share of it among the {self.keep:.0%} largest")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        return text.getvalue()[text.getvalue().index("<svg") :]


def spare_map(
    model: nn.Module,
    data: Callable[[], Any],
    *,
    before: nn.Module | None = None,
    implant: Canary | None = None,
    keep: float = 0.2,
    examples: int = EXAMPLES,
) -> UnitMap:
    """Which units and weights of a network it could do without, and which of them are an implant's.

    Args:
        model: any module with two linear or convolutional layers or more; looked at, not changed.
        data: () -> ((inputs, targets), (held-out inputs, held-out targets)).
        before: the same network earlier (at initialisation, or before planting), to see what changed.
        implant: what `plant` put into it, so that its weights are told apart.
        keep: share of the weights that counts as the ticket: the largest of the network.
        examples: held-out ones on which units are ablated.

    Raises:
        HoldfastError: a model, data or an implant that doesn't fit.

    When it misleads: as `SpareMap` (`probes/spare_map.py`): size is not use, and what answers to a trigger alone has no
    effect on clean data.
    """
    number("keep", keep)
    if not isinstance(model, nn.Module) or not callable(data):
        raise UsageError(
            f"spare_map takes a model and data as a function; got {type(model).__name__}, {type(data).__name__}."
        )
    if not 0 < keep < 1:
        raise UsageError(f"spare_map keeps a share between 0 and 1; got {keep}.")
    loaded = OwnData(make=data).load()
    host = Adopted(make=lambda: model)
    nets = Nets.of(host, [model], backend="loop")
    few = Split(loaded.test.x[:examples], loaded.test.y[:examples], loaded.test.classes)
    scores = {name: nets.params[name].detach().float().abs() for name in prunable(nets)}
    masks = largest(scores, keep)
    written = {} if implant is None else {n: m[0] for n, m in implant.weights(nets, loaded.train).items()}
    effects = Ablation(nets.module(0), few, host.logits).effects(few)
    earlier = None if before is None else Ablation(before, few, host.logits).effects(few)
    if earlier is not None and {n: len(e) for n, e in earlier.items()} != {n: len(e) for n, e in effects.items()}:
        raise UsageError("`before` has other units than the model: give the same network as it was earlier.")
    units = []
    for path, effect_U in effects.items():
        name, count = f"{path}.weight", len(effect_U)
        layer = model.get_submodule(path)
        is_pruned = name in masks  # a head that is tied to an embedding is not
        kept_U = by_unit(layer, masks[name][0], count).double().mean(1) if is_pruned else torch.full((count,), math.nan)
        of_implant = (
            by_unit(layer, written[name], count) if name in written else torch.zeros(count, 1, dtype=torch.bool)
        )
        is_implant = of_implant.any(1)
        for unit in range(count):
            was = math.nan if earlier is None else float(earlier[path][unit])
            units.append(Unit(path, unit, float(effect_U[unit]), was, float(kept_U[unit]), bool(is_implant[unit])))
    return UnitMap(tuple(units), masks, written, keep)
