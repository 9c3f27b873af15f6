"""SynFlow: how much of what flows through a net of absolute weights goes through a weight. No data.

Shapes: K nets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.func import functional_call

from holdfast.errors import UsageError
from holdfast.hosts.adopt import evaluating
from holdfast.pruning.base import InRounds
from holdfast.pruning.masks import Masks
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets
from holdfast.training.streams import Streams


@dataclass(frozen=True)
class SynFlow(InRounds):
    """|w| dR/d|w|, R the sum of the outputs for an input of ones, with absolute weights and without biases.

    So every layer's scores add up to R (of nets whose units are linear above 0), whatever is pruned, and no layer is
    emptied before all are. In `rounds` rounds, scores anew in each. In float64, where a deep net's R may be.

    Tanaka et al. 2020 (arXiv 2006.05467), equation 4; 100 rounds there. Their code leaves biases in; then a layer's sum
    falls short by what later biases add.
    """

    rounds: int = field(default=100, kw_only=True)

    @property
    def label(self) -> str:
        return "SynFlow"

    def score(self, nets: Nets, data: Data, streams: Sequence[Streams], masks: Masks) -> Mapping[str, Tensor]:
        """
        Raises:
            UsageError: inputs that are no numbers, or units that are not linear above 0.
        """
        if not data.train.x.is_floating_point():
            raise UsageError(
                "SynFlow sends an input of ones through a net, and these are tokens. Choose SNIP or GraSP."
            )
        ones = torch.ones_like(data.train.x[:1], dtype=torch.float64)
        with evaluating(nets.like):
            each = [self._one(nets, k, ones.to(nets.device), list(masks)) for k in range(nets.k)]
        return {name: torch.stack([found[name] for found in each]) for name in masks}

    @staticmethod
    def _one(nets: Nets, k: int, ones: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        params = {name: value[k].detach().double().abs() for name, value in nets.params.items()}
        for name in params:
            if name.endswith("bias"):
                params[name] = torch.zeros_like(params[name])
        weights = [params[name].requires_grad_() for name in names]
        held = {**params, **{n: b[k].double() for n, b in nets.buffers.items() if b.is_floating_point()}}
        flow = functional_call(nets.like, held, (ones,)).sum()
        grads = torch.autograd.grad(flow, weights)
        with torch.no_grad():
            twice = functional_call(nets.like, held, (2 * ones,)).sum()
        if not torch.isclose(twice, 2 * flow, rtol=1e-9):
            raise UsageError(
                f"SynFlow needs units that are linear above 0 (ReLU) and nothing else: {nets.host.label} answers twice "
                f"the input with {(twice / flow).item():.3g} times the output."
            )
        return {n: (w * g).detach() for n, w, g in zip(names, weights, grads, strict=True)}
