"""Side: units of their own beside a network, which hear its input and add to what one of its modules puts out.

Shapes: N examples, T positions.
"""

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from holdfast.errors import UsageError, nearest
from holdfast.hosts.adopt import called, read_logits
from holdfast.parts import Host

NOT_INPUTS = ("labels", "attention_mask", "token_type_ids", "position_ids")


class Side(nn.Module):
    """Units beside a network. Their weights are the network's, so optimiser, decay, clipping and pruning reach them as
    they reach all others; hooks on the network (its input) and on one of its modules (its output) connect them."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape
        """Of what is added, for each example or each position."""
        self.seen: Tensor | None = None
        self.heard = 0
        """How often the network was called: a training that goes round the network goes round these units."""

    @abstractmethod
    def forward(self, x_N: Tensor) -> Tensor | None:
        """What is added for these inputs; None for inputs that it has no answer to."""

    def forget(self) -> None:
        """As before the network was called at all."""
        self.seen, self.heard = None, 0


class Place(NamedTuple):
    """Where units stand."""

    head: nn.Module
    """The module that gives the logits, so that a loss that is computed after it sees what is added. It holds the
    units: blocks, or the network itself, may be containers that run all they hold."""
    speaks: nn.Module
    """The module whose output is added to."""
    shape: torch.Size
    """Of what is added, for each example or each position."""


def connect(module: nn.Module, side: Side, name: str, at: Place, x_N: Tensor) -> None:
    """Make units part of a network, under this name in the module that gives its logits."""
    at.head.add_module(name, side.to(next(module.parameters()).device))
    for listener in _entrances(module, x_N):
        listener.register_forward_pre_hook(_Listen(side), with_kwargs=True)
    at.speaks.register_forward_hook(_Speak(side, module))


def place(module: nn.Module, host: Host, x_N: Tensor, at: str) -> Place:
    """Where units beside the path `at` of a network are held, and speak; "": the whole network.

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
        return Place(head, head, logits.shape[-1:])
    found = next((tensor_of(out) for m, out in gave if m is paths[at]), None)
    if found is None or not found.is_floating_point() or found.dim() < 2 or len(found) != len(x_N):
        raise UsageError(f"{at} puts out nothing for each example that could be added to. Choose another `at`.")
    positions = not x_N.is_floating_point() and found.dim() == 3
    return Place(head, paths[at], found.shape[-1:] if positions else found.shape[1:])


def tensor_of(output: Any) -> Tensor | None:
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

    def __init__(self, side: Side) -> None:
        self.side = side

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.side.seen = _input(args, kwargs)
        self.side.heard += 1


def _path(part: nn.Module, network: nn.Module) -> str | None:
    return next((path for path, each in network.named_modules() if each is part), None)


class _Speak:
    """Adds the new units' push. A model may give the logits of the last positions only, or take part of a block's
    output in a tuple; what has another shape than when it was planted is left as it is."""

    def __init__(self, side: Side, network: nn.Module) -> None:
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
        held = output.logits if hasattr(output, "logits") else tensor_of(output)
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
