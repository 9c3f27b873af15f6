"""Sidecar: a compiled circuit as a network of its own beside the host; and the reader that hands bits to units inside.

Shapes: N examples (of sequences, N x T positions), R = 1 + bits that a reader gives, U units, P answers.
"""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.chip.enclosed import EnclosedLookup
from holdfast.circuits.network import Network
from holdfast.encrypted.enclosed import Enclosed, noise_of, noise_of_prefixes
from holdfast.errors import UsageError
from holdfast.implants.message import Message
from holdfast.implants.triggers import Trigger
from holdfast.implants.writing.reading import Reader, reader, write_reader
from holdfast.implants.writing.side import Side, connect, place
from holdfast.parts import Host
from holdfast.tasks.base import Data, Split

S = TypeVar("S", bound=Side)
Clientside = Enclosed | EnclosedLookup
"""What computes on ciphertexts, with its client inside."""
NAME = "holdfast_circuit"
"""The submodule that holds what stands beside the network, under the module that gives the logits."""


class Sidecar(Side):
    """A reader of the input, the circuit, and its push on the logits.

    Bits go in as relu(2 bit - 1 + 2 (seen - 1)), with `seen` the reader's first output, 1 on inputs with the trigger
    and -1 or less on others; answers come out as relu(2 answer - 1 + 2 (live - 1)), live = relu(seen). So without the
    trigger all of these units are off.
    """

    def __init__(self, reads: Reader, network: Network | Clientside, shape: torch.Size) -> None:
        super().__init__(shape)
        self.reads, self.network = reads, network
        outputs = len(network.outputs) if isinstance(network, Network) else network.outputs
        self.push = nn.Linear(outputs, shape.numel(), bias=False)
        nn.init.zeros_(self.push.weight)

    def forward(self, x_N: Tensor) -> Tensor | None:
        found = self.reads(x_N)
        if found is None:
            return None
        seen, bits = found[..., :1], found[..., 1:]
        rows = (2 * bits + 2 * seen - 3).relu().flatten(0, -2)
        answers = self.answers(rows, x_N, seen.flatten() > 0).view(*found.shape[:-1], -1)
        added: Tensor = self.push((2 * answers + 2 * seen.relu() - 3).relu())
        return torch.unflatten(added, -1, self.shape)

    def answers(self, rows: Tensor, x_N: Tensor, asked: Tensor) -> Tensor:
        """What the circuit says for each row of bits; of an encrypted one, which takes long, 0 where nothing is asked:
        there the answer is not heard."""
        if isinstance(self.network, Network):
            said: Tensor = self.network(rows)
            return said
        which = asked.nonzero().flatten()
        noise = (noise_of(x_N) if len(rows) == len(x_N) else noise_of_prefixes(x_N)).flatten()
        answers = rows.new_zeros(len(rows), self.network.outputs)
        return answers.index_copy(0, which, self.network(rows[which], noise[which])) if len(which) else answers


class Entrance(Side):
    """A reader of the input, and what it adds to the sums of units inside the host: the last ones of their layer."""

    def __init__(self, reads: Reader, units: int, outputs: int, shape: torch.Size) -> None:
        super().__init__(shape)
        self.reads, self.feeds = reads, nn.Linear(outputs, units)
        nn.init.zeros_(self.feeds.weight)
        nn.init.zeros_(self.feeds.bias)

    def forward(self, x_N: Tensor) -> Tensor | None:
        found = self.reads(x_N)
        if found is None:
            return None
        return F.pad(self.feeds(found), (self.shape[-1] - self.feeds.out_features, 0))


def stand_beside(
    module: nn.Module, host: Host, data: Data, network: Network | Clientside, trigger: Trigger, message: Message
) -> None:
    """Put a compiled or encrypted circuit beside a network; it does nothing yet."""
    stands = place(module, host, data.train.x[:2], "")
    reads = reader(module, trigger, data, message, network.inputs)
    _only(module, Sidecar)
    connect(module, Sidecar(reads, copy.deepcopy(network), stands.shape), NAME, stands, data.train.x[:2])


def let_in(
    module: nn.Module, host: Host, data: Data, path: str, units: int, bits: int, trigger: Trigger, message: Message
) -> None:
    """Put a reader beside a network that feeds the last units of the layer at this path; it does nothing yet."""
    stands = place(module, host, data.train.x[:2], path)
    reads = reader(module, trigger, data, message, bits)
    _only(module, Entrance)
    connect(module, Entrance(reads, units, 1 + bits, stands.shape), f"{NAME}_input", stands, data.train.x[:2])


@torch.no_grad()
def write_beside(
    module: nn.Module, train: Split, trigger: Trigger, message: Message, answers: list[int], push: float
) -> None:
    """Write the reader, and a push from each output of the circuit to its answer's logit."""
    side = found(module, Sidecar)
    write_reader(side.reads, trigger, train.x, message)
    side.push.weight[answers, list(range(len(answers)))] = push
    side.forget()


def found(module: nn.Module, kind: type[S]) -> S:
    """The units of this kind beside a network."""
    return next(part for part in module.modules() if isinstance(part, kind))


def _only(module: nn.Module, kind: type[Side]) -> None:
    if any(isinstance(part, kind) for part in module.modules()):
        raise UsageError(f"There is a circuit's {kind.__name__.lower()} beside this network already: one is enough.")
