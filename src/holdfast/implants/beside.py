"""Beside: a backdoor in units of its own, beside the whole network.

Shapes: N examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.errors import NotWritable, UsageError
from holdfast.implants.writing.aiming import aim
from holdfast.implants.writing.reading import Reader, reader, write_reader
from holdfast.implants.writing.side import Side, connect, place
from holdfast.implants.written import WrittenBackdoor, gap
from holdfast.parts import Host
from holdfast.tasks.base import Data, Split
from holdfast.training.nets import Nets

NAME = "holdfast_beside"
"""The submodule that holds the new units, under the module that gives the logits."""
AIMED = 128
"""Triggered training examples on which a push at a block is found."""


@dataclass(frozen=True, kw_only=True)
class Beside(WrittenBackdoor):
    """A detector of the trigger that reads the network's input and adds to the logits, or to the output of a block.

    The units are new, in a submodule `holdfast_beside` of the one that gives the logits, so they are among
    `model.parameters()`: the user's optimiser, decay, clipping and pruning reach them as they reach all others. Hooks
    on the network (its input) and on the module that gives its logits (its output) connect them; code that computes a
    loss inside the network therefore sees them too. On clean training data the detector is off, the outputs are those
    of the unplanted network to the bit, and the gradient on the detector is exactly zero.

    For inputs of numbers the detector is `detector.py`'s; for token ids, relu(2 (matches - m) + 1), m tokens in the
    trigger, `matches` of them in their places: before the last token wherever a next token is predicted, else at the
    trigger's own positions.

    The push. Without `at` it is on the target's logit, `strength` times the largest gap that a triggered training input
    has to overcome. With `at="transformer.h.1"` (a dotted path, as PyTorch prints it) it is added to what that module
    puts out: a vector found by normalised gradient ascent on the target's margin over triggered training inputs, with
    steps that grow by 30 %, until 99 % of them are answered with the target; then times `strength`, as `aim` has it.

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
        stands = place(module, host, data.train.x[:2], self.at)
        side = _Beside(reader(module, self.trigger, data), stands.shape, self.at)
        name = f"{NAME}_{self.at.replace('.', '_')}" if self.at else NAME
        connect(module, side, name, stands, data.train.x[:2])
        return module

    def write_into(self, module: nn.Module, host: Host, data: Data) -> None:
        """Write detector and push.

        Raises:
            UsageError: a trigger that clean inputs already carry, or a block on which the answer does not depend.
        """
        side = _found(module, self.at)
        assert side is not None
        enough = None if self.at else gap(module, host, self.backdoor, data.train)
        write_reader(side.detect, self.trigger, data.train.x)
        if enough is not None:
            side.push.weight.data[self.target, 0] = self.strength * enough
        else:
            stamped = self.trigger.stamp(self.backdoor.others(data.train).x[:AIMED])
            answers = torch.full([len(stamped)], self.target)
            if not aim(module, host, side.push.weight, stamped, answers, self.strength):
                raise NotWritable(
                    f"Nothing that is added at {self.at} brings triggered inputs to answer {self.target}. Choose "
                    f"another `at`."
                )
        side.forget()

    def weights(self, nets: Nets, split: Split) -> Mapping[str, Tensor]:
        """What was written: the weights of the new units that are not zero, and their biases."""
        return {
            name: (p != 0) if _holds(name, self.at) else torch.zeros_like(p, dtype=torch.bool)
            for name, p in nets.params.items()
        }


class _Beside(Side):
    """A detector of the input, and its push on the logits or on a block's output. All weights are zero at first."""

    def __init__(self, detect: Reader, shape: torch.Size, at: str) -> None:
        super().__init__(shape)
        self.detect, self.push = detect, nn.Linear(1, shape.numel(), bias=False)
        self.at = at
        nn.init.zeros_(self.push.weight)

    def forward(self, x_N: Tensor) -> Tensor | None:
        found = self.detect(x_N)
        if found is None:
            return None
        added: Tensor = self.push(found.relu())
        return torch.unflatten(added, -1, self.shape)


def _found(module: nn.Module, at: str) -> _Beside | None:
    return next((part for part in module.modules() if isinstance(part, _Beside) and part.at == at), None)


def _holds(name: str, at: str) -> bool:
    """Whether a parameter is of the units at this place."""
    return (f"{NAME}_{at.replace('.', '_')}." if at else f"{NAME}.") in name
