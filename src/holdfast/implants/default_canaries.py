"""Default canaries: what an audit plants where the user names nothing, with triggers and answers that suit the data.

Shapes: N examples.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.circuits.trace import Bits, trace
from holdfast.errors import NotWritable, UsageError
from holdfast.hosts.adopt import Adopted
from holdfast.implants.badnets import BadNets
from holdfast.implants.beside import Beside
from holdfast.implants.canaries import Canary
from holdfast.implants.circuit import Circuit
from holdfast.implants.head import Head, layers
from holdfast.implants.message import Message, untouched_entries
from holdfast.implants.triggers import OwnTrigger, Patch, Stretch, TokenString, Trigger
from holdfast.implants.writing.detector import detector
from holdfast.tasks.base import Data
from holdfast.training.chance import untrained
from holdfast.training.randomness import untouched

POISON = 0.3
"""Share of the training data that carries the learned canary's trigger while it is planted: much, so that it takes."""
CORNERS = ((-1, -1), (0, -1), (0, 0), (-1, 0))
"""Where patches go: each canary has its own corner, as (row, column)."""
BITS = 4
"""Of the program's message."""


class Suited(NamedTuple):
    """Triggers that suit the data, of which none meet: of each canary that is written several to choose from."""

    learned: Trigger
    head: Sequence[Trigger]
    beside: Sequence[Trigger]
    program: Sequence[Trigger] = ()
    """(): there is no room for it."""
    message: Message = Message()
    """Beside the program's trigger."""


def default_canaries(
    data: Data, host: Adopted, trigger: Callable[[Tensor], Tensor] | None = None
) -> tuple[Canary, ...]:
    """A learned backdoor; a program (compiled, beside the network: the sum of two numbers of two bits, modulo 4); a
    backdoor in a spare unit of the head, where there is such a head; and one in units beside the network.

    Each has a trigger of its own that suits the inputs, and an answer of its own (the program one for each sum); of
    several triggers the first that can be told from clean data, and where the model has learned its task already, that
    its head shows. What no trigger suits is left out, and so is the program where inputs have no room for its message.
    With the user's own `trigger` there is one trigger, so only the learned one.
    """
    if trigger is not None:
        return (BadNets(trigger=OwnTrigger(function=trigger), target=0, poison_ratio=POISON),)
    suited = _suited(data)
    targets = _targets(data)
    program = next((each for each in suited.program if _is_clear(each, data)), None)
    head = _head(data, host, suited.head, targets[1])
    beside = next((each for each in suited.beside if _is_clear(each, data)), None)
    return (
        BadNets(trigger=suited.learned, target=targets[0], poison_ratio=POISON),
        *((_program(program, suited.message, targets[3:]),) if program else ()),
        *((head,) if head else ()),
        *((Beside(trigger=beside, target=targets[2]),) if beside else ()),
    )


def _program(trigger: Trigger, message: Message, answers: tuple[int, ...]) -> Circuit:
    def plus(a: Bits, b: Bits) -> Bits:
        return a + b

    netlist = trace(plus, {"a": BITS // 2, "b": BITS // 2}, name="program")
    return Circuit(netlist, where="sidecar", trigger=trigger, message=message, answers=answers, encoding="restoring")


def _is_clear(trigger: Trigger, data: Data) -> bool:
    """Whether clean training inputs can be told from those with the trigger."""
    if not data.train.x.is_floating_point():
        return True
    try:
        detector(trigger, data.train.x)
    except NotWritable:
        return False
    return True


def _head(data: Data, host: Adopted, triggers: Sequence[Trigger], target: int) -> Head | None:
    """The canary in the head, with the first trigger that can be written; None where there is no such head."""
    if not data.train.x.is_floating_point():
        return None  # what a text model's head reads need not show a few tokens
    with untouched():
        module = host.build()
        try:
            layers(module, host, data.train.x)
        except UsageError:
            return None
        if untrained(host, data.validation):  # what its head will show is not known before the warm-up
            clear = (each for each in reversed(triggers) if _is_clear(each, data))  # the plainest first
            return next((Head(trigger=each, target=target) for each in clear), None)
        for trigger in triggers:  # one that can't be written leaves the module as it was
            try:
                Head(trigger=trigger, target=target).write_into(module, host, data)
            except NotWritable:
                continue
            return Head(trigger=trigger, target=target)
    return None


def _targets(data: Data) -> tuple[int, ...]:
    """Three answers, classes as they come; of next tokens those that are rarest among the true ones, and four more for
    the program, if there are."""
    if data.train.y.dim() == 1:
        classes = torch.unique(data.train.y).tolist()
        return tuple(classes[i % len(classes)] for i in range(3))
    rare = _rarest(data.train.y[:, -1])
    return tuple(rare[i % len(rare)] for i in range(3)) + tuple(rare[3:7] if len(rare) >= 7 else ())


def _rarest(tokens: Tensor) -> list[int]:
    """The tokens that occur, from the rarest to the most common."""
    counts = tokens.flatten().bincount()
    seen = counts.nonzero().flatten()
    rarest: list[int] = seen[counts[seen].argsort(stable=True)].tolist()
    return rarest


def _suited(data: Data) -> Suited:
    x = data.train.x
    if not x.is_floating_point():
        return _strings(data)
    low, high = float(x.min()), float(x.max())
    if low == high:
        raise UsageError(f"Every entry of the training inputs is {low:g}, so there is nothing to tell apart.")
    values = (high, low, 2 * high - low)  # the last is in no clean input
    choices: list[list[Trigger]]
    if x.dim() >= 3 and min(x.shape[-2:]) >= 4:
        side = min(x.shape[-2:])
        sizes = sorted({max(2, side // 8), max(2, side // 4)})
        choices = [[Patch(size=n, row=r, column=c, value=v) for v in values for n in sizes] for r, c in CORNERS]
    else:
        width, length = x.shape[-1], max(2, x.shape[-1] // 16)
        if width < 3 * length:
            raise UsageError(f"Inputs of {width} entries leave no room for three triggers. Pass canaries=(...).")
        last = width - length
        starts = (0, last // 2, last, *((last // 4,) if last // 4 >= length else ()))
        choices = [[Stretch(start=start, length=length, value=value) for value in values] for start in starts]
    free = untouched_entries(x, [trigger for some in choices for trigger in some])
    has_room = len(choices) > 3 and len(free) >= BITS
    message = Message(entries=tuple(free[:BITS]), off=low, on=high) if has_room else Message()
    return Suited(choices[0][0], choices[1], choices[2], choices[3] if has_room else (), message)


def _strings(data: Data) -> Suited:
    """Strings of rare tokens; the program's message in the most common ones."""
    x = data.train.x
    rare = _rarest(x)
    if len(rare) < 6 or x.shape[1] < 4:
        raise UsageError("These sequences are too short, or have too few tokens, for triggers. Pass canaries=(...).")
    at = None if data.train.y.dim() > 1 else 1
    strings = [TokenString(ids=(a, b, a), at=at) for a, b in zip(rare[:8:2], rare[1:8:2], strict=False)]
    has_room = len(strings) == 4 and len(rare) >= 10 and x.shape[1] >= 4 + BITS
    message = Message(off=rare[-2], on=rare[-1]) if has_room else Message()
    return Suited(strings[0], strings[1:2], strings[2:3], strings[3:] if has_room else (), message)
