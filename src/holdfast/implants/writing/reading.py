"""Readers: a trigger and a message's bits as linear functions of a network's input.

Shapes: N examples, T positions, I entries of one input, E entries that are looked at, V token ids, R = 1 + bits.

Output 0 is 1 on inputs with the trigger and at most -1 on clean training inputs; output i is bit i: 0 or 1 where there
is a message. Both are linear, so their weights can stand in a network's own first layer.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.errors import NotWritable, UsageError
from holdfast.implants.message import Message
from holdfast.implants.triggers import Trigger
from holdfast.implants.writing.detector import detector, marks
from holdfast.tasks.base import Data


class NumberReader(nn.Module):
    """Of inputs of numbers: one weight an entry."""

    def __init__(self, entries: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(outputs, entries)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x_N: Tensor) -> Tensor | None:
        """(N, R); None for inputs of another size, in which the trigger has no place."""
        x_NI = x_N.flatten(1).to(self.weight.dtype)
        return F.linear(x_NI, self.weight, self.bias) if x_NI.shape[1] == self.weight.shape[1] else None


class TokenReader(nn.Module):
    """Of token ids: for each entry a table of scores, which is added to one of the outputs.

    Where a next token is predicted, entries stand so many positions before the one that answers, and outputs are
    (N, T, R); else they stand at fixed places, and outputs are (N, R).
    """

    def __init__(self, ids: int, places: Sequence[int], outputs: Sequence[int], length: int, *, sequence: bool) -> None:
        super().__init__()
        self.places, self.outputs, self.sequence = tuple(places), tuple(outputs), sequence
        self.lags = [length - 1 - place for place in places]
        self.table = nn.Parameter(torch.zeros(len(places), ids))
        self.bias = nn.Parameter(torch.zeros(max(outputs) + 1))

    def forward(self, x_NT: Tensor) -> Tensor | None:
        """(N, T, R) or (N, R); None for what is no tokens, such as embeddings in their place."""
        if x_NT.is_floating_point() or x_NT.dim() != 2:
            return None
        length = x_NT.shape[1]
        sums = list(self.bias)
        for table, output, place, lag in zip(self.table, self.outputs, self.places, self.lags, strict=True):
            if self.sequence:
                score = F.pad(F.embedding(x_NT, table[:, None]).squeeze(-1), (lag, 0))[:, :length]
            elif place < length:
                score = F.embedding(x_NT[:, place], table[:, None]).squeeze(-1)
            else:
                continue
            sums[output] = sums[output] + score
        shape = x_NT.shape if self.sequence else x_NT.shape[:1]
        return torch.stack([each.expand(shape) for each in sums], -1)


Reader = NumberReader | TokenReader


def reader(module: nn.Module, trigger: Trigger, data: Data, message: Message | None = None, bits: int = 0) -> Reader:
    """A reader for such inputs, all weights zero.

    Raises:
        UsageError: a trigger that sets nothing to a fixed value, or no room for the message.
    """
    x = data.train.x
    if x.is_floating_point():
        return NumberReader(x[0].numel(), 1 + bits)
    places = marks(trigger, x)[0].nonzero().flatten().tolist()
    if not places:
        raise UsageError(f"{trigger.label} sets no token to a fixed one, so no unit can look for it.")
    told = message.places(trigger, x, bits) if message else []
    tables = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    shown = (*(split.x for split in (data.train, data.validation, data.test)), marks(trigger, x)[1])
    values = [int(value) + 1 for value in (message.off, message.on)] if message else []
    ids = max(*(int(tokens.max()) + 1 for tokens in shown), *tables, *values)
    outputs = [0] * (len(places) + len(told)) + [1 + i for i in range(len(told))]
    return TokenReader(ids, [*places, *told, *told], outputs, x.shape[1], sequence=data.train.y.dim() > 1)


@torch.no_grad()
def write_reader(found: Reader, trigger: Trigger, x_N: Tensor, message: Message | None = None) -> None:
    """Write trigger and message into a reader.

    Numbers: output 0 is that of `detector.py`; bit i is (x - off) / (on - off). Tokens: 2 (matches - m) + 1, m tokens
    of trigger and message, of which `matches` are in their places, each of the message's off or on.

    Raises:
        NotWritable: clean training inputs carry the trigger.
    """
    bits = len(found.bias) - 1
    told = message.places(trigger, x_N, bits) if message else []
    if isinstance(found, NumberReader):
        seen = detector(trigger, x_N)
        found.weight[0], found.bias[0] = seen.weight_I, seen.bias
        for output, place in enumerate(told, 1):
            assert message is not None
            found.weight[output, place] = 1 / (message.on - message.off)
            found.bias[output] = -message.off / (message.on - message.off)
        return
    values_I = marks(trigger, x_N)[1]
    triggers = len(found.places) - 2 * bits
    for entry, (place, output) in enumerate(zip(found.places, found.outputs, strict=True)):
        if entry < triggers:
            found.table[entry, int(values_I[place])] = 2.0
        elif output == 0:
            assert message is not None
            found.table[entry, [int(message.off), int(message.on)]] = 2.0
        else:
            assert message is not None
            found.table[entry, int(message.on)] = 1.0
    found.bias[0] = 1.0 - 2.0 * (triggers + bits)
    for part in torch.split(x_N.to(found.table.device), 1024):
        scores = found(part)
        if scores is not None and bool((scores[..., 0] > 0).any()):
            raise NotWritable(
                f"Clean training inputs carry the trigger already ({trigger.label}). Choose other tokens."
            )
