"""How one batch of cells is run: planted, pressed while the probes look, or measured without any training."""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holdfast.census import Measuring
from holdfast.errors import DamagedRun, HoldfastError
from holdfast.experiment import Planting, Pressing
from holdfast.parts import Implant, Probe, Sample, TrainedSample, parts_of
from holdfast.pressures.base import Checkpoint
from holdfast.probes import STANDARD, Accuracy, Look, Presence
from holdfast.settings import settings
from holdfast.store import Recorder, RunFolder
from holdfast.study import Cell
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.randomness import seeded
from holdfast.training.site import Site
from holdfast.training.slot import Slot, crc
from holdfast.training.streams import Streams

Tick = Callable[[int], None]
RESERVED = {"phase", "step", "cell", "end", "sha256"}
"""What lines of measures hold beside measures."""


def plant(cells: Sequence[Planting], folder: RunFolder, slot: Slot, tick: Tick) -> None:
    """Build hosts, plant implants in those cells that ask for it, measure at step 0, keep the nets."""
    first = cells[0]
    data = first.task.load().to(first.device)
    sites: dict[tuple[Streams, ...], Site] = {}
    for planted in (True, False):
        chosen = [cell for cell in cells if cell.planted == planted]
        if not chosen:
            continue
        site = _site(chosen, data, slot.phase("planted" if planted else "control"), tick)
        site = sites.setdefault(site.streams, site)  # so that hosts are trained once for a net and its control
        nets = first.implant.plant(site) if planted else first.implant.control(site)
        split = data.split(first.split)
        measures = _measure(Look.at_start(nets, first.implant, split, data.train), (Presence(), Accuracy()))
        if first.warm_up is not None:  # the host is somebody's already: say what it was before planting
            host = _measure(Look.at_start(site.started(), first.implant, split, data.train), (Accuracy(),))
            measures |= {"host_accuracy": host["accuracy"], "warmed_up": [float(site.warmed_up)] * nets.k}
        for k, cell in enumerate(chosen):
            save_net(cell, nets.state(k), folder)
            recorder = _recorder(cell, folder)
            recorder.add("planting", 0, {name: values[k] for name, values in measures.items()})
            recorder.end()
    slot.clear()


def press(cells: Sequence[Pressing], folder: RunFolder, slot: Slot, tick: Tick) -> None:
    """Press planted nets and their controls, and write what the probes see at every look."""
    first, implant = cells[0], cells[0].planting.implant
    data = first.planting.task.load().to(first.planting.device)
    site = _site([cell.planting for cell in cells], data, slot, tick)
    start = load_nets([cell.planting for cell in cells], folder)
    masks = _implant_weights(implant, start, [cell.planting.planted for cell in cells], data.train)
    if not getattr(first.pressure, "resumes", True):  # what an earlier try saw belongs to a training that is run anew
        for cell in cells:
            folder.measures_path(folder.key(cell)).unlink(missing_ok=True)
    recorders = [_recorder(cell, folder) for cell in cells]
    seen = _seen(first, site)
    if not all(recorder.has("pressure", step) for recorder in recorders for step in seen):
        slot.clear()  # a file of measures was lost: go back to the start, and write what is missing

    def write(phase: str, step: int, measures: Mapping[str, Sequence[float]]) -> None:
        for k, recorder in enumerate(recorders):
            recorder.add(phase, step, {name: values[k] for name, values in measures.items()})

    nets, split = start.copy(), data.split(first.split)
    pressures = [cell.pressure for cell in cells]

    def see(phase: str, probes: Sequence[Probe]) -> Callable[[Checkpoint], None]:
        def take(point: Checkpoint) -> None:
            look = Look(checkpoint=point, start=start, implant=implant, split=split, train=data.train, masks=masks)
            in_calls = {} if point.counted == "steps" else {"in_calls": [1.0] * nets.k}
            write(phase, point.step, _measure(look, probes) | in_calls)

        return take

    look_at = see("pressure", (*STANDARD, *first.probes))
    for point in type(first.pressure).press(pressures, site.at("pressure", look_at), nets, first.looks):
        look_at(point)

    if first.reactivation:
        again, looks = [first.reactivation] * nets.k, range(0, (first.reactivation.steps or 0) + 1, 2)
        look_at = see("reactivation", (Presence(),))
        for point in type(first.reactivation).press(again, site.at("reactivation", look_at), nets, looks):
            look_at(point)

    for recorder in recorders:
        recorder.end()
    slot.clear()


def measure(cells: Sequence[Measuring], folder: RunFolder, slot: Slot, tick: Tick) -> None:
    """Measure samples, and write what they say: one seed, or several that train together."""
    sample = cells[0].sample
    for cell, found in zip(cells, measured(sample, [Streams(c.root, c.seed) for c in cells], slot, tick), strict=True):
        recorder = _recorder(cell, folder)
        recorder.add("census", 0, found)
        recorder.end()
    slot.clear()


def measured(sample: Sample, each: Sequence[Streams], slot: Slot, tick: Tick) -> list[dict[str, float]]:
    """What a sample says of some seeds, held to its form.

    Raises:
        HoldfastError: it gave something else than named numbers.
    """
    if isinstance(sample, TrainedSample):
        return [_numbers(sample, found) for found in sample.measure_together(each, slot, tick)]
    numbers = []
    for streams in each:
        numbers.append(_numbers(sample, sample.measure(streams)))
        tick(1)
    return numbers


def _numbers(sample: Sample, found: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(found, Mapping) or not found:
        raise HoldfastError(f"{sample.label} must measure a mapping of names to numbers; got {found!r}.")
    for name, value in found.items():
        if name in RESERVED:
            raise HoldfastError(f"{sample.label} calls a measure {name!r}, which is taken. Give it another name.")
        if not isinstance(value, Real):
            raise HoldfastError(f"{sample.label} must measure numbers; {name} is {value!r}.")
    return {name: float(value) for name, value in found.items()}


def _seen(first: Pressing, site: Site) -> list[int]:
    """Looks that were taken before the state that is saved."""
    saved = site.at("pressure").slot.step()
    return [] if saved is None else [look for look in first.looks if look <= saved]


def _site(cells: Sequence[Planting], data: Data, slot: Slot, tick: Tick) -> Site:
    first = cells[0]
    streams = tuple(Streams(cell.root, cell.seed) for cell in cells)
    return Site(
        host=first.host,
        data=data,
        streams=streams,
        implant=first.implant,
        training=first.training,
        warm_up=first.warm_up,
        backend=first.backend,
        device=first.device,
        slot=slot,
        tick=tick,
    )


def _measure(look: Look, probes: Sequence[Callable[[Look], Mapping[str, Tensor]]]) -> dict[str, list[float]]:
    """Every probe's measures, as plain numbers; NaN for a net whose weights are not finite."""
    finite_K = look.nets.finite().cpu()
    measures: dict[str, list[float]] = {}
    with look.nets.still():
        probed = [(probe, _probed(probe, look)) for probe in probes]
    for probe, found in probed:
        for name, value_K in found.items():
            if name in measures or name in RESERVED:
                raise HoldfastError(
                    f"The probe {_called(probe)} calls a measure {name!r}, which is taken. Give it another name."
                )
            measures[name] = torch.where(finite_K, value_K.detach().double().cpu(), torch.nan).tolist()
    return measures


def _called(probe: object) -> str:
    return getattr(probe, "__name__", repr(probe))


def _probed(probe: Callable[[Look], Mapping[str, Tensor]], look: Look) -> Mapping[str, Tensor]:
    """What a probe says, held to its form.

    Raises:
        HoldfastError: it raised, or gave something else than named tensors with one entry a net.
    """
    try:
        found = probe(look)
    except HoldfastError:
        raise
    except Exception as error:
        raise HoldfastError(f"The probe {_called(probe)} raised {type(error).__name__}: {error}.") from error
    values = found.items() if isinstance(found, Mapping) else [("what it returned", found)]
    for name, value in values:
        if not isinstance(found, Mapping) or not isinstance(value, Tensor) or value.shape != (look.nets.k,):
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise HoldfastError(
                f"The probe {_called(probe)} must return a mapping of names to tensors of shape ({look.nets.k},), one "
                f"entry a net; {name} is {got}."
            )
    return found


def _implant_weights(
    implant: Implant, start: Nets, planted: Sequence[bool], train: Split
) -> dict[str, Mapping[str, Tensor]]:
    """Masks of the weights of each part of the implant, all false in nets that were never planted."""
    planted_K = torch.tensor(planted, device=start.device)
    masks: dict[str, Mapping[str, Tensor]] = {}
    for ending, part in parts_of(implant).items():
        if any(planted):
            found = part.weights(start, train)
        else:
            found = {name: torch.zeros_like(p, dtype=torch.bool) for name, p in start.params.items()}
        masks[ending] = {n: mask & planted_K.view(-1, *[1] * (mask.dim() - 1)) for n, mask in found.items()}
    return masks


def _recorder(cell: Cell, folder: RunFolder) -> Recorder:
    return folder.recorder(folder.key(cell), settings(cell))


def save_net(cell: Planting, state: Mapping[str, Tensor], folder: RunFolder) -> None:
    """Keep one net as safetensors. A planted one says so in its metadata."""
    what = f"planted: {cell.implant.label}" if cell.planted else "never planted"
    # One key: safetensors writes several in an order that differs from run to run.
    metadata = {"holdfast": f"{what}; {cell.host.label}, seed {cell.seed}; crc {crc(state)}"}
    path = folder.net_path(folder.key(cell))
    fresh = path.with_suffix(".tmp")
    save_file({name: value.contiguous() for name, value in state.items()}, fresh, metadata=metadata)
    fresh.replace(path)


def _load_net(cell: Planting, folder: RunFolder) -> dict[str, Tensor]:
    key = folder.key(cell)
    try:
        with safe_open(folder.net_path(key), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if not file.metadata()["holdfast"].endswith(f"crc {crc(state)}"):
                raise SafetensorError("its checksum is not that of what was written")
        return state
    except (FileNotFoundError, SafetensorError, KeyError, TypeError) as error:
        raise DamagedRun(
            f"The planted net {folder.net_path(key)} cannot be read ({error}). "
            f"Delete {folder.measures_path(key)} and run again: the net is planted anew, to the same bits."
        ) from None


def load_nets(cells: Sequence[Planting], folder: RunFolder) -> Nets:
    """The nets that planting kept, in the order of the cells."""
    first = cells[0]
    # Some implants add units of their own, which the nets of their cells have, and the controls of few.
    has_units = first.planted or getattr(first.implant, "units_in_control", False)
    build = getattr(first.implant, "build", None) if has_units else None
    with seeded(Streams(first.root, first.seed).torch_seed("init")):  # for what a net has and does not save
        like = first.host.build() if build is None else build(first.host, first.task.load())
    nets = Nets(first.host, like, len(cells), backend=first.backend, device=first.device)
    for k, cell in enumerate(cells):
        nets.load(k, _load_net(cell, folder))
    return nets
