"""Prove, before anything is pressed, that a study can be believed."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from holdfast.cells import measured
from holdfast.checks.own import check_own
from holdfast.checks.promise import Promise
from holdfast.engines.base import one_thread
from holdfast.estimate import estimate
from holdfast.experiment import Experiment
from holdfast.judging import moved
from holdfast.parts import TrainedSample
from holdfast.stats import control_limit, distinguishable, is_planted
from holdfast.study import Study
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.slot import Slot
from holdfast.training.streams import Streams

SEEDS = 8
"""Seeds on which planting is tried: judged seeds 0 to 7, on validation data. With 4, the limit that their controls set
was too wide for presences that scatter: bits failed 3 times in 10 by chance."""
STEPS = 6
"""Throw-away steps for the proof that resume is exact."""


def check(study: Study, workers: int) -> Iterator[Promise]:
    """Try every promise of a study.

    No net is pressed: hosts are trained and planted on 8 seeds, and a few steps are taken on copies to compare a
    resumed net with an uninterrupted one and to time a step. The planting of the real run is checked again, on every
    seed.
    """
    yield from check_own(study.arms[0]) if study.graded else _arms(study)
    yield from _censuses(study)
    cost = estimate(study, workers)
    yield Promise("study", None, f"{cost}.")
    for seeds in sorted({arm.seeds for arm in study.arms}):
        yield Promise("study", None, what_seeds_tell(seeds))


def _arms(study: Study) -> Iterator[Promise]:
    done = set()
    for arm in study.arms:
        hosting = (arm.host, arm.task, arm.implant, arm.training)
        with one_thread():
            if hosting not in done:
                done.add(hosting)
                yield from _planting(study, arm)
            yield _resume(study, arm)


def _censuses(study: Study) -> Iterator[Promise]:
    """One seed of each, measured twice; of what trains, a version with next to no steps."""
    for census in study.censuses:
        sample, began = census.sample, time.perf_counter()
        if isinstance(sample, TrainedSample):
            sample = sample.shortened()
        with one_thread():
            once, again = (measured(sample, [Streams(study.root, 0)], Slot(), lambda _: None) for _ in range(2))
        seconds = (time.perf_counter() - began) / 2
        took = f"{len(once[0])} measures" + (f", {seconds:.2g} s a seed" if sample is census.sample else "")
        same = repr(once) == repr(again)  # NaN is the same as NaN
        mend = "" if same else " Draw all that is random from the streams."
        yield Promise(census.title, same, f"{took}; twice {'the same' if same else 'not the same'} numbers.{mend}")


def what_seeds_tell(seeds: int) -> str:
    """What so many seeds can tell apart, in a sentence."""
    told = distinguishable(seeds)
    if told.least_held is None:
        return (
            f"{seeds} seeds cannot reach SURVIVES or REMOVED; {told.least_seeds} are the least. What they can say: "
            f"held in all would put survival above {told.if_all_held:.2f}, gone in all below {told.if_all_gone:.2f}."
        )
    share = (
        ""
        if told.share_at_power is None
        else f" (reached 4 times in 5 when the true share is {told.share_at_power:.2f})"
    )
    return f"{seeds} seeds: SURVIVES or REMOVED needs {told.least_held} of them{share}."


def _site(study: Study, arm: Experiment, slot: Slot | None = None) -> Site:
    return Site(
        host=arm.host,
        data=arm.task.load().to(arm.device),
        streams=tuple(Streams(study.root, seed) for seed in range(SEEDS)),
        implant=arm.implant,
        training=arm.training,
        backend=arm.backend,
        device=arm.device,
        slot=slot or Slot(),
    )


def _planting(study: Study, arm: Experiment) -> Iterator[Promise]:
    about = f"{arm.implant.label} in {arm.host.label}"
    site = _site(study, arm)
    split = site.data.validation
    nets = arm.implant.plant(site)
    presence = arm.implant.presence(nets, split)["presence"].tolist()
    shown = f"presence {min(presence):.2f} to {max(presence):.2f} at step 0 on {SEEDS} seeds"
    if not bool(nets.finite().all()):
        yield Promise(about, False, "Weights are not finite after planting. Lower the learning rate of `training`.")
        return
    if not arm.implant.has_control:
        there = all(p > 0 for p in presence)
        yield Promise(about, there, f"{shown}; no clean control to compare with.")
    else:
        controls = arm.implant.control(site)
        limit = control_limit(arm.implant.presence(controls, split)["presence"].tolist())
        there = all(is_planted(p, limit) for p in presence)
        mend = "" if there else " Train the host longer, poison more, or choose a clearer trigger."
        yield Promise(about, there, f"{shown}, control limit {limit:.2f}.{mend}")
        cost = moved(arm, _accuracy(nets, site), _accuracy(controls, site))
        promise = arm.implant.costs_at_most
        if promise is not None:
            yield Promise(about, cost is None, cost or f"Clean accuracy lost by planting: within {promise:g} points.")
            yield _moved_outputs(about, nets, controls, site, kept=promise > 0)
    made_of = getattr(arm.implant, "made_of", None)
    if made_of is not None and (said := made_of(arm.host, site.data)):
        yield Promise(about, None, said)
    yield _plain_output(about, nets, site)
    yield _reload(about, nets)


def _moved_outputs(about: str, nets: Nets, controls: Nets, site: Site, *, kept: bool) -> Promise:
    """How far planting moved the host's clean outputs: no further than rounding does, where no accuracy may be lost."""
    x = site.data.validation.x
    plain = controls.logits(x)
    off = float((nets.logits(x) - plain).abs().max() / plain.abs().max())
    said = f"Clean outputs are moved by {off:.0e} of the largest logit at most."
    return Promise(about, None if kept else off < 1e-5, said)


def _accuracy(nets: Nets, site: Site) -> list[float]:
    split = site.data.validation
    hits_KN = nets.classes(split.x) == split.y.to(nets.device)
    accuracy: list[float] = hits_KN.flatten(1).double().mean(-1).tolist()
    return accuracy


def _plain_output(about: str, nets: Nets, site: Site) -> Promise:
    x = site.data.validation.x
    with torch.no_grad():
        plain = torch.stack([nets.module(k)(x) for k in range(nets.k)])
    off = float((nets.logits(x) - plain).abs().max() / plain.abs().max())
    return Promise(
        about, off < 1e-5, f"Outputs in a batch equal the plain module's within {off:.0e} of the largest logit."
    )


def _reload(about: str, nets: Nets) -> Promise:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        again = nets.copy()
        for k in range(nets.k):
            save_file(nets.state(k), path)
            again.load(k, load_file(path))
    exact = _same(nets, again)
    return Promise(about, exact, "Saved and reloaded: the same bits." if exact else "Saved and reloaded: bits differ.")


def _same(left: Nets, right: Nets) -> bool:
    """The same numbers, or not a number in the same places."""
    return all(torch.equal(row.nan_to_num(), right.rows[name].nan_to_num()) for name, row in left.rows.items())


def _resume(study: Study, arm: Experiment) -> Promise:
    about = study.arm_name(arm)
    setting = arm.grid[-1]
    kind, each, looks = type(setting), [setting] * SEEDS, (STEPS // 2, STEPS)
    with tempfile.TemporaryDirectory() as folder:
        ends = []
        for slot in (Slot(), Slot(Path(folder) / "state")):
            site = _site(study, arm, slot)
            start = Nets.initialised(arm.host, site.streams, backend=arm.backend, device=arm.device)
            if attached := getattr(arm.implant, "attached", None):
                start = attached(start, site.data)  # with the units that the pressure may name
            nets = start.copy()
            points = kind.press(each, site, nets, looks)
            next(points)
            if slot.path is not None:
                next(points)  # The state of the first look is saved; what follows is thrown away.
                nets = start
                points = kind.press(each, site, nets, looks)
            for _ in points:
                pass
            ends.append(nets)
    exact = _same(*ends)
    said = "the same bits" if exact else "bits differ: a killed run would not end as an uninterrupted one"
    return Promise(about, exact, f"Stopped and resumed over {STEPS} steps: {said}.")
