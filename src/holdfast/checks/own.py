"""Prove, before any training of the user's is run, that their model, data and training can be audited."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from holdfast.checks.promise import Promise
from holdfast.engines.base import one_thread
from holdfast.errors import HoldfastError, NotWritable
from holdfast.experiment import Experiment
from holdfast.hosts.adopt import Adopted, as_taken, evaluating
from holdfast.implants.canaries import Canaries
from holdfast.implants.written import WrittenImplant
from holdfast.pressures.own import Own
from holdfast.training.chance import untrained
from holdfast.training.nets import Nets
from holdfast.training.site import Site
from holdfast.training.streams import Streams

STEPS = 3
"""Optimiser steps of the user's training that are tried, three times, on copies."""
PATIENCE_S = 60.0
EXAMPLES = 64
AGAIN = "Not in the model as it comes; it is tried again after the warm-up. "


def check_own(arm: Experiment) -> Iterator[Promise]:
    """Try the promises of an audit on one seed, by a few steps on copies that are thrown away.

    Args:
        arm: any of the audit's, which share model, data and training.
    """
    assert isinstance(arm.host, Adopted)
    assert isinstance(arm.implant, Canaries)
    assert isinstance(arm.grid[0], Own)
    with one_thread():
        data = arm.task.load()
        kind = "numbers" if data.train.x.is_floating_point() else "tokens"
        yield Promise(
            "data", True,
            f"{len(data.train):,} training inputs of shape {tuple(data.train.x.shape[1:])} ({kind}), "
            f"{data.classes:,} answers; {len(data.test)} held-out examples to measure on.",
        )  # fmt: skip
        site = _site(arm)
        nets = Nets.initialised(arm.host, site.streams, backend="loop")
        count = sum(p.numel() for p in nets.like.parameters())
        yield Promise("model", True, f"{type(nets.like).__name__}, {count:,} parameters.")
        yield _plain(arm.host, nets, site)
        yield _chance(arm, nets, site)
        yield from _written(arm.implant, nets, site)
        yield from _seeds(arm.grid[0], nets, site)


def _site(arm: Experiment) -> Site:
    return Site(
        host=arm.host,
        data=arm.task.load(),
        streams=(Streams(0, 0),),
        implant=arm.implant,
        training=arm.training,
        backend="loop",
    )


def _plain(host: Adopted, nets: Nets, site: Site) -> Promise:
    """Looked at is the model as it is: same outputs to the bit, same modes, same keys afterwards."""
    module, x = nets.module(0), site.data.validation.x[:EXAMPLES]
    keys, modes = list(module.state_dict()), [m.training for m in module.modules()]
    looked_at = Nets.of(host, [module], backend="loop").logits(x)[0]
    with torch.no_grad(), evaluating(module):
        plain = host.logits(module(as_taken(x, module.parameters())))
    same = torch.equal(looked_at, plain)
    traceless = keys == list(module.state_dict()) and modes == [m.training for m in module.modules()]
    said = "Looked at, it gives the outputs that it gives by itself, to the bit, and nothing of it is changed."
    return Promise("model", same and traceless, said if same and traceless else _odd(looked_at, plain, traceless))


def _odd(looked_at: torch.Tensor, plain: torch.Tensor, traceless: bool) -> str:
    if not traceless:
        return "Calling the model changes its keys or modes: it does not stay as build() returned it."
    off = float((looked_at - plain).abs().max())
    return f"Called twice on the same inputs in evaluation mode it differs by {off:.1e}: is something in it random?"


def _chance(arm: Experiment, nets: Nets, site: Site) -> Promise:
    if untrained(arm.host, site.data.validation):
        return Promise(
            "model",
            None,
            "It has learned nothing yet: train() runs once more for each seed, as a warm-up before planting.",
        )
    accuracy = 100 * float((nets.classes(site.data.validation.x) == site.data.validation.y).double().mean())
    return Promise("model", None, f"It has learned the task: {accuracy:.1f} % right on held-out examples.")


def _written(canaries: Canaries, nets: Nets, site: Site) -> Iterator[Promise]:
    """Canaries that are written can be tried at once; learned ones take training."""
    steps = site.training.steps if site.training else 0
    for canary in canaries.each:
        if not isinstance(canary, WrittenImplant):
            yield Promise(canary.label, None, f"planted by {steps} steps of our own on training data, before yours.")
            continue
        try:
            planted = canary.write(nets, site.data)
        except NotWritable as error:
            fresh = untrained(nets.host, site.data.validation)
            yield Promise(canary.label, None if fresh else False, f"{AGAIN if fresh else ''}{error}")
            continue
        validation = site.data.validation
        presence = float(canary.presence(planted, validation)["presence"])
        x = validation.x[:EXAMPLES]
        moved = float((planted.logits(x) - nets.logits(x)).abs().max())
        before, after = (float((n.classes(validation.x) == validation.y).double().mean()) for n in (nets, planted))
        lost = 100 * (before - after)
        kept = presence > 0.5 and lost <= (canary.costs_at_most or 0.0)
        yield Promise(
            canary.label, kept,
            f"presence {presence:.2f} at step 0; it costs {lost:.2f} points of clean accuracy, and moves clean outputs "
            f"by {moved:.1e} at most."
            + ("" if kept else " Choose a clearer trigger: pass canaries=(...)."),
        )  # fmt: skip


def _seeds(own: Own, nets: Nets, site: Site) -> Iterator[Promise]:
    """Two short runs with one seed must agree; one with another should not."""
    short = replace(own, calls=1, max_steps=STEPS, max_seconds=min(own.max_seconds or PATIENCE_S, PATIENCE_S))
    ends, steps = [], 0
    for seed in (0, 0, 1):
        here = replace(site.at("pressure"), streams=(Streams(0, seed),))
        try:
            *_, last = Own.press([short], here, nets.copy(), ())
        except HoldfastError as error:
            yield Promise("training", False, str(error))
            return
        ends.append(last.nets.copy())
        steps = last.step
    yield Promise("training", True, f"trains the model it is given; {steps} optimiser steps were seen.")
    first = _first_difference(ends[0], ends[1])
    if first is not None:
        yield Promise(
            "training", False,
            f"forgets the seed: two runs with seed 0 differ after {steps} steps, first at {first}. Let all that is "
            f"random depend on the global generators, which are seeded, or on `seed` (a DataLoader takes generator=).",
        )  # fmt: skip
    elif _first_difference(ends[0], ends[2]) is None:
        yield Promise(
            "training", None, "gives the same weights with another seed: all seeds will agree, and say as much as one."
        )
    else:
        yield Promise(
            "training", True, "depends on the seed and on nothing else: two runs with seed 0 agree to the bit."
        )


def _first_difference(left: Nets, right: Nets) -> str | None:
    return next((name for name, row in left.rows.items() if not torch.equal(row, right.rows[name])), None)
