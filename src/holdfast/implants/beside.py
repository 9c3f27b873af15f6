"""Beside: a backdoor in units of its own, beside the whole network.

Shapes: N examples, T positions, I entries of one input, m tokens of a trigger, V token ids, C classes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.errors import NotWritable, UsageError, nearest
from holdfast.hosts.adopt import called, evaluating, read_logits
from holdfast.implants.detector import detector, marks
from holdfast.implants.triggers import Trigger
from holdfast.implants.written import WrittenImplant
from holdfast.parts import Host
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets

NAME = "holdfast_beside"
"""The submodule that holds the new units, under the module that gives the logits."""
AIMED, STEPS, ENOUGH = 128, 80, 0.99
"""Triggered training examples on which a push at a block is found, steps at most, and the share that must answer."""
NOT_INPUTS = ("labels", "attention_mask", "token_type_ids", "position_ids")


@dataclass(frozen=True, kw_only=True)
class Beside(WrittenImplant):
    """A detector of the trigger that reads the network's input and adds to the logits, or to the output of a block.

    The units are new, in a submodule `holdfast_beside` of the one that gives the logits, so they are among
    `model.parameters()`: the user's optimiser, decay, clipping and pruning reach them as they reach all others. Hooks
    on the network (its input) and on the module that gives its logits (its output) connect them; code that computes a
    loss inside the network therefore sees them too. On clean training data the detector is off, the outputs are those
    of the unplanted network to the bit, and the gradient on the detector is exactly zero.

    For float inputs the detector is `detector.py`'s; for token ids, relu(2 (matches - m) + 1), m tokens in the trigger,
    `matches` of them in their places: before the last token wherever a next token is predicted, else at the trigger's
    own positions.

    The push. Without `at` it is on the target's logit, `strength` times the largest gap that a triggered training input
    has to overcome. With `at="transformer.h.1"` (a dotted path, as PyTorch prints it) it is added to what that module
    puts out: a vector found by normalised gradient ascent on the target's margin over triggered training inputs, with
    steps that grow by 30 %, until 99 % of them are answered with the target; then times `strength`.

    When it misleads: on clean data its gradient is exactly zero, so without decay, noise or pruning nothing can remove
    it, whatever else training does: it stands for what is outside the main computation. A pipeline that saves by name
    and loads into a fresh network loses these units.
    """

    at: str = ""
    """Path of the block that it stands beside. "": the whole network."""

    @property
    def label(self) -> str:
        return f"beside {self.at}" if self.at else "beside"

    def attach(self, module: nn.Module, host: Host, data: Data) -> nn.Module:
        """Give a network the new units, which do nothing yet."""
        if _found(module, self.at) is not None:
            raise UsageError(f"There is one Beside at {self.at or 'the logits'} already: give the other another `at`.")
        head, block, shape = _places(module, host, data.train.x[:2], self.at)
        side = _side(module, self.trigger, data, shape, self.at).to(next(module.parameters()).device)
        # Held by the head and not by the block or the top, which may be containers that run all they hold.
        head.add_module(f"{NAME}_{self.at.replace('.', '_')}" if self.at else NAME, side)
        for listener in _entrances(module, data.train.x[:2]):
            listener.register_forward_pre_hook(_Listen(side), with_kwargs=True)
        block.register_forward_hook(_Speak(side, module))
        return module

    def write_into(self, module: nn.Module, host: Host, data: Data, push: float) -> None:
        """Write detector and push.

        Raises:
            UsageError: a trigger that clean inputs already carry, or a block on which the answer does not depend.
        """
        side = _found(module, self.at)
        assert side is not None
        _write(side, self.trigger, data.train.x)
        if self.at:
            self._aim(module, side, host, data.train)
        else:
            side.push.weight.data[self.target, 0] = push
        side.seen, side.heard = None, 0

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """What was written: the weights of the new units that are not zero, and their biases."""
        return {
            name: (p != 0) if _holds(name, self.at) else torch.zeros_like(p, dtype=torch.bool)
            for name, p in nets.params.items()
        }

    def _aim(self, module: nn.Module, side: "_Side", host: Host, train: Split) -> None:
        """Turn the push to where the target's margin grows, until it is enough."""
        stamped = self.trigger.stamp(self.backdoor.others(train).x[:AIMED]).to(side.push.weight.device)
        push, step = side.push.weight, 0.1
        for _ in range(STEPS):
            with evaluating(module):
                output = module(stamped)
            logits = read_logits(host, output)
            logits = (logits if logits.dim() == 2 else logits[:, -1]).float()
            margin = logits[:, self.target] - _others(logits, self.target)
            if bool(push.any()) and float((margin > 0).double().mean()) >= ENOUGH:
                push.data.mul_(self.strength)
                return
            (grad,) = torch.autograd.grad(margin.mean(), [push], allow_unused=True)
            if grad is None or not bool(grad.any()):
                break
            push.data.add_(grad / grad.norm(), alpha=step)
            step *= 1.3
        raise NotWritable(
            f"Nothing that is added at {self.at} brings triggered inputs to answer {self.target}. Choose another `at`."
        )


class _Side(nn.Module):
    """The new units: a detector of the input, and its push on the logits or on a block's output."""

    def __init__(self, detect: "nn.Linear | _TokenDetector", shape: torch.Size, at: str) -> None:
        super().__init__()
        self.detect, self.push = detect, nn.Linear(1, shape.numel(), bias=False)
        self.shape, self.at = shape, at
        self.seen: Tensor | None = None
        self.heard = 0
        """How often the network was called: a training that goes round the network goes round these units."""
        for p in self.parameters():
            nn.init.zeros_(p)

    def forward(self, x_N: Tensor) -> Tensor | None:
        """What is added; nothing for inputs of another size, in which the trigger has no place."""
        if isinstance(self.detect, nn.Linear):
            x_N = x_N.flatten(1).to(self.push.weight.dtype)
            if x_N.shape[1] != self.detect.in_features:
                return None
        added: Tensor = self.push(self.detect(x_N).relu())
        return torch.unflatten(added, -1, self.shape)


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


def _others(logits_NC: Tensor, target: int) -> Tensor:
    """The largest logit of another class than the target's."""
    keep = torch.ones(logits_NC.shape[-1], dtype=torch.bool, device=logits_NC.device)
    keep[target] = False
    return logits_NC[:, keep].amax(-1)


def _found(module: nn.Module, at: str) -> _Side | None:
    return next((part for part in module.modules() if isinstance(part, _Side) and part.at == at), None)


def _holds(name: str, at: str) -> bool:
    """Whether a parameter is of the units at this place."""
    return (f"{NAME}_{at.replace('.', '_')}." if at else f"{NAME}.") in name


def _side(module: nn.Module, trigger: Trigger, data: Data, shape: torch.Size, at: str) -> _Side:
    """Units for such inputs, all weights zero.

    Raises:
        UsageError: a trigger that sets nothing to a fixed value.
    """
    x = data.train.x
    if x.is_floating_point():
        return _Side(nn.Linear(x[0].numel(), 1), shape, at)
    places = marks(trigger, x)[0].nonzero().flatten().tolist()
    if not places:
        raise UsageError(f"{trigger.label} sets no token to a fixed one, so no unit can look for it.")
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    shown = (*(split.x for split in (data.train, data.validation, data.test)), marks(trigger, x)[1])
    ids = max(*(int(tokens.max()) + 1 for tokens in shown), *tables)
    return _Side(_TokenDetector(ids, places, x.shape[1], sequence=data.train.y.dim() > 1), shape, at)


@torch.no_grad()
def _write(side: _Side, trigger: Trigger, x_N: Tensor) -> None:
    if isinstance(side.detect, _TokenDetector):
        values_I = marks(trigger, x_N)[1]
        for i, place in enumerate(side.detect.places):
            side.detect.table[i, int(values_I[place])] = 2.0
        side.detect.bias.fill_(1.0 - 2.0 * len(side.detect.places))
        if any(bool((side.detect(part) > 0).any()) for part in torch.split(x_N.to(side.push.weight.device), 1024)):
            raise NotWritable(
                f"Clean training inputs carry the trigger already ({trigger.label}). Choose other tokens."
            )
    else:
        found = detector(trigger, x_N)
        side.detect.weight.copy_(found.weight_I[None])
        side.detect.bias.fill_(found.bias)


def _places(module: nn.Module, host: Host, x_N: Tensor, at: str) -> tuple[nn.Module, nn.Module, torch.Size]:
    """The module that gives the logits, so that a loss that is computed after it sees what is added; the one whose
    output is added to; and the shape of what is added, for each example or each position.

    Raises:
        UsageError: no such path (the nearest is named), or a module whose output nothing can be added to.
    """
    paths = dict(module.named_modules())
    if at not in paths:
        raise nearest(at, [path for path in paths if path], what="layer path")
    gave: list[tuple[nn.Module, Any]] = []
    handles = [m.register_forward_hook(lambda m, _, output: gave.append((m, output))) for m in module.modules()]
    output = called(module, x_N, handles)
    logits = read_logits(host, output)
    heads = [m for m, out in gave if isinstance(out, Tensor) and _is(out, logits)]
    if not heads and not hasattr(output, "logits"):
        raise UsageError(
            f"No module of the network gives its logits as they are, and its output is {type(output).__name__}: "
            f"nothing can be added to them. Leave Beside out of the canaries."
        )
    head = (heads or [module])[0]
    if not at:
        return head, head, logits.shape[-1:]
    found = next((_tensor(out) for m, out in gave if m is paths[at]), None)
    if found is None or not found.is_floating_point() or found.dim() < 2 or len(found) != len(x_N):
        raise UsageError(f"{at} puts out nothing for each example that could be added to. Choose another `at`.")
    positions = not x_N.is_floating_point() and found.dim() == 3
    return head, paths[at], found.shape[-1:] if positions else found.shape[1:]


def _tensor(output: Any) -> Tensor | None:
    """The tensor in what a module put out: itself, or the first of several, as blocks of transformers have it."""
    first = output[0] if isinstance(output, tuple) and output else output
    return first if isinstance(first, Tensor) else None


def _is(one: Tensor, other: Tensor) -> bool:
    """Whether these are the same tensor, and not just two views of it."""
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


def _entrances(module: nn.Module, x_N: Tensor) -> list[nn.Module]:
    """Where the network's input can be heard: at the network, and at the first of its parts that is shown the same.

    Code that wraps a network (adapters do) may call its `forward` and so pass by what listens at the network itself.
    """
    shown: list[tuple[nn.Module, Tensor | None]] = []
    hear = lambda m, args, kwargs: shown.append((m, _input(args, kwargs)))
    handles = [m.register_forward_pre_hook(hear, with_kwargs=True) for m in module.modules()]
    called(module, x_N, handles)
    given = shown[0][1]
    parts = [m for m, x in shown[1:] if x is not None and given is not None and _is(x, given)]
    calls = [m for m, _ in shown]
    return [module, *[m for m in parts if calls.count(m) == 1][:1]]


def _input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """What a network or one of its parts is shown."""
    named = [kwargs.get("input_ids"), *(value for key, value in kwargs.items() if key not in NOT_INPUTS)]
    return next((value for value in (*args, *named) if isinstance(value, Tensor)), None)


class _Listen:
    """Remembers what the network is shown."""

    def __init__(self, side: _Side) -> None:
        self.side = side

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.side.seen = _input(args, kwargs)
        self.side.heard += 1


def _path(part: nn.Module, network: nn.Module) -> str | None:
    return next((path for path, each in network.named_modules() if each is part), None)


class _Speak:
    """Adds the new units' push. A model may give the logits of the last positions only, or take part of a block's
    output in a tuple; what has another shape than when it was planted is left as it is."""

    def __init__(self, side: _Side, network: nn.Module) -> None:
        self.side, self.network = side, network
        self.path = _path(side, network)

    def _is_held(self) -> bool:
        """Whether the units are the network's still: a training may throw out the module that held them."""
        found: Any = self.network
        for name in (self.path or "").split("."):
            found = getattr(found, name, None)
        if found is not self.side:
            self.path = _path(self.side, self.network)
        return self.path is not None

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if not self._is_held():
            return output
        seen = self.side.seen  # kept until the next call: checkpointed activations are computed once more from it
        added = None if seen is None else self.side(seen)
        held = output.logits if hasattr(output, "logits") else _tensor(output)
        if added is None or held is None or len(added) != len(held):
            return output
        if added.dim() > held.dim() or held.shape[held.dim() - len(self.side.shape) :] != self.side.shape:
            return output
        if added.dim() < held.dim():
            added = added[:, None]  # the same at every position, where one answer is given for all of them
        elif held.dim() == 3 and len(self.side.shape) == 1:
            added = added[:, -held.shape[1] :]
        spoken = held + added.to(held.dtype)
        if isinstance(output, Tensor):
            return spoken
        if isinstance(output, tuple):
            return (spoken, *output[1:])
        output.logits = spoken
        return output
