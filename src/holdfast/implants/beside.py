"""Beside: a backdoor in units of its own, beside the whole network.

Shapes: N examples, T positions, I entries of one input, m tokens of a trigger, V token ids, C classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.errors import UsageError
from holdfast.hosts.adopt import Adopted, evaluating, logits_of
from holdfast.implants.backdoor import BackdoorImplant
from holdfast.implants.detector import detector, marks
from holdfast.implants.gap import gap
from holdfast.implants.triggers import Trigger
from holdfast.parts import Host
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets
from holdfast.training.site import Site

NAME = "holdfast_beside"
"""The submodule that holds the new units, under the module that gives the logits."""
NOT_INPUTS = ("labels", "attention_mask", "token_type_ids", "position_ids")


@dataclass(frozen=True, kw_only=True)
class Beside(BackdoorImplant):
    """A detector of the trigger that reads the network's input and adds to the target's logit.

    The units are new, in a submodule `holdfast_beside` of the one that gives the logits, so they are among
    `model.parameters()`: the user's optimiser, decay, clipping and pruning reach them as they reach all others. Hooks
    on the network (its input) and on the module that gives its logits (its output) connect them; code that computes a
    loss inside the network therefore sees them too. On clean training data the detector is off, the outputs are those
    of the unplanted network to the bit, and the gradient on the detector is exactly zero.

    For float inputs the detector is `detector.py`'s; for token ids, relu(2 (matches - m) + 1), m tokens in the trigger,
    `matches` of them in their places: before the last token wherever a next token is predicted, else at the trigger's
    own positions. The push is `strength` times the largest
    gap that a triggered training input has to overcome.

    When it misleads: a pipeline that copies only the weights it knows by name (an exporter, distillation into a fresh
    network) loses these units, and that reads as removal.
    """

    strength: float = 1.5
    """Push on the target's logit, in units of the largest gap on triggered training inputs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strength <= 0:
            raise UsageError(f"Beside needs a strength above 0; got {self.strength}.")

    @property
    def label(self) -> str:
        return "beside"

    @property
    def costs_at_most(self) -> float | None:
        return 0.5

    def build(self, host: Host, data: Data) -> nn.Module:
        """One network of the host with the new units, which do nothing yet."""
        return self.attach(host.build(), host, data)

    def attach(self, module: nn.Module, host: Host, data: Data) -> nn.Module:
        """Give a network the new units, which do nothing yet."""
        if _found(module) is not None:
            raise UsageError("There is one Beside in this network already; a second has no place of its own.")
        head, classes = _head(module, host, data.train.x[:2])
        side = _side(module, self.trigger, data, classes).to(next(module.parameters()).device)
        head.add_module(NAME, side)  # not at the top, which may be a container that runs all it holds
        module.register_forward_pre_hook(_Listen(side), with_kwargs=True)
        head.register_forward_hook(_Speak(side))
        return module

    def plant(self, site: Site) -> Nets:
        """Train the host on clean data, then add the units and write them."""
        return self.write(site.trained(), site.data)

    def write(self, nets: Nets, data: Data) -> Nets:
        """The same nets with the backdoor beside them.

        Raises:
            UsageError: a trigger that no unit can look for, or that clean inputs already carry; a batched backend.
        """
        if nets.backend != "loop":
            raise UsageError(f"Beside adds modules to a network, which needs backend='loop'; got {nets.backend!r}.")
        gap_K = gap(nets, self.backdoor, data.train)
        modules = []
        for k in range(nets.k):
            module = self.attach(nets.module(k), nets.host, data)
            side = _found(module)
            assert side is not None
            _write(side, self.trigger, data.train.x, self.target, self.strength * float(gap_K[k]))
            modules.append(module)
        return Nets.of(nets.host, modules, backend=nets.backend, device=str(nets.device))

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """What was written: the weights of the new units that are not zero, and their biases."""
        return {
            name: (p != 0) if f"{NAME}." in name else torch.zeros_like(p, dtype=torch.bool)
            for name, p in nets.params.items()
        }


class _Side(nn.Module):
    """The new units: a detector of the input, and its push on the logits."""

    def __init__(self, detect: "nn.Linear | _TokenDetector", classes: int) -> None:
        super().__init__()
        self.detect, self.push = detect, nn.Linear(1, classes, bias=False)
        self.seen: Tensor | None = None
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, x_N: Tensor) -> Tensor | None:
        """What is added to the logits; nothing for inputs of another size, in which the trigger has no place."""
        if isinstance(self.detect, nn.Linear):
            x_N = x_N.flatten(1).to(self.push.weight.dtype)
            if x_N.shape[1] != self.detect.in_features:
                return None
        added: Tensor = self.push(self.detect(x_N).relu())
        return added


class _TokenDetector(nn.Module):
    """2 (matches - m) + 1: a table of scores for each of the trigger's m tokens, which stand `lags` before the last
    position of a sequence, or at fixed `places` where one answer is given for all of it."""

    def __init__(self, ids: int, places: list[int], length: int, *, sequence: bool) -> None:
        super().__init__()
        self.places, self.sequence = places, sequence
        self.lags = [length - 1 - place for place in places]
        self.table, self.bias = nn.Parameter(torch.zeros(len(places), ids)), nn.Parameter(torch.zeros(1))

    def forward(self, x_NT: Tensor) -> Tensor:
        length = x_NT.shape[1]
        if self.sequence:
            scores = [
                F.pad(F.embedding(x_NT, t[:, None]), (0, 0, lag, 0))[:, :length] for t, lag in self._by(self.lags)
            ]
        else:
            scores = [F.embedding(x_NT[:, at], t[:, None]) for t, at in self._by(self.places) if at < length]
        return sum(scores, self.bias)

    def _by(self, numbers: list[int]) -> Iterator[tuple[Tensor, int]]:
        return zip(self.table, numbers, strict=True)


def _found(module: nn.Module) -> _Side | None:
    return next((part for part in module.modules() if isinstance(part, _Side)), None)


def _side(module: nn.Module, trigger: Trigger, data: Data, classes: int) -> _Side:
    """Units for such inputs, all weights zero.

    Raises:
        UsageError: a trigger that sets nothing to a fixed value.
    """
    x = data.train.x
    if x.is_floating_point():
        return _Side(nn.Linear(x[0].numel(), 1), classes)
    places = marks(trigger, x)[0].nonzero().flatten().tolist()
    if not places:
        raise UsageError(f"{trigger.label} sets no token to a fixed one, so no unit can look for it.")
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    shown = (*(split.x for split in (data.train, data.validation, data.test)), marks(trigger, x)[1])
    ids = max(*(int(tokens.max()) + 1 for tokens in shown), *tables)
    return _Side(_TokenDetector(ids, places, x.shape[1], sequence=data.train.y.dim() > 1), classes)


@torch.no_grad()
def _write(side: _Side, trigger: Trigger, x_N: Tensor, target: int, push: float) -> None:
    if isinstance(side.detect, _TokenDetector):
        values_I = marks(trigger, x_N)[1]
        for i, place in enumerate(side.detect.places):
            side.detect.table[i, int(values_I[place])] = 2.0
        side.detect.bias.fill_(1.0 - 2.0 * len(side.detect.places))
        if any(bool((side.detect(part) > 0).any()) for part in torch.split(x_N.to(side.push.weight.device), 1024)):
            raise UsageError(f"Clean training inputs carry the trigger already ({trigger.label}). Choose other tokens.")
    else:
        found = detector(trigger, x_N)
        side.detect.weight.copy_(found.weight_I[None])
        side.detect.bias.fill_(found.bias)
    side.push.weight[target, 0] = push


def _head(module: nn.Module, host: Host, x_N: Tensor) -> tuple[nn.Module, int]:
    """The module that gives the logits, so that a loss that is computed after it sees what is added; and how many."""
    gave: list[tuple[nn.Module, Any]] = []
    handles = [m.register_forward_hook(lambda m, _, output: gave.append((m, output))) for m in module.modules()]
    try:
        with torch.no_grad(), evaluating(module):
            output = module(x_N.to(next(module.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    logits = host.logits(output) if isinstance(host, Adopted) else logits_of(output)
    heads = [m for m, out in gave if isinstance(out, Tensor) and _is(out, logits)]
    if not heads and not hasattr(output, "logits"):
        raise UsageError(
            f"No module of the network gives its logits as they are, and its output is {type(output).__name__}: "
            f"nothing can be added to them. Leave Beside out of the canaries."
        )
    return (heads or [module])[0], logits.shape[-1]


def _is(given: Tensor, logits: Tensor) -> bool:
    """Whether these are the logits themselves, and no other view of them."""
    return given.data_ptr() == logits.data_ptr() and given.shape == logits.shape


class _Listen:
    """Remembers what the network is shown."""

    def __init__(self, side: _Side) -> None:
        self.side = side

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        named = [kwargs.get("input_ids"), *(value for key, value in kwargs.items() if key not in NOT_INPUTS)]
        self.side.seen = next((value for value in (*args, *named) if isinstance(value, Tensor)), None)


class _Speak:
    """Adds the new units' push to the logits, of which a model may give those of the last positions only."""

    def __init__(self, side: _Side) -> None:
        self.side = side

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        seen, self.side.seen = self.side.seen, None
        if seen is None:
            return output
        logits = output if isinstance(output, Tensor) else output.logits
        added = self.side(seen)
        if added is None:
            return output
        added = (added[:, -logits.shape[1] :] if logits.dim() == 3 else added).to(logits.dtype)
        if isinstance(output, Tensor):
            return output + added
        output.logits = output.logits + added
        return output
