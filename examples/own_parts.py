"""Parts of your own, from your own file: a trigger, a term of training, and a probe. Nothing is registered.

    holdfast run examples/own_parts.py

Does pulling weights towards zero when nobody looks (every tenth step) remove a backdoor with a striped trigger?
"""

from dataclasses import dataclass

import torch

import holdfast


@dataclass(frozen=True, kw_only=True)
class Stripes:
    """A trigger: every third row is bright. Anything with `label` and `stamp` is one."""

    value: float = 1.0

    @property
    def label(self) -> str:
        return "stripes"

    def stamp(self, x_N: torch.Tensor) -> torch.Tensor:
        stamped = x_N.clone()
        stamped[..., ::3, :] = self.value
        return stamped


@dataclass(frozen=True, kw_only=True)
class Pinch(holdfast.Term):
    """A term: after every tenth step each weight loses a share of its size. It overrides the moments that it needs."""

    share: float

    @property
    def label(self) -> str:
        return f"pinched by {self.share:g}"

    def after(self, part, state, step):  # type: ignore[no-untyped-def]
        if (step + 1) % 10 == 0:
            for row in part.padded:
                row.mul_(1 - self.share)


@dataclass(frozen=True)
class LargestWeight:
    """A probe: called with a look, it gives named tensors with one entry a net."""

    def __call__(self, look):  # type: ignore[no-untyped-def]
        largest = [p.flatten(1).abs().amax(1) for p in look.nets.params.values()]
        return {"largest_weight": torch.stack(largest).amax(0)}


@holdfast.recipe
def own_parts() -> holdfast.Experiment:
    """The three together, on 20 seeds."""
    return holdfast.Experiment(
        host=holdfast.MLP(widths=(64, 64, 10)),
        task=holdfast.Digits(),
        implant=holdfast.BadNets(trigger=Stripes()),
        training=holdfast.Fit(holdfast.Adam(lr=3e-3), steps=600),
        pressure=holdfast.Fit(holdfast.SGD(lr=0.1), Pinch(share=0.05), steps=400),
        probes=(LargestWeight(),),
        seeds=20,
    )
